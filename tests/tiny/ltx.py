"""A tiny LTX video model: for now only what a Wan loader must recognise as something else."""

from __future__ import annotations

from pathlib import Path

import comfy.ops
import torch
from comfy.ldm.lightricks.model import LTXVModel

from .weights import random_weights, save

SHAPE = {
    "num_layers": 1,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "cross_attention_dim": 32,
    "caption_channels": 32,
    "in_channels": 128,
}


def diffusion_model(path: Path, *, seed: int) -> None:
    model = LTXVModel(
        operations=comfy.ops.disable_weight_init, dtype=torch.float32, device=torch.device("meta"), **SHAPE
    )
    save(random_weights(model, seed), path, {"transformer": SHAPE})
