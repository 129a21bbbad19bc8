"""Fuse and Save on bundles of diffusers folders, on a real server: the merged files render what the bundle renders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.host import graphs
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_diffusers_folder import load, load_ltx2
from tests.host.test_parity import assert_same, both_latents
from tests.host.test_parity_ltx2 import DISTILLED_LORA, dev_in_two_passes
from tests.host.test_refusals import message

LTX2 = "LTX-2.3-Distilled"
SIZES = {"video": 48, "audio": 24}
WAN_LORA = "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors"


def apply_lora(high: str, **changes: object) -> dict:
    inputs = {"high_noise_lora": high, "strength_high": 1.0, "low_noise_lora": "auto", "strength_low": 1.0}
    return node("LongtakeApplyLora", model=["folder", 0], **(inputs | changes))


def saved(server: Server, graph: Graph, prefix: str) -> list[str]:
    """Names of the files that Fuse and Save writes of `lora`."""
    save = node("LongtakeFuseAndSave", model=["lora", 0], filename_prefix=prefix)
    result = server.run({**graph, "save": save, "paths": node("PreviewAny", source=["save", 0])})
    assert result.ok, result.why()
    return [path.rpartition("/")[2] for path in result.outputs["paths"]["text"][0].split("\n")]


def test_merged_experts_of_a_wan_folder_render_what_its_patched_bundle_renders(server: Server) -> None:
    graph = {"folder": load("Wan2.2-T2V-A14B-Diffusers"), "lora": apply_lora(WAN_LORA, strength_high=3.0)}
    high, low = saved(server, graph, "folder")
    assert (high, low) == ("folder_00001_high_noise.safetensors", "folder_00001_low_noise.safetensors")
    loaded = {"model": ["high", 0], "low_noise_model": ["low", 0], "clip": ["parts", 2], "vae": ["parts", 3]}
    graph |= {
        "parts": node("LongtakeSplitBundle", model=["folder", 0]),
        "high": node("UNETLoader", unet_name=high, weight_dtype="default"),
        "low": node("UNETLoader", unet_name=low, weight_dtype="default"),
        "merged": node("LongtakeUseLoadedModels", **loaded),
        "sampling": graphs.sampling(),
        "first": graphs.stage("lora"),
        "second": graphs.stage("merged"),
        "latent": node("LongtakeChainToLatent", chain=["first", 0], stage=1),
        "latent_of_merged": node("LongtakeChainToLatent", chain=["second", 0], stage=1),
    }
    assert_same(server, graph, ["latent", 0], ["latent_of_merged", 0])


def put_gemma(server: Server, folder: Path) -> str:
    """The folder's Gemma as a file that Load LTX-2 offers."""
    config = json.loads((folder / "text_encoder" / "config.json").read_text())["text_config"]
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    language = "model.language_model." if any("model.language_model." in key for key in weights) else "language_model."
    gemma = {
        "model." + key.removeprefix(language).removeprefix("model."): tensor
        for key, tensor in weights.items()
        if key.startswith(language) and "lm_head" not in key
    }
    gemma["spiece_model"] = torch.frombuffer(
        bytearray((folder / "tokenizer" / "tokenizer.model").read_bytes()), dtype=torch.uint8
    )
    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    tiny = {size: config[size] for size in (*sizes, "num_key_value_heads", "head_dim")}
    target = server.output / "clip" / "gemma_of_folder.safetensors"
    target.parent.mkdir(exist_ok=True)
    save_file(gemma, target, {"config": json.dumps({"tiny_gemma": tiny})})
    return target.name


def put_lora(server: Server) -> str:
    """A LoRA over picture, sound and both projections of the folder's 2.3."""
    generator = torch.Generator().manual_seed(5)
    blocks, keys = "diffusion_model.transformer_blocks", {}
    shapes = {f"{blocks}.0.attn1.to_v": (48, 48), f"{blocks}.1.audio_ff.net.2": (24, 96)}
    shapes |= {f"text_embedding_projection.{of}_aggregate_embed": (size, 256) for of, size in SIZES.items()}
    for module, (out, into) in shapes.items():
        keys[f"{module}.lora_A.weight"] = 0.2 * torch.randn(4, into, generator=generator)
        keys[f"{module}.lora_B.weight"] = 0.2 * torch.randn(out, 4, generator=generator)
    target = server.output / "loras" / "for_folder.safetensors"
    target.parent.mkdir(exist_ok=True)
    save_file(keys, target)
    return target.name


def test_a_merged_ltx2_folder_renders_what_its_patched_bundle_renders(server: Server) -> None:
    """The same bits from the same embeddings; the tiny Gemma in a file pads prompts to 16 tokens, not to 1024."""
    graph = {"folder": load_ltx2(LTX2), "lora": apply_lora(put_lora(server), strength_high=3.0)}
    gemma = put_gemma(server, server.models / "diffusers" / LTX2)
    [file] = saved(server, graph, "folder")
    assert (server.output / "checkpoints" / file).is_file()
    parts = {"model": ["of_merged", 0], "vae": ["of_merged", 3], "audio_vae": ["of_merged", 4]}
    graph |= {
        "merged": graphs.load_ltx2(file, text_encoder=gemma),
        "of_merged": node("LongtakeSplitBundle", model=["merged", 0]),
        "of_lora": node("LongtakeSplitBundle", model=["lora", 0]),
        "same_words": node("LongtakeUseLoadedModels", **parts, clip=["of_lora", 2]),
    }
    for bundle in ("lora", "merged", "same_words", "folder"):
        graph[f"stage_{bundle}"] = graphs.ltx2_stage(model=bundle)
        graph[f"latent_{bundle}"] = node("LongtakeChainToLatent", chain=[f"stage_{bundle}", 0], stage=1)
    for output in (0, 1):
        assert_same(server, graph, ["latent_lora", output], ["latent_same_words", output])
        first, merged = both_latents(server, graph, ["latent_lora", output], ["latent_merged", output])
        assert (first - merged).abs().max() <= 1e-3 * first.abs().max()
        first, plain = both_latents(server, graph, ["latent_lora", output], ["latent_folder", output])
        assert (first - plain).abs().max() >= 5e-2 * first.abs().max()


def test_a_lora_on_one_pass_alone_stops_the_queue(server: Server) -> None:
    graph = {**dev_in_two_passes(passes="second"), "save": node("LongtakeFuseAndSave", model=["model", 0])}
    graph["save"]["inputs"]["filename_prefix"] = "never"
    del graph["stage"], graph["sampling"]
    assert message(server, graph) == (
        f"model: {DISTILLED_LORA} is on the second of two passes alone, and a merged file is for both. Put it on "
        "both, or merge the bundle without it and put it on the merged one."
    )
