"""Tiny Wan models, built from ComfyUI's own classes so that their keys are the installed version's keys."""

from __future__ import annotations

from pathlib import Path

import comfy.ldm.wan.vae
import comfy.ldm.wan.vae2_2
import comfy.ops
import comfy.text_encoders.t5
import torch
from comfy.ldm.wan.model import WanModel

from .tokenizer import tokenizer_model
from .weights import random_weights, save

OPERATIONS = comfy.ops.disable_weight_init
META = torch.device("meta")
WIDTH, LAYERS, TEXT_WIDTH = 24, 2, 32
# What shapes alone cannot tell; ComfyUI's model detection reads it from the file's metadata.
SHAPE = {"num_heads": 2, "text_dim": TEXT_WIDTH, "freq_dim": 32}
VAE_SHAPE = {
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
}


def diffusion_model(path: Path, *, in_channels: int, out_channels: int, seed: int, kind: str = "t2v") -> None:
    """`kind` is "t2v" for every Wan 2.2 model and "i2v" for Wan 2.1 i2v, which also looks through CLIP vision."""
    model = WanModel(
        model_type=kind,
        in_dim=in_channels,
        out_dim=out_channels,
        dim=WIDTH,
        ffn_dim=2 * WIDTH,
        num_layers=LAYERS,
        text_len=512,
        operations=OPERATIONS,
        dtype=torch.float32,
        device=META,
        **SHAPE,
    )
    save(random_weights(model, seed), path, {"transformer": SHAPE})


def lora(path: Path, *, seed: int, rank: int = 2) -> None:
    """A LoRA over the attention projections, weak enough to leave the picture recognisable."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for block in range(LAYERS):
        for layer in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.o"):
            key = f"diffusion_model.blocks.{block}.{layer}"
            weights[f"{key}.lora_A.weight"] = 0.1 * torch.randn(rank, WIDTH, generator=generator)
            weights[f"{key}.lora_B.weight"] = 0.1 * torch.randn(WIDTH, rank, generator=generator)
    save(weights, path)


def vae_2_1(path: Path, *, seed: int) -> None:
    """16 channels, 8x8 pixels and 4 frames a latent; ComfyUI reads its width from the file."""
    model = comfy.ldm.wan.vae.WanVAE(dim=4, z_dim=16, **VAE_SHAPE)
    save(random_weights(model, seed), path)


def vae_2_2(path: Path, *, seed: int) -> None:
    """48 channels, 16x16 pixels and 4 frames a latent; ComfyUI loads this width only with the shim."""
    model = comfy.ldm.wan.vae2_2.WanVAE(dim=8, dec_dim=8, z_dim=48, **VAE_SHAPE)
    save(random_weights(model, seed), path)


def text_encoder(path: Path, *, seed: int) -> None:
    """umt5 of two layers with its tokenizer; ComfyUI loads it only with the shim, which reads `config`."""
    tokenizer, vocabulary = tokenizer_model()
    config = {
        "d_ff": 64,
        "d_kv": 8,
        "d_model": TEXT_WIDTH,
        "num_heads": 2,
        "num_layers": 2,
        "vocab_size": vocabulary,
        "dense_act_fn": "gelu_pytorch_tanh",
        "is_gated_act": True,
        "model_type": "umt5",
    }
    model = comfy.text_encoders.t5.T5(config, torch.float32, META, OPERATIONS)
    weights = random_weights(model, seed)
    weights["spiece_model"] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    save(weights, path, {"tiny_umt5": config})
