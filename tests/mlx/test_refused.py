"""What MLX cannot render is refused before a weight is read or a runner started, by a sentence that names what can."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
from longtake.pipelines.load.diffusers.folder import open_folder
from longtake.pipelines.lora.choice import LoraChoice
from longtake.pipelines.mlx.process import MLX_GEN, VARIABLE
from longtake.pipelines.mlx.wan22 import Weights
from longtake.pipelines.model.lora import apply_lora
from safetensors.torch import load_file, save_file

from .test_process import environment

T2V = "Wan2.2-T2V-A14B-Diffusers"


@pytest.fixture(autouse=True)
def _python(comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has MLX-Gen by name alone: nothing here runs it."""
    monkeypatch.setenv(VARIABLE, str(environment(tmp_path / "python", mlx="0.32.4", mlx_gen=MLX_GEN)))


@pytest.fixture
def folders(tiny_models: Path) -> Path:
    return tiny_models / "diffusers"


def bundle(folder: Path, variant: str = "default", weight_dtype: str = "default", mlx: Any = Weights.BF16) -> Any:
    return bundle_from_folder(open_folder(folder.name, [str(folder.parent)], variant), weight_dtype, mlx=mlx)


def check(model: Any, **settings: Any) -> None:
    from longtake.pipelines.families.wan22_sampling import SamplingSettings
    from longtake.pipelines.stage.check import check_stage
    from longtake.pipelines.stage.stage import Stage
    from longtake.pipelines.timeline.clips import Join, Length

    sampling = SamplingSettings(**{"steps": 4, "cfg_high": 1.0, "cfg_low": 1.0, **settings})
    check_stage(Stage("", "", Length(frames=17), 0, Join(), width=96, height=64, sampling=sampling), model, None)


@pytest.mark.parametrize(
    ("name", "changes", "field", "said"),
    [
        (
            "LTX-2",
            {},
            "rendered_by",
            "MLX renders folders of Wan alone: choose ComfyUI, or the node Render LTX-2 by MLX",
        ),
        (T2V, {"weight_dtype": "fp8_e4m3fn"}, "weight_dtype", "fp8_e4m3fn given, which is a precision of PyTorch's"),
        ("Wan2.1-I2V-14B-480P-Diffusers", {}, "rendered_by", "Wan 2.2 I2V-A14B renders from images by MLX"),
    ],
)
def test_a_folder_that_mlx_does_not_compute(
    folders: Path, name: str, changes: dict[str, str], field: str, said: str
) -> None:
    with pytest.raises(Refusal) as refused:
        bundle(folders / name, **changes)
    assert said in refused.value.message
    assert refused.value.field == field


def test_weights_that_mlx_does_not_read(folders: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(folders / "Wan2.2-TI2V-5B-Diffusers", tmp_path / "folder")
    [file] = (copy / "transformer").glob("*.safetensors")
    weights = load_file(file)
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in weights.items()}, file)
    with pytest.raises(Refusal, match=r"is float8_e4m3fn; MLX reads fp32, fp16 and bf16"):
        bundle(copy)


def test_a_package_that_mlx_gen_has_saved(folders: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(folders / T2V, tmp_path / "folder")
    shutil.rmtree(copy / "transformer")
    (copy / "transformer").mkdir()
    packed = {f"blocks.0.attn1.to_q.{name}": torch.zeros(4, 4) for name in ("weight", "scales", "biases")}
    save_file(packed, copy / "transformer" / "0.safetensors", {"quantization_level": "8", "mflux_version": "0.38.0"})
    with pytest.raises(Refusal, match=r"transformer: 0\.safetensors holds weights for MLX") as refused:
        bundle(copy)
    assert refused.value.field == "folder"


@pytest.mark.parametrize(("sampler", "field"), [("dpmpp_2m", "sampler"), ("res_multistep", "sampler")])
def test_a_sampler_that_mlx_has_not(folders: Path, sampler: str, field: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(bundle(folders / T2V), sampler=sampler)
    assert f"{sampler} given; MLX has euler and uni_pc" in refused.value.message
    assert (refused.value.stage, refused.value.field) == (1, field)


def test_a_custom_sampler_that_mlx_has_not(folders: Path) -> None:
    from comfy.samplers import sampler_object
    from longtake.pipelines.sampling.schedulers import DiffusersSampler, Solver, as_sampler

    model = bundle(folders / T2V)
    for custom in (sampler_object("lms"), as_sampler(DiffusersSampler(Solver.UNIPC, order=3))):
        with pytest.raises(Refusal, match="given; MLX has euler and uni_pc") as refused:
            check(model, custom=custom)
        assert refused.value.field == "custom_sampler"
    check(model, custom=as_sampler(DiffusersSampler(Solver.UNIPC)))
    check(model, sampler="uni_pc")


def test_a_lora_that_is_no_low_rank_pair(folders: Path, tmp_path: Path) -> None:
    factors = {"lokr_w1": torch.zeros(2, 2), "lokr_w2": torch.zeros(12, 12)}
    lokr = {f"lycoris_blocks_0_self_attn_q.{name}": tensor for name, tensor in factors.items()}
    difference = {"diffusion_model.blocks.0.self_attn.q.diff_b": torch.zeros(24)}
    pair = {f"diffusion_model.blocks.0.self_attn.k.lora_{end}.weight": torch.zeros(24, 24) for end in ("up", "down")}
    for name, tensors in (("lokr", lokr), ("plain", pair | difference)):
        save_file(tensors, tmp_path / f"{name}.safetensors")

    def with_lora(name: str) -> Any:
        choice = LoraChoice(f"{name}.safetensors", "none")
        return apply_lora(bundle(folders / T2V), choice, [], lambda file: str(tmp_path / file))[0]

    with pytest.raises(Refusal, match=r"lokr\.safetensors is lokr; MLX adds low-rank pairs and differences") as refused:
        check(with_lora("lokr"))
    assert (refused.value.stage, refused.value.field) == (1, "model")
    check(with_lora("plain"))


def test_who_renders_and_in_what_precision_is_in_the_key(folders: Path) -> None:
    from longtake.pipelines.identity import digest
    from longtake.pipelines.stage.keys import model_ingredients

    keys = {digest(model_ingredients(bundle(folders / T2V, mlx=mlx))) for mlx in (None, *Weights)}
    assert len(keys) == 1 + len(Weights)
    assert digest(model_ingredients(bundle(folders / T2V))) in keys


def test_nothing_of_mlx_is_loaded_by_a_check(folders: Path) -> None:
    model = bundle(folders / T2V)
    check(model)
    assert not any(part.loaded for part in (model.high, model.low, model.text_encoder, model.vae))
    assert "mlx" not in sys.modules
