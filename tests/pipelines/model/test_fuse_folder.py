"""Merged files of diffusers folders: whole models under ComfyUI's names, equal to the folder's patched bundle."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from longtake.pipelines.model.variant import Training  # noqa: E402
from longtake.pipelines.weights.pairs import Noise  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from tests.pipelines.lora.files import weights_of, write  # noqa: E402

WAN = "Wan2.2-T2V-A14B-Diffusers"
LTX2 = ["LTX-2", "LTX-2.3-Distilled"]

Keys = dict[str, Any]


def bundle(models: Path, name: str, variant: str = "default") -> Any:
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.load.diffusers.folder import open_folder
    from longtake.pipelines.load.diffusers.ltx2 import Ltx2Choices

    folder = open_folder(name, [str(models / "diffusers")], variant)
    return bundle_from_folder(folder, choices=Ltx2Choices() if name in LTX2 else None)


def pairs(shapes: dict[str, tuple[int, int]], seed: int) -> Keys:
    generator = torch.Generator().manual_seed(seed)
    keys = {}
    for module, (out, into) in shapes.items():
        keys[f"{module}.lora_A.weight"] = 0.1 * torch.randn(4, into, generator=generator)
        keys[f"{module}.lora_B.weight"] = 0.1 * torch.randn(out, 4, generator=generator)
    return keys


def wan_lora(path: Path, seed: int) -> Any:
    prefix = "diffusion_model.blocks"
    keys = pairs({f"{prefix}.0.self_attn.q": (24, 24), f"{prefix}.1.ffn.0": (48, 24)}, seed)
    return write(path, keys | {f"{prefix}.1.modulation.diff": 0.1 * torch.ones(1, 6, 24)})


def ltx2_lora(path: Path, name: str) -> Any:
    """On picture, sound, a connector and the projection."""
    picture, blocks = (48 if name == LTX2[1] else 32), "diffusion_model.transformer_blocks"
    shapes = {
        f"{blocks}.0.attn1.to_q": (48, 48),
        f"{blocks}.1.audio_ff.net.2": (24, 96),
        "diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_k": (picture, picture),
        f"text_embedding_projection.{'video_' if name == LTX2[1] else ''}aggregate_embed": (picture, 256),
    }
    return write(
        path,
        pairs(shapes, seed=3) | {f"{blocks}.1.scale_shift_table.diff": torch.ones(9 if name == LTX2[1] else 6, 48)},
    )


def patched_state(patcher: Any, read: Any) -> Keys:
    """What `read` gives of a model while its patches are in its weights."""
    patcher.unpatch_model()
    patcher.patch_model()
    found = {key: tensor.clone() for key, tensor in read().items()}
    patcher.unpatch_model()
    return found


def fused(model: Any, folder: Path) -> list[Path]:
    from longtake.pipelines.model.fuse import experts_to_fuse, fuse

    files = []
    for expert, source in experts_to_fuse(model):
        loras = model.loras_of(expert)
        files.append(fuse(source, loras, model.family, folder / f"{expert.value}.safetensors").path)
    return files


def assert_equal(first: Keys, second: Keys) -> None:
    assert first.keys() == second.keys()
    assert max((first[key].float() - second[key].float()).abs().max().item() for key in first) == 0.0


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_experts_of_a_wan_folder_become_files_that_load_wan_loads(
    comfyui: Path, tiny_models: Path, tmp_path: Path
) -> None:
    from longtake.pipelines.load.files import ModelFile, bundle_from_files
    from longtake.pipelines.model.lora import patched

    plain = bundle(tiny_models, WAN)
    model, _ = patched(plain, wan_lora(tmp_path / "a.safetensors", 1), Noise.HIGH, 3.0)
    model, _ = patched(model, wan_lora(tmp_path / "b.safetensors", 2), Noise.LOW, 0.5)
    model, _ = patched(model, wan_lora(tmp_path / "c.safetensors", 3), Noise.LOW, 1.0)
    high, low = fused(model, tmp_path)

    def file(folder: str, name: str) -> Any:
        return ModelFile(name, str(tiny_models / folder / name))

    merged = bundle_from_files(
        model.family,
        ModelFile(high.name, str(high)),
        ModelFile(low.name, str(low)),
        file("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"),
        file("vae", "wan_2.1_vae.safetensors"),
    )
    for part, same, before in ((model.high, merged.high, plain.high), (model.low, merged.low, plain.low)):
        expected = patched_state(part.get(), lambda part=part: weights_of(part.get()))
        assert_equal(expected, weights_of(same.get()))
        assert sum(not torch.equal(expected[key], one) for key, one in weights_of(before.get()).items()) == 3
    assert json.loads(metadata_of(low)["longtake.fused"]) == [
        {
            "into": f"{WAN}/transformer_2",
            "computed_in": "float32",
            "loras": [lora.facts() for lora in model.loras[1:]],
        }
    ]


def test_a_variant_in_fp16_is_merged_in_fp16(comfyui: Path, tiny_models: Path, tmp_path: Path) -> None:
    """A CPU computes in fp32, so the merged weights are those of the patched model rounded once."""
    from longtake.pipelines.model.lora import patched

    plain = bundle(tiny_models, "Wan2.1-T2V-1.3B-Diffusers", "fp16")
    model, _ = patched(plain, wan_lora(tmp_path / "a.safetensors", 1), Noise.HIGH, 3.0)
    [path] = fused(model, tmp_path)
    expected = patched_state(model.high.get(), lambda: weights_of(model.high.get()))
    with safe_open(path, framework="pt") as file:
        merged = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in merged.values()} == {torch.float16}
    assert_equal({key: tensor.half() for key, tensor in expected.items()}, merged)


def gemma_header(path: Path) -> Any:
    """As much of a Gemma of the folders' size as Load LTX-2 looks at."""
    from longtake.pipelines.load.files import ModelFile

    layers = [f"model.layers.{layer}.self_attn.q_norm.weight" for layer in range(7)]
    names = [*layers, "model.layers.0.post_feedforward_layernorm.weight"]
    save_file({"model.embed_tokens.weight": torch.zeros(4, 32), **{name: torch.zeros(2) for name in names}}, path)
    return ModelFile(path.name, str(path))


@pytest.mark.parametrize("name", LTX2)
def test_an_ltx2_folder_becomes_a_checkpoint_that_load_ltx2_loads(
    comfyui: Path, tiny_models: Path, tmp_path: Path, name: str
) -> None:
    """Transformer, connectors and projection as patched; the VAEs and the vocoder as they were."""
    from longtake.pipelines.load.files import ModelFile
    from longtake.pipelines.load.ltx2 import Ltx2Files, ltx2_bundle
    from longtake.pipelines.model.lora import patched

    plain = bundle(tiny_models, name)
    model, report = patched(plain, ltx2_lora(tmp_path / "a.safetensors", name), Noise.HIGH, 3.0)
    assert report.percent == 100
    [path] = fused(model, tmp_path)
    files = Ltx2Files.of_checkpoint(ModelFile(path.name, str(path)))
    merged = ltx2_bundle(files, gemma_header(tmp_path / "gemma.safetensors"), Training.DISTILLED, None, Fraction(24))

    assert merged.variant.name.split("-")[-1] == plain.variant.name.split("-")[-1]
    expected = patched_state(model.high.get(), lambda: weights_of(model.high.get()))
    assert_equal(expected, weights_of(merged.high.get()))
    assert sum(not torch.equal(expected[key], one) for key, one in weights_of(plain.high.get()).items()) == 4
    for before, after in ((plain.vae, merged.vae), (plain.audio_vae, merged.audio_vae)):
        assert_equal(*(part.get().first_stage_model.state_dict() for part in (before, after)))

    text = model.text_encoder.get()
    projection = patched_state(text.patcher, lambda: text.cond_stage_model.text_embedding_projection.state_dict())
    start = "text_embedding_projection." + ("" if name == LTX2[1] else "aggregate_embed.")
    with safe_open(path, framework="pt") as file:
        assert_equal({start + key: one for key, one in projection.items()},
                     {key: file.get_tensor(key) for key in file.keys() if key.startswith(start)})  # noqa: SIM118  # fmt: skip


def test_memory_does_not_grow_with_the_folder(comfyui: Path, tiny_models: Path, tmp_path: Path) -> None:
    """80 MB in shards of 20 MB, in tensors of 20 MB that no LoRA changes, pass through in blocks of 16 MB."""
    import tracemalloc

    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.load.diffusers.folder import open_folder
    from longtake.pipelines.load.diffusers.wan import expert
    from longtake.pipelines.lora.applied import AppliedLora
    from longtake.pipelines.model.fuse import fuse

    from tests.tiny.diffusers_wan import transformer

    made = transformer(16, 16, seed=1, ffn_dim=210_000)
    made.save_pretrained(tmp_path / "big" / "transformer", max_shard_size="21MB")
    entry = {"_class_name": "WanPipeline", "transformer": ["diffusers", "WanTransformer3DModel"]}
    (tmp_path / "big" / "model_index.json").write_text(json.dumps(entry))
    part, _ = expert(open_folder("big", [str(tmp_path)]), "transformer", "default")
    shapes = {"diffusion_model.blocks.0.self_attn.q": (24, 24)}
    one = AppliedLora(write(tmp_path / "a.safetensors", pairs(shapes, seed=1)), Noise.HIGH, 1.0)
    source = part.stored()
    assert source.size > 80e6 and len({tensor.path for tensor in source.tensors.values()}) == 5

    tracemalloc.start()
    fuse(source, [one], WAN22, tmp_path / "merged.safetensors")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20


def test_tensors_of_several_files_lie_where_their_types_can_be_read(comfyui: Path, tmp_path: Path) -> None:
    """Three numbers of two bytes each would leave those of four bytes off their places."""
    from longtake.pipelines.weights.stored import StoredWeights, stored_in

    tensors = {"a": torch.ones(3, dtype=torch.bfloat16), "b": torch.ones(2), "c": torch.ones(1, dtype=torch.float64)}
    for name, tensor in tensors.items():
        save_file({name: tensor}, tmp_path / f"{name}.safetensors")
    files = [stored_in(tmp_path / f"{name}.safetensors").tensors for name in tensors]
    together = StoredWeights("all", {key: one for file in files for key, one in file.items()}, {}).arranged()
    assert together.starts() == {"c": 0, "b": 8, "a": 16}


def test_a_lora_on_one_pass_alone_is_not_merged(comfyui: Path, tiny_models: Path, tmp_path: Path) -> None:
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.load.ltx2 import in_two_passes
    from longtake.pipelines.lora.choice import Passes
    from longtake.pipelines.model.fuse import experts_to_fuse
    from longtake.pipelines.model.lora import patched
    from longtake.pipelines.model.part import Part

    model = in_two_passes(bundle(tiny_models, "LTX-2"), Part("upscaler", lambda: None))
    both, one = (ltx2_lora(tmp_path / name, "LTX-2") for name in ("both.safetensors", "one.safetensors"))
    model, _ = patched(model, both, Noise.HIGH, 1.0)
    assert [name for name, _ in experts_to_fuse(model)] == [Noise.HIGH]
    for passes in (Passes.FIRST, Passes.SECOND):
        with pytest.raises(Refusal) as refused:
            experts_to_fuse(patched(model, one, Noise.HIGH, 1.0, passes)[0])
        assert str(refused.value) == (
            f"model: one.safetensors is on the {passes.value} of two passes alone, and a merged file is for both. Put "
            "it on both, or merge the bundle without it and put it on the merged one."
        )


def test_loaded_models_and_bundles_without_loras_are_not_merged(
    comfyui: Path, tiny_models: Path, tmp_path: Path
) -> None:
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.load.files import bundle_from_loaded
    from longtake.pipelines.model.fuse import experts_to_fuse
    from longtake.pipelines.model.lora import patched

    model = bundle(tiny_models, WAN)
    with pytest.raises(Refusal, match="the bundle has no LoRA to merge; put Apply LoRA before this node"):
        experts_to_fuse(model)
    loaded = bundle_from_loaded(*(part.get() for part in (model.high, model.low, model.text_encoder, model.vae)))
    with pytest.raises(Refusal) as refused:
        experts_to_fuse(patched(loaded, wan_lora(tmp_path / "a.safetensors", 1), Noise.HIGH, 1.0)[0])
    assert str(refused.value) == (
        "model: the high-noise model was loaded by another node, which may have changed it, and merging works from "
        "files. Choose its file in Load Wan 2.2 or Load LTX-2, or its folder in Load Diffusers Folder."
    )
