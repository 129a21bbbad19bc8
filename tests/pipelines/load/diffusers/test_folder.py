"""Folders in diffusers' layout: what is found, which weights are read, what is refused before a weight is."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.load.diffusers.folder import DEFAULT, folders_below, open_folder
from longtake.pipelines.load.diffusers.keys import (
    GEMMA,
    LTX2_CONNECTORS,
    LTX2_TRANSFORMER,
    LTX2_VOCODER,
    WAN_2_1_VAE,
    WAN_2_2_VAE,
    WAN_TRANSFORMER,
    ltx2_video_vae,
    rename,
)
from longtake.pipelines.lora.ltx2 import LTX2_LORA
from longtake.pipelines.lora.traits import LoraTraits
from longtake.pipelines.lora.wan22 import WAN_LORA
from longtake.pipelines.model.variant import Training
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def folder_of(root: Path, name: str = "model", files: tuple[str, ...] = ()) -> Path:
    """A folder with a transformer whose config says class `T`, and empty files in it."""
    transformer = root / name / "transformer"
    transformer.mkdir(parents=True)
    (root / name / "model_index.json").write_text(json.dumps({"_class_name": "P", "transformer": ["diffusers", "T"]}))
    (transformer / "config.json").write_text(json.dumps({"_class_name": "T"}))
    for file in files:
        (transformer / file).touch()
    return transformer


def files_read(root: Path, variant: str = DEFAULT) -> list[str]:
    component = open_folder("model", [str(root)], variant).component("transformer", "T")
    return [Path(file).name for file in component.files]


def test_folders_are_named_by_where_they_lie(tmp_path: Path) -> None:
    folder_of(tmp_path, "wan")
    folder_of(tmp_path, "author/ltx")
    (tmp_path / "no_model").mkdir()
    assert list(folders_below([str(tmp_path), str(tmp_path / "gone")])) == ["author/ltx", "wan"]


@pytest.mark.parametrize("name", ["../model", "/etc", "model/transformer", "", "."])
def test_a_name_that_is_not_listed_opens_nothing(tmp_path: Path, name: str) -> None:
    folder_of(tmp_path / "diffusers")
    folder_of(tmp_path)
    with pytest.raises(Refusal, match="the diffusers folders are model"):
        open_folder(name, [str(tmp_path / "diffusers")])


def test_the_variant_asked_for_is_read_and_no_other(tmp_path: Path) -> None:
    folder_of(tmp_path, files=("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"))
    assert files_read(tmp_path) == ["diffusion_pytorch_model.safetensors"]
    assert files_read(tmp_path, "fp16") == ["diffusion_pytorch_model.fp16.safetensors"]
    with pytest.raises(Refusal, match="transformer has no bf16 weights; it has default, fp16"):
        files_read(tmp_path, "bf16")


def test_shards_are_those_that_the_index_names(tmp_path: Path) -> None:
    names = [f"diffusion_pytorch_model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    folder = folder_of(tmp_path, files=(*names, "diffusion_pytorch_model-old.safetensors"))
    index = {"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}
    (folder / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text(json.dumps(index))
    assert files_read(tmp_path, "fp16") == names
    (folder / names[1]).unlink()
    with pytest.raises(Refusal, match=f"lacks {names[1]}"):
        files_read(tmp_path, "fp16")


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "..\\secret.safetensors"])
def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path)
    (folder.parent / "secret.safetensors").touch()
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(Refusal, match="not a file of its own folder"):
        files_read(tmp_path)


def test_pickles_are_refused_and_never_opened(tmp_path: Path) -> None:
    folder_of(tmp_path, files=("diffusion_pytorch_model.bin",))
    with pytest.raises(Refusal, match="pickle"):
        files_read(tmp_path)


def test_a_component_of_another_class_is_refused_by_name(tmp_path: Path) -> None:
    folder_of(tmp_path)
    with pytest.raises(Refusal, match="transformer is a T; WanTransformer3DModel can be loaded"):
        open_folder("model", [str(tmp_path)]).component("transformer", "WanTransformer3DModel")
    with pytest.raises(Refusal, match="has no vae"):
        open_folder("model", [str(tmp_path)]).component("vae", "T")


@pytest.mark.parametrize(
    ("diffusers", "native", "tables"),
    [
        ("blocks.3.attn1.to_out.0.weight", "blocks.3.self_attn.o.weight", (WAN_TRANSFORMER,)),
        ("blocks.3.norm2.weight", "blocks.3.norm3.weight", (WAN_TRANSFORMER,)),
        ("blocks.3.scale_shift_table", "blocks.3.modulation", (WAN_TRANSFORMER,)),
        ("scale_shift_table", "head.modulation", (WAN_TRANSFORMER,)),
        ("decoder.up_blocks.1.resnets.2.norm1.gamma", "decoder.upsamples.6.residual.0.gamma", WAN_2_1_VAE),
        ("decoder.up_blocks.1.upsamplers.0.time_conv.bias", "decoder.upsamples.7.time_conv.bias", WAN_2_1_VAE),
        ("encoder.mid_block.resnets.1.conv2.bias", "encoder.middle.2.residual.6.bias", WAN_2_1_VAE),
        ("decoder.up_blocks.0.upsampler.time_conv.bias", "decoder.upsamples.0.upsamples.3.time_conv.bias", WAN_2_2_VAE),
    ],
)  # fmt: skip
def test_a_key_has_its_native_name(diffusers: str, native: str, tables: tuple) -> None:
    assert rename(diffusers, *tables) == native


@pytest.mark.parametrize(
    ("diffusers", "native", "tables"),
    [
        ("time_embed.linear.bias", "adaln_single.linear.bias", LTX2_TRANSFORMER),
        ("audio_proj_in.weight", "audio_patchify_proj.weight", LTX2_TRANSFORMER),
        ("proj_out.weight", "proj_out.weight", LTX2_TRANSFORMER),
        ("av_cross_attn_audio_v2a_gate.linear.bias", "av_ca_v2a_gate_adaln_single.linear.bias", LTX2_TRANSFORMER),
        ("transformer_blocks.1.attn1.norm_q.weight", "transformer_blocks.1.attn1.q_norm.weight", LTX2_TRANSFORMER),
        ("audio_text_proj_in.bias", "text_embedding_projection.audio_aggregate_embed.bias", LTX2_CONNECTORS),
        ("encoder.down_blocks.2.resnets.1.conv1.conv.bias", "encoder.down_blocks.4.res_blocks.1.conv1.conv.bias",
         ltx2_video_vae(4)),
        ("encoder.mid_block.resnets.0.conv1.conv.bias", "encoder.down_blocks.8.res_blocks.0.conv1.conv.bias",
         ltx2_video_vae(4)),
        ("decoder.up_blocks.1.upsamplers.0.conv.conv.bias", "decoder.up_blocks.3.conv.conv.bias", ltx2_video_vae(4)),
        ("language_model.model.norm.weight", "model.norm.weight", (GEMMA,)),
        ("model.language_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight", (GEMMA,)),
        ("embed_tokens.weight", "model.embed_tokens.weight", (GEMMA,)),
        ("resnets.0.acts1.0.downsample.filter", "resblocks.0.acts1.0.downsample.lowpass.filter", LTX2_VOCODER),
        ("bwe_generator.upsamplers.1.bias", "bwe_generator.ups.1.bias", LTX2_VOCODER),
    ],
)  # fmt: skip
def test_a_key_of_ltx2_has_its_native_name(diffusers: str, native: str, tables: tuple) -> None:
    assert rename(diffusers, *tables) == native


@pytest.mark.parametrize(
    ("model", "lora", "tables", "not_in_it"),
    [
        ("diffusion_models/wan2.1_i2v_480p_14B_fp16", WAN_LORA, (WAN_TRANSFORMER,), ()),
        # The connectors lie in a folder of their own, and have a table for it.
        ("checkpoints/ltx-2-19b-dev-fp8", LTX2_LORA, LTX2_TRANSFORMER, ("connector", "prompt_adaln")),
        ("checkpoints/ltx-2.3-22b-dev-fp8", LTX2_LORA, LTX2_TRANSFORMER, ("connector",)),
    ],
)
def test_loader_and_lora_agree_on_what_diffusers_calls_every_weight_of_a_model(
    tiny_models: Path, model: str, lora: LoraTraits, tables: tuple, not_in_it: tuple[str, ...]
) -> None:
    """There and back: LoRAs are read by native names turned into diffusers', folders by diffusers' turned into native.

    Two tables, since they differ in more than direction: those of a LoRA match whole modules, those of a folder what a
    key begins with, and a folder's hold what no LoRA changes.
    """
    weights = [key.removeprefix("model.diffusion_model.") for key in keys_of(tiny_models / f"{model}.safetensors")]
    weights = [key for key in weights if key.startswith(PARTS_OF_A_TRANSFORMER) and "connector" not in key]
    assert len(weights) > 50
    for key in weights:
        module, dot, kind = key.rpartition(".") if key.endswith((".weight", ".bias")) else (key, "", "")
        assert rename(f"{lora.diffusers_name(module)}{dot}{kind}", *tables) == key
    rules = [pattern for pattern, _ in lora.diffusers if not any(part in pattern for part in not_in_it)]
    modules = {key.removesuffix(".weight").removesuffix(".bias") for key in weights}
    assert [rule for rule in rules if not any(re.fullmatch(rule, module) for module in modules)] == []


PARTS_OF_A_TRANSFORMER = (
    *("blocks.", "head.", "time_", "text_embedding.", "patch_embedding."),  # Wan
    *("transformer_blocks.", "patchify_proj.", "adaln_single.", "prompt_adaln_single.", "proj_out.", "av_ca_"),
    *("audio_patchify_proj.", "audio_adaln_single.", "audio_prompt_adaln_single.", "audio_proj_out."),
)


def keys_of(path: Path) -> list[str]:
    with safe_open(path, "pt") as file:
        return list(file.keys())


WAN = "Wan2.2-T2V-A14B-Diffusers"


@pytest.fixture
def broken(comfyui: Path, tiny_models: Path, tmp_path: Path) -> Path:
    """A copy of the I2V folder that a test may damage."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models / "diffusers" / "Wan2.2-I2V-A14B-Diffusers", folder)
    return folder


def why(folder: Path, variant: str = DEFAULT) -> str:
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder

    with pytest.raises(Refusal) as refused:
        bundle_from_folder(open_folder(folder.name, [str(folder.parent)], variant))
    return refused.value.message


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_bundle_takes_shift_boundary_and_timestep_mode_from_the_folder(comfyui: Path, tiny_models: Path) -> None:
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.model.variant import Mode

    def bundle(name: str, variant: str = DEFAULT):
        return bundle_from_folder(open_folder(name, [str(tiny_models / "diffusers")], variant))

    t2v, i2v = bundle(WAN), bundle("Wan2.2-I2V-A14B-Diffusers")
    assert (t2v.variant.name, t2v.variant.sampling.shift, t2v.variant.sampling.boundary) == ("t2v-14b", 3.0, 0.875)
    assert (i2v.variant.name, i2v.variant.sampling.shift, i2v.variant.sampling.boundary) == ("i2v-14b", 5.0, 0.9)
    assert Mode.IMAGE in bundle("Wan2.2-TI2V-5B-Diffusers").variant.modes
    old = bundle("Wan2.1-T2V-1.3B-Diffusers", "fp16")
    assert (old.low, old.variant.experts, old.variant.sampling.shift) == (None, 1, 8.0)
    parts = (t2v.high, t2v.low, t2v.text_encoder, t2v.vae, old.high)
    assert not any(part.loaded for part in parts if part is not None)


def test_a_5b_folder_without_expanded_timesteps_renders_from_text_alone(tiny_models: Path, broken: Path) -> None:
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.model.variant import Mode

    shutil.rmtree(broken)
    shutil.copytree(tiny_models / "diffusers" / "Wan2.2-TI2V-5B-Diffusers", broken)
    rewrite(broken / "model_index.json", expand_timesteps=False)
    model = bundle_from_folder(open_folder("model", [str(broken.parent)]))
    assert model.variant.modes == {Mode.TEXT} and "expand_timesteps" in model.notes[0]


def test_weights_that_are_not_whole_are_refused_before_they_load(broken: Path) -> None:
    file = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["blocks.0.norm2.weight"]
    weights["blocks.9.extra"] = torch.zeros(1)
    weights["blocks.1.ffn.net.2.bias"] = torch.zeros(5)
    save_file(weights, file)
    message = why(broken)
    assert "model/transformer: 1 weights are missing (blocks.0.norm3.weight)" in message
    assert "blocks.1.ffn.2.bias is [5] where [24] is needed" in message


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("model_index.json", {"_class_name": "WanAnimatePipeline"}, "is a WanAnimatePipeline"),
        ("model_index.json", {"expand_timesteps": True}, "expand_timesteps is set for a model of 16 channels"),
        ("transformer/config.json", {"_class_name": "WanVACETransformer3DModel"}, "is a WanVACETransformer3DModel"),
        ("transformer_2/config.json", {"qk_norm": "layer_norm"}, "qk_norm is layer_norm"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler"}, "its scheduler is DDIMScheduler"),
        ("vae/config.json", {"latents_mean": [0.0] * 16}, "its latents_mean are not those"),
        ("vae/config.json", {"base_dim": 8}, "base_dim is 8, and its weights have a width of 4"),
        ("text_encoder/config.json", {"feed_forward_proj": "relu"}, "feed_forward_proj is relu"),
        ("text_encoder/config.json", {"num_layers": 3}, "weights are missing (encoder.block.2"),
    ],
)  # fmt: skip
def test_what_comfyui_would_compute_otherwise_is_refused(broken: Path, file: str, changes: dict, said: str) -> None:
    rewrite(broken / file, **changes)
    assert said in why(broken)


def test_a_lora_is_judged_by_the_headers_of_the_shards(comfyui: Path, tiny_models: Path) -> None:
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.lora.skeleton import skeleton_of_model
    from longtake.pipelines.model.lora import skeleton_of

    model = bundle_from_folder(open_folder(WAN, [str(tiny_models / "diffusers")]))
    skeleton = skeleton_of(model.high)
    assert not model.high.loaded
    assert skeleton.shapes == skeleton_of_model(model.high.get().model).shapes


@pytest.fixture
def broken_ltx2(tiny_models: Path, broken: Path) -> Path:
    """A copy of the LTX-2.0 folder that a test may damage."""
    shutil.rmtree(broken)
    shutil.copytree(tiny_models / "diffusers" / "LTX-2", broken)
    return broken


def why_not_ltx2(folder: Path, **choices: object) -> str:
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.load.diffusers.ltx2 import Ltx2Choices

    opened = open_folder(folder.name, [str(folder.parent)])
    with pytest.raises(Refusal) as refused:
        bundle_from_folder(opened, choices=Ltx2Choices(**choices))
    return refused.value.message


def test_an_ltx2_bundle_is_sampled_as_its_scheduler_says(comfyui: Path, tiny_models: Path) -> None:
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.load.diffusers.folder import OWN
    from longtake.pipelines.load.diffusers.ltx2 import Ltx2Choices

    def bundle(name: str, **choices: object):
        return bundle_from_folder(open_folder(name, [str(tiny_models / "diffusers")]), choices=Ltx2Choices(**choices))

    dev, distilled = bundle("LTX-2"), bundle("LTX-2.3-Distilled")
    assert (dev.variant.name, distilled.variant.name) == ("dev-2.0", "distilled-2.3")
    assert dev.notes == distilled.notes == ()
    other = bundle("LTX-2", training=Training.DISTILLED, upscaler=OWN)
    assert (other.variant.name, other.variant.size_step) == ("distilled-2.0", 64)
    assert other.notes == ("The scheduler of LTX-2 is that of dev models, and it is sampled as distilled.",)
    parts = (dev.high, dev.text_encoder, dev.vae, dev.audio_vae, other.latent_upscaler)
    assert not any(part.loaded for part in parts)


def test_an_ltx2_folder_without_an_audio_vae_renders_silent_film(broken_ltx2: Path) -> None:
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.load.diffusers.ltx2 import Ltx2Choices

    rewrite(broken_ltx2 / "model_index.json", audio_vae=[None, None], vocoder=[None, None])
    model = bundle_from_folder(open_folder("model", [str(broken_ltx2.parent)]), choices=Ltx2Choices())
    assert model.audio_vae is None
    assert "silent" in model.notes[0]


def test_an_upscaler_that_is_not_there_is_named(broken_ltx2: Path) -> None:
    from longtake.pipelines.load.diffusers.folder import OWN

    shutil.rmtree(broken_ltx2 / "latent_upsampler")
    assert why_not_ltx2(broken_ltx2, upscaler=OWN) == "model has no latent_upsampler; choose a file, or none."


def test_a_torn_file_is_named_with_its_component(broken_ltx2: Path) -> None:
    file = broken_ltx2 / "connectors" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert why_not_ltx2(broken_ltx2).startswith(
        "connectors: diffusion_pytorch_model.safetensors cannot be read as a safetensors file"
    )


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("transformer/config.json", {"ff_bias": False}, "model is LTX-2.5, which Longtake does not know yet"),
        ("transformer/config.json", {"use_prompt_adaln_single": False}, "model is LTX-2.5"),
        ("model_index.json", {"duration_head": ["diffusers", "LTX2DurationHead"]}, "model is LTX-2.5"),
        ("model_index.json", {"text_encoder": ["transformers", "Gemma4UnifiedForConditionalGeneration"]}, "is LTX-2.5"),
        ("model_index.json", {"_class_name": "LTX2DFRPipeline"}, "is a LTX2DFRPipeline"),
        ("transformer/config.json", {"audio_gated_attn": True}, "audio_gated_attn is True; ComfyUI computes False"),
        ("transformer/config.json", {"num_layers": 3}, "weights are missing (transformer_blocks.2"),
        ("connectors/config.json", {"connector_rope_base_seq_len": 1024}, "connectors: connector_rope_base_seq_len is"),
        ("connectors/config.json", {"text_proj_in_factor": 4}, "text_proj_in_factor is 4; ComfyUI computes 8"),
        ("text_encoder/config.json", {"architectures": ["LlamaModel"]}, "text_encoder is a LlamaModel"),
        ("vae/config.json", {"timestep_conditioning": True}, "timestep_conditioning is True"),
        ("vae/config.json", {"decoder_inject_noise": [True] * 4}, "decoder_inject_noise is [True"),
        ("vae/config.json", {"decoder_layers_per_block": [2] * 4}, "weights are missing (decoder.up_blocks"),
        ("vae/config.json", {"decoder_block_out_channels": [32, 64, 128]}, "is not laid out as ComfyUI builds it"),
        ("audio_vae/config.json", {"mel_bins": 80}, "mel_bins is 80; ComfyUI computes 64"),
        ("vocoder/config.json", {"antialias": True}, "antialias is True"),
        ("scheduler/scheduler_config.json", {"max_shift": 3.0}, "scheduler: max_shift is 3.0; ComfyUI computes 2.05"),
        ("scheduler/scheduler_config.json", {"_class_name": "UniPCMultistepScheduler"}, "_class_name is UniPC"),
    ],
)  # fmt: skip
def test_what_comfyui_would_compute_otherwise_of_ltx2_is_refused(
    broken_ltx2: Path, file: str, changes: dict, said: str
) -> None:
    rewrite(broken_ltx2 / file, **changes)
    assert said in why_not_ltx2(broken_ltx2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sliding_window": 512}, "sliding_window is 512"),
        ({"query_pre_attn_scalar": 32}, "query_pre_attn_scalar is 32"),
        ({"layer_types": ["full_attention"] * 7}, "every sixth layer"),
        ({"rope_parameters": None, "rope_scaling": None}, "factor is None; ComfyUI computes 8.0"),
        ({"num_hidden_layers": 6}, "left over (model.layers.6"),
    ],
)  # fmt: skip
def test_a_gemma_that_comfyui_would_compute_otherwise_is_refused(broken_ltx2: Path, changes: dict, said: str) -> None:
    path = broken_ltx2 / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    if "num_hidden_layers" in changes:
        rewrite(broken_ltx2 / "connectors" / "config.json", text_proj_in_factor=7)
        changes = changes | {"layer_types": config["text_config"]["layer_types"][:6]}
    rewrite(path, text_config=config["text_config"] | changes)
    assert said in why_not_ltx2(broken_ltx2)
