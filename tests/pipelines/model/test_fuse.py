"""Merged checkpoints load as the original does and compute what the patched model computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from longtake.pipelines.weights.pairs import Noise

torch = pytest.importorskip("torch")

Keys = dict[str, Any]
SOURCE = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
PREFIX = "diffusion_model."
FP8_LAYERS = ("self_attn.q", "self_attn.k", "cross_attn.v", "ffn.0", "ffn.2")


@pytest.fixture(scope="module")
def weights(comfyui: Path, tiny_models: Path) -> tuple[Keys, dict[str, str]]:
    """Tensors in fp32 and metadata of a tiny Wan model."""
    from safetensors import safe_open

    with safe_open(tiny_models / "diffusion_models" / SOURCE, framework="pt") as file:
        tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()


def scaled_fp8(tensors: Keys, metadata: dict[str, str], old: bool) -> tuple[Keys, dict[str, str]]:
    """The model as ComfyUI's fp8_scaled files hold it: matrices of the blocks in fp8, each beside its scale."""
    stored = {key: tensor.to(torch.bfloat16) for key, tensor in tensors.items()}
    layers = [f"blocks.{block}.{layer}" for block in range(2) for layer in FP8_LAYERS]
    for layer in layers:
        weight = tensors[f"{layer}.weight"]
        scale = weight.abs().max() / 448
        stored[f"{layer}.weight"] = (weight / scale).to(torch.float8_e4m3fn)
        stored[f"{layer}.{'scale_weight' if old else 'weight_scale'}"] = scale.reshape(1 if old else ())
    if old:
        return stored | {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, metadata
    forms = {layer: {"format": "float8_e4m3fn"} for layer in layers}
    return stored, {**metadata, "_quantization_metadata": json.dumps({"layers": forms})}


def store(folder: Path, form: str, tensors: Keys, metadata: dict[str, str]) -> Path:
    from safetensors.torch import save_file

    if form.startswith("scaled"):
        tensors, metadata = scaled_fp8(tensors, metadata, old=form == "scaled fp8, old keys")
    else:
        dtype = getattr(torch, form)
        tensors = {key: tensor.to(dtype) for key, tensor in tensors.items()}
    save_file(tensors, folder / "source.safetensors", {**metadata, "made by": "somebody"})
    return folder / "source.safetensors"


def lora(folder: Path, name: str, seed: int, strength: float) -> Any:
    """A file that changes the attention, a bias, a norm and a table of the model."""
    from longtake.pipelines.lora.applied import AppliedLora
    from longtake.pipelines.lora.file import open_lora
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Any:
        return 0.1 * torch.randn(*shape, generator=generator)

    keys = {}
    for layer in ("blocks.0.self_attn.q", "blocks.1.ffn.0", "blocks.1.cross_attn.o"):
        out = 48 if layer.endswith("ffn.0") else 24
        keys |= {f"{layer}.lora_A.weight": noise(4, 24), f"{layer}.lora_B.weight": noise(out, 4)}
        keys[f"{layer}.diff_b"] = noise(out)
    keys |= {"blocks.0.norm3.diff": noise(24), "blocks.0.modulation.diff": noise(1, 6, 24)}
    save_file({PREFIX + key: tensor for key, tensor in keys.items()}, folder / name)
    return AppliedLora(open_lora(name, folder / name), Noise.HIGH, strength)


def merged_file(source: Path, folder: Path, *loras: Any) -> Path:
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.model.fuse import fuse
    from longtake.pipelines.weights.stored import stored_in

    return fuse(stored_in(source), loras, WAN22, folder / "merged.safetensors").path


def loaded(path: Path, **options: Any) -> Any:
    from comfy.sd import load_diffusion_model

    return load_diffusion_model(str(path), model_options=options)


def patched(path: Path, loras: list[Any], **options: Any) -> Any:
    """What Apply LoRA makes of a file."""
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.lora.match import match
    from longtake.pipelines.lora.patch import patch
    from longtake.pipelines.lora.skeleton import skeleton_of_model

    model = loaded(path, **options)
    for one in loras:
        found = match(one.file, skeleton_of_model(model.model), WAN22.lora)
        model = patch(model, one.file, found, one.strength)
    return model


def output(model: Any) -> Any:
    """One forward pass of a model on the CPU."""
    import comfy.model_management

    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(1, 16, 3, 8, 8, generator=generator)
    context = torch.randn(1, 16, 32, generator=generator)
    comfy.model_management.load_models_gpu([model])
    with torch.inference_mode():
        return model.model.apply_model(noise, torch.tensor([0.7]), c_crossattn=context).float()


FORMS = ["float32", "float16", "bfloat16", "float8_e4m3fn", "scaled fp8, old keys", "scaled fp8, new keys"]
# Largest difference of the output over its largest value, where the patched model runs in the file's own precision.
# ComfyUI widens what a scaled fp8 file holds in bf16 to fp32 on a CPU, so there the patched model is the finer one.
TOLERANCE = dict.fromkeys(FORMS, 0.0) | dict.fromkeys(("scaled fp8, old keys", "scaled fp8, new keys"), 1e-3)


@pytest.mark.parametrize("form", FORMS)
@torch.inference_mode()  # as ComfyUI runs nodes
def test_a_merged_file_computes_what_the_patched_model_computes(
    weights: tuple[Keys, dict[str, str]], tmp_path: Path, form: str
) -> None:
    source = store(tmp_path, form, *weights)
    loras = [lora(tmp_path, "a.safetensors", 1, 0.5), lora(tmp_path, "b.safetensors", 2, 3.0)]
    options = {} if form.startswith("scaled") else {"dtype": getattr(torch, form)}
    plain = output(loaded(source, **options))
    expected = output(patched(source, loras, **options))
    given = output(loaded(merged_file(source, tmp_path, *loras), **options))

    assert (expected - plain).abs().max() > 0.05 * plain.abs().max()
    assert ((given - expected).abs().max() / expected.abs().max()).item() <= TOLERANCE[form]


@pytest.mark.parametrize("form", FORMS)
def test_a_merged_file_keeps_types_shapes_metadata_and_what_it_does_not_change(
    weights: tuple[Keys, dict[str, str]], tmp_path: Path, form: str
) -> None:
    from safetensors import safe_open

    source = store(tmp_path, form, *weights)
    one = lora(tmp_path, "a.safetensors", 1, 0.5)
    merged = merged_file(source, tmp_path, one)
    with safe_open(source, framework="pt") as before, safe_open(merged, framework="pt") as after:
        assert set(before.keys()) == set(after.keys())
        changed = set()
        for key in before.keys():  # noqa: SIM118
            old, new = before.get_tensor(key), after.get_tensor(key)
            assert (old.dtype, old.shape) == (new.dtype, new.shape)
            if not torch.equal(old.view(torch.uint8) if old.ndim else old, new.view(torch.uint8) if new.ndim else new):
                changed.add(key)
        metadata = after.metadata()
        assert {k: v for k, v in metadata.items() if k != "longtake.fused"} == before.metadata()
    expected = {
        f"blocks.{layer}.{end}"
        for layer in ("0.self_attn.q", "1.ffn.0", "1.cross_attn.o")
        for end in ("weight", "bias")
    } | {"blocks.0.norm3.weight", "blocks.0.modulation"}
    assert {key for key in changed if "scale" not in key} == expected
    assert json.loads(metadata["longtake.fused"]) == [
        {
            "into": "source.safetensors",
            "computed_in": "float32",
            "loras": [{"file": "a.safetensors", "sha256": one.content, "expert": "high", "strength": 0.5}],
        }
    ]


def test_merging_into_a_merged_file_keeps_both_records(weights: tuple[Keys, dict[str, str]], tmp_path: Path) -> None:
    from safetensors import safe_open

    source = store(tmp_path, "float32", *weights)
    first = merged_file(source, tmp_path, lora(tmp_path, "a.safetensors", 1, 0.5)).rename(tmp_path / "once.safetensors")
    second = merged_file(first, tmp_path, lora(tmp_path, "b.safetensors", 2, 1.0))
    with safe_open(second, framework="pt") as file:
        records = json.loads(file.metadata()["longtake.fused"])
    assert [record["loras"][0]["file"] for record in records] == ["a.safetensors", "b.safetensors"]


def test_a_quantised_file_that_cannot_be_written_again_is_refused(
    weights: tuple[Keys, dict[str, str]], tmp_path: Path
) -> None:
    from longtake.pipelines.errors import Refusal
    from safetensors.torch import save_file

    tensors, metadata = weights
    layer = "blocks.0.self_attn.q"
    packed = {**tensors, f"{layer}.weight": torch.zeros(24, 12, dtype=torch.uint8)}
    packed[f"{layer}.weight_scale"] = torch.zeros(24, 2)
    packed[f"{layer}.weight_scale_2"] = torch.zeros(())
    forms = {"_quantization_metadata": json.dumps({"layers": {layer: {"format": "nvfp4"}}})}
    save_file(packed, tmp_path / "packed.safetensors", metadata | forms)
    with pytest.raises(Refusal) as refused:
        merged_file(tmp_path / "packed.safetensors", tmp_path, lora(tmp_path, "a.safetensors", 1, 1.0))
    assert str(refused.value) == (
        "packed.safetensors is quantised (nvfp4, blocks.0.self_attn.q.weight first), and merged weights cannot be "
        "written back in that form without loss. Fuse into the bf16, fp16 or fp8 file of the same model."
    )
    assert [path.name for path in tmp_path.glob("*merged*")] == []


def test_a_full_disk_leaves_nothing_behind(
    weights: tuple[Keys, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.model import fuse

    source = store(tmp_path, "float32", *weights)
    one = lora(tmp_path, "a.safetensors", 1, 1.0)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fuse, "_put", full)
    with pytest.raises(Refusal, match="is full, so this cannot be kept"):
        merged_file(source, tmp_path, one)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "source.safetensors"]


def test_memory_does_not_grow_with_the_file(weights: tuple[Keys, dict[str, str]], tmp_path: Path) -> None:
    """A tensor of 64 MB that no LoRA changes passes through in blocks of 16 MB."""
    import tracemalloc

    tensors, metadata = weights
    source = store(tmp_path, "float32", {**tensors, "ballast.weight": torch.zeros(1 << 24, 1)}, metadata)
    one = lora(tmp_path, "a.safetensors", 1, 1.0)
    tracemalloc.start()
    merged_file(source, tmp_path, one)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20
