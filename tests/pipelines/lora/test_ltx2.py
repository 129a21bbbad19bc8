"""LoRAs for LTX-2: picture, sound and the projection of the text encoder in one file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from longtake.pipelines.model.variant import Training  # noqa: E402
from longtake.pipelines.weights.pairs import Noise  # noqa: E402
from safetensors import safe_open  # noqa: E402

from tests.pipelines.lora.files import FILES, load_base, weights_of, write  # noqa: E402

RELEASES = ["LTX-2", "LTX-2.3"]
PROJECTION = {
    "LTX-2": {"text_embedding_projection.aggregate_embed": "text_embedding_projection.weight"},
    "LTX-2.3": {
        f"text_embedding_projection.{part}_aggregate_embed": f"text_embedding_projection.{part}_aggregate_embed.weight"
        for part in ("video", "audio")
    },
}
DIT = ("transformer_blocks.0.attn1.to_q", "transformer_blocks.1.audio_attn2.to_k", "transformer_blocks.1.ff.net.2")
CONNECTOR = "video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q"


def checkpoint_tensors(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def lora_keys(tensors: dict[str, Any], release: str, text: str = "{}") -> dict[str, Any]:
    """Pairs for picture, sound, connector and text projection, as the official trainer writes them.

    Args:
        text: how the modules of the projection are spelled.
    """
    generator = torch.Generator().manual_seed(2)
    shapes = {f"diffusion_model.{m}": tensors[f"model.diffusion_model.{m}.weight"].shape for m in (*DIT, CONNECTOR)}
    shapes |= {text.format(m): tensors[f"{m}.weight"].shape for m in PROJECTION[release]}
    keys = {}
    for module, (out, into) in shapes.items():
        keys[f"{module}.lora_A.weight"] = 0.1 * torch.randn(4, into, generator=generator)
        keys[f"{module}.lora_B.weight"] = 0.1 * torch.randn(out, 4, generator=generator)
    return keys


def delta(keys: dict[str, Any], module: str) -> Any:
    return keys[f"{module}.lora_B.weight"] @ keys[f"{module}.lora_A.weight"]


def bundle(models: Path, release: str) -> Any:
    from longtake.pipelines.load.files import ModelFile
    from longtake.pipelines.load.ltx2 import Ltx2Files, ltx2_bundle

    def file(name: str) -> ModelFile:
        return ModelFile(name.rpartition("/")[2], str(models / name))

    gemma = file("text_encoders/gemma_3_12B_it_fp4_mixed.safetensors")
    return ltx2_bundle(Ltx2Files.of_checkpoint(file(FILES[release])), gemma, Training.DISTILLED, None, Fraction(24))


def state(patcher: Any, model: Any) -> dict[str, Any]:
    patcher.patch_model()
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    patcher.unpatch_model()
    return weights


@pytest.mark.parametrize("text", ["{}", "diffusion_model.{}", "text_encoders.{}"])
@pytest.mark.parametrize("release", RELEASES)
def test_text_projection_goes_to_the_text_encoder(
    comfyui: Path, tiny_models: Path, tmp_path: Path, release: str, text: str
) -> None:
    from longtake.pipelines.model.lora import patched

    tensors = checkpoint_tensors(tiny_models / FILES[release])
    keys = lora_keys(tensors, release, text)
    base = bundle(tiny_models, release)
    model, report = patched(base, write(tmp_path / "a.safetensors", keys), Noise.HIGH, 0.5)

    assert report.percent == 100 and report.place == "model"
    assert report.base == "LTX-2"
    assert not model.text_encoder.loaded and not base.high.loaded
    clip, patched_clip = base.text_encoder.get(), model.text_encoder.get()
    before = state(clip.patcher, clip.cond_stage_model)
    after = state(patched_clip.patcher, clip.cond_stage_model)
    for module, weight in PROJECTION[release].items():
        expected = before[weight].float() + 0.5 * delta(keys, text.format(module))
        assert (after[weight].float() - expected).abs().max() <= 1e-3  # the file is fp16
        assert (after.pop(weight) - before[weight]).abs().max() > 0.01
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())
    dit = state(model.high.get(), base.high.get().model)[f"diffusion_model.{CONNECTOR}.weight"]
    plain = state(base.high.get(), base.high.get().model)[f"diffusion_model.{CONNECTOR}.weight"]
    assert (dit.float() - plain.float() - 0.5 * delta(keys, f"diffusion_model.{CONNECTOR}")).abs().max() <= 1e-3


@pytest.mark.parametrize("release", RELEASES)
def test_a_merged_checkpoint_holds_what_the_patched_models_hold(
    comfyui: Path, tiny_models: Path, tmp_path: Path, release: str
) -> None:
    from comfy.sd import load_checkpoint_guess_config
    from longtake.pipelines.families.ltx2 import LTX2
    from longtake.pipelines.lora.applied import AppliedLora
    from longtake.pipelines.lora.match import match
    from longtake.pipelines.lora.patch import patch
    from longtake.pipelines.lora.skeleton import skeleton_of_model
    from longtake.pipelines.model.fuse import fuse
    from longtake.pipelines.weights.stored import stored_in

    source = tiny_models / FILES[release]
    tensors = checkpoint_tensors(source)
    keys = lora_keys(tensors, release)
    table = tensors["model.diffusion_model.transformer_blocks.0.scale_shift_table"]
    keys["diffusion_model.transformer_blocks.0.scale_shift_table.diff"] = torch.ones(table.shape)
    file = write(tmp_path / "a.safetensors", keys)
    merged = fuse(stored_in(source), [AppliedLora(file, Noise.HIGH, 3.0)], LTX2, tmp_path / "merged.safetensors").path

    def loaded(path: Path) -> Any:
        options = {"dtype": torch.float16}
        return load_checkpoint_guess_config(str(path), output_vae=False, output_clip=False, model_options=options)[0]

    base = loaded(source)
    one = patch(base, file, match(file, skeleton_of_model(base.model), LTX2.lora), 3.0)
    one.patch_model()
    expected = weights_of(one)
    one.unpatch_model()
    given = weights_of(loaded(merged))
    assert given.keys() == expected.keys()
    assert max((given[key].float() - expected[key].float()).abs().max().item() for key in given) == 0.0

    changed = checkpoint_tensors(merged)
    for module in PROJECTION[release]:
        weight = tensors[f"{module}.weight"].float() + 3.0 * delta(keys, module)
        assert torch.equal(changed[f"{module}.weight"], weight.half())
    untouched = [key for key in tensors if key.startswith(("vae.", "audio_vae.", "vocoder."))]
    assert untouched and all(torch.equal(tensors[key], changed[key]) for key in untouched)


def test_the_release_is_read_off_the_keys(comfyui: Path, tiny_models: Path, tmp_path: Path) -> None:
    from longtake.pipelines.lora.report import base_of

    base = load_base(tiny_models, "LTX-2.3")
    from tests.pipelines.lora.formats import PAIRS

    for kind in PAIRS:
        file = write(tmp_path / "a.safetensors", kind.write(base.pairs(), base.family.lora.diffusers_name))
        assert base_of(file) == "LTX-2.3"


def test_a_projection_in_another_file_is_not_passed_over(comfyui: Path, tiny_models: Path, tmp_path: Path) -> None:
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.families.ltx2 import LTX2
    from longtake.pipelines.lora.applied import AppliedLora
    from longtake.pipelines.model.fuse import fuse
    from longtake.pipelines.weights.stored import stored_in
    from safetensors.torch import save_file

    source = tiny_models / FILES["LTX-2"]
    tensors = checkpoint_tensors(source)
    file = write(tmp_path / "a.safetensors", lora_keys(tensors, "LTX-2"))
    parts = {key: tensor for key, tensor in tensors.items() if key.startswith("model.diffusion_model.")}
    with safe_open(source, framework="pt") as opened:
        save_file(parts, tmp_path / "transformer.safetensors", opened.metadata())
    with pytest.raises(Refusal) as refused:
        fuse(
            stored_in(tmp_path / "transformer.safetensors"),
            [AppliedLora(file, Noise.HIGH, 1.0)],
            LTX2,
            tmp_path / "merged.safetensors",
        )
    assert str(refused.value) == (
        "a.safetensors changes the projection of the text encoder (text_embedding_projection.aggregate_embed."
        "lora_A.weight first), which transformer.safetensors does not hold. Merge it into the whole checkpoint."
    )
