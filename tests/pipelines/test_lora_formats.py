"""Every LoRA format lands on the weights it means, with the values it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests import lora_formats  # noqa: E402

HIGH = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
LAYERS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2")


@pytest.fixture(scope="module")
def base(comfyui: Path, tiny_models: Path) -> Any:
    """A tiny Wan model in fp32, as ComfyUI holds it."""
    from comfy.sd import load_diffusion_model

    return load_diffusion_model(str(tiny_models / "diffusion_models" / HIGH), model_options={"dtype": torch.float32})


def weights_of(patcher: Any) -> dict[str, Any]:
    prefix = "diffusion_model."
    state = patcher.model.state_dict()
    return {key[len(prefix) :]: value.clone() for key, value in state.items() if key.startswith(prefix)}


def patched_weights(base: Any, keys: dict[str, Any], folder: Path, strength: float) -> tuple[dict[str, Any], Any]:
    """Weights of the model with a file applied, and the match; the model is left as it was."""
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.lora import _patch
    from longtake.pipelines.lora_file import open_lora
    from longtake.pipelines.lora_match import match
    from longtake.pipelines.skeleton import skeleton_of_model
    from safetensors.torch import save_file

    path = folder / "lora.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in keys.items()}, path)
    file = open_lora(path.name, path)
    found = match(file, skeleton_of_model(base.model), WAN22.lora)
    clone = _patch(base, file, found, strength)
    clone.patch_model()
    changed = weights_of(clone)
    clone.unpatch_model()
    return changed, found


def pairs(base: Any) -> dict[str, Any]:
    """A random pair for every matrix of every block."""
    weights, generator = weights_of(base), torch.Generator().manual_seed(1)
    found = {}
    for block in range(2):
        for layer in LAYERS:
            out, into = weights[f"blocks.{block}.{layer}.weight"].shape
            found[f"blocks.{block}.{layer}"] = (
                0.1 * torch.randn(lora_formats.RANK, into, generator=generator),
                0.1 * torch.randn(out, lora_formats.RANK, generator=generator),
            )
    return found


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", lora_formats.PAIRS, ids=lambda kind: kind.title)
def test_pairs_land_on_their_weights(base: Any, tmp_path: Path, kind: lora_formats.Format, strength: float) -> None:
    from longtake.pipelines.families.wan22 import WAN22

    before, made = weights_of(base), pairs(base)
    changed, found = patched_weights(base, kind.write(made, WAN22.lora.diffusers_name), tmp_path, strength)

    assert found.missed == () and found.misfits == ()
    assert found.scales == (kind.scale,)
    for name, weight in changed.items():
        module = name.removesuffix(".weight")
        if module in made:
            down, up = made[module]
            expected = before[name] + (strength * kind.scale) * (up @ down)
            assert (weight - expected).abs().max().item() == 0.0
        else:
            assert torch.equal(weight, before[name])


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", lora_formats.CHANGES, ids=lambda kind: kind.title)
def test_other_changes_land_on_their_weights(
    base: Any, tmp_path: Path, kind: lora_formats.Change, strength: float
) -> None:
    module = "blocks.1.ffn.0"
    before = weights_of(base)
    keys = kind.keys(module, before[f"{module}.weight"])
    changed, found = patched_weights(base, keys, tmp_path, strength)

    assert found.missed == () and found.misfits == ()
    expected = kind.result(keys, before[f"{module}.weight"], strength)
    assert (changed.pop(f"{module}.weight") - expected).abs().max().item() <= 2e-7
    assert all(torch.equal(weight, before[name]) for name, weight in changed.items())
