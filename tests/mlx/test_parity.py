"""A stage by MLX is the stage by ComfyUI: same words, same noise, same steps; only rounding differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from longtake.demo_model import folder as demo
from longtake.pipelines.families.wan22_sampling import SamplingSettings, Split
from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
from longtake.pipelines.load.diffusers.folder import open_folder
from longtake.pipelines.lora.choice import LoraChoice
from longtake.pipelines.mlx.process import VARIABLE
from longtake.pipelines.mlx.wan22 import Weights
from longtake.pipelines.model.lora import apply_lora
from longtake.pipelines.model.shot import Pictures, Shot, Tail
from longtake.pipelines.sampling.schedulers import DiffusersSampler, Solver, as_sampler
from safetensors.torch import save_file

WIDTH, HEIGHT, FRAMES = 96, 64, 17
T2V, I2V, TI2V = "Wan2.2-T2V-A14B-Diffusers", "Wan2.2-I2V-A14B-Diffusers", "Wan2.2-TI2V-5B-Diffusers"
SETTINGS = SamplingSettings(steps=4, cfg_high=3.5, cfg_low=2.0, shift=5.0)


@pytest.fixture(autouse=True)
def _mlx(mlx_python: Path, comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(mlx_python))


def bundle(folder: Path, mlx: Weights | None, variant: str = "default") -> Any:
    return bundle_from_folder(open_folder(folder.name, [str(folder.parent)], variant), mlx=mlx)


def rendered(
    model: Any, settings: SamplingSettings, width: int = WIDTH, height: int = HEIGHT, **known: Any
) -> torch.Tensor:
    """The latent of a stage, and each of its steps told."""
    told: list[int] = []
    with torch.inference_mode():
        shot = Shot(
            frames=FRAMES,
            width=width,
            height=height,
            positive=model.encode_prompt("a red fox runs over the snow"),
            negative=model.encode_prompt("blurry"),
            settings=settings.filled(model.variant.sampling),
            seed=7,
            on_step=lambda done, _: told.append(done),
            **known,
        )
        latent = model.family.sample(model, shot)["latent"]
    assert told == list(range(1, settings.steps + 1))
    return latent


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


IMAGE = noise(1, HEIGHT, WIDTH, 3)
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "text, both experts guided, UniPC over both": (T2V, {"custom": Solver.UNIPC}, {}),
    "first and last image, low expert unguided": (
        I2V,
        {"cfg_low": 1.0, "split": Split.STEP, "split_step": 2, "shift": None},
        {"pictures": Pictures(start=IMAGE, end=IMAGE.flip(1))},
    ),
    "13 frames carried over as latents": (
        I2V,
        {"scheduler": "beta"},
        {"tail": Tail(noise(13, HEIGHT, WIDTH, 3), noise(1, 16, 3, HEIGHT // 8, WIDTH // 8))},
    ),
    "svi": (
        I2V,
        {},
        {"tail": Tail(None, noise(1, 16, 1, HEIGHT // 8, WIDTH // 8)), "pictures": Pictures(anchor=IMAGE)},
    ),
    "5B, 5 frames carried over to a last image": (
        TI2V,
        {"custom": Solver.UNIPC},
        {"tail": Tail(noise(5, HEIGHT, WIDTH, 3), None), "pictures": Pictures(end=IMAGE)},
    ),
}


@pytest.mark.parametrize(("name", "changes", "known"), CASES.values(), ids=CASES.keys())
def test_a_stage_by_mlx_is_the_stage_by_comfyui(
    tiny_models: Path, name: str, changes: dict[str, Any], known: dict[str, Any]
) -> None:
    if solver := changes.get("custom"):
        changes = {**changes, "custom": as_sampler(DiffusersSampler(solver, 2, integer_timesteps=True))}
    settings, folder = replace(SETTINGS, **changes), tiny_models / "diffusers" / name
    by_comfyui, by_mlx = (rendered(bundle(folder, mlx), settings, **known) for mlx in (None, Weights.FP32))
    assert (by_comfyui - by_mlx).abs().max() < 1e-4


def test_loras_of_both_experts_count_with_their_strengths(tiny_models: Path, tmp_path: Path) -> None:
    """A pair of files of low-rank pairs, and on them one of differences and of one more pair."""
    names = [f"wan2.2_i2v_lightx2v_4steps_lora_v1_{noise}_noise.safetensors" for noise in ("high", "low")]
    block = "diffusion_model.blocks.0"
    more = {
        f"{block}.self_attn.q.diff_b": noise(24),
        f"{block}.cross_attn.norm_k.diff": noise(24),
        f"{block}.diff_m": noise(1, 6, 24),
        f"{block}.self_attn.v.lora_up.weight": noise(24, 3),
        f"{block}.self_attn.v.lora_down.weight": noise(3, 24),
        f"{block}.self_attn.v.alpha": torch.tensor(2.0),
    }
    save_file(more, tmp_path / "more.safetensors")
    places = {name: tiny_models / "loras" / name for name in names} | {"more": tmp_path / "more.safetensors"}

    def with_loras(mlx: Weights | None) -> Any:
        model = bundle(tiny_models / "diffusers" / I2V, mlx)
        for choice in (LoraChoice(names[0], names[1], 0.7, -1.2), LoraChoice("more", "none", 0.3)):
            model = apply_lora(model, choice, names, lambda name: str(places[name]))[0]
        return model

    known = {"pictures": Pictures(start=IMAGE)}
    bare = rendered(bundle(tiny_models / "diffusers" / I2V, None), SETTINGS, **known)
    by_comfyui, by_mlx = (rendered(with_loras(mlx), SETTINGS, **known) for mlx in (None, Weights.FP32))
    assert (bare - by_comfyui).abs().max() > 0.1
    assert (by_comfyui - by_mlx).abs().max() < 1e-4


def test_fewer_bits_are_further_from_the_weights(tmp_path: Path) -> None:
    """Of the demo model, which is trained, and whose layers are wide enough to be quantised."""
    folder = tmp_path / "text"
    demo.write_text_to_video(folder)
    settings, size = replace(SETTINGS, steps=2, cfg_high=1.0, cfg_low=1.0), (32, 32)
    exact = rendered(bundle(folder, None), settings, *size)
    far = [
        ((rendered(bundle(folder, mlx), settings, *size) - exact).std() / exact.std()).item()
        for mlx in (Weights.BF16, Weights.EIGHT_BITS, Weights.FOUR_BITS)
    ]
    assert 0 < far[0] < far[1] < far[2] < 0.2
