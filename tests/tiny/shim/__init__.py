"""Test-only node pack: lets ComfyUI's own loaders take the tiny text encoder and the tiny Wan 2.2 VAE.

Core tells text encoders apart by their size and builds the Wan 2.2 VAE at one width only. Both patches act on
files that no released model looks like and pass everything else on.
"""

from __future__ import annotations

import json

import comfy.ldm.wan.vae2_2
import comfy.sd
import comfy.utils
from safetensors import SafetensorError, safe_open

from . import gemma, umt5

# Keyed by the entry of the file's metadata "config" that marks it as tiny.
TEXT_ENCODERS = {"tiny_umt5": umt5.load, "tiny_gemma": gemma.load}

NODE_CLASS_MAPPINGS: dict[str, type] = {}


def tiny_config(path: str) -> dict:
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get("config", "{}"))
    except (SafetensorError, OSError):
        return {}


def patch_text_encoders() -> None:
    stock = comfy.sd.load_clip

    def load_clip(ckpt_paths, *arguments, **options):
        config = tiny_config(ckpt_paths[0])
        for mark, load in TEXT_ENCODERS.items():
            if mark in config:
                return load(ckpt_paths, config[mark])
        return stock(ckpt_paths, *arguments, **options)

    comfy.sd.load_clip = load_clip


def patch_wan22_vae() -> None:
    stock_init, stock_model = comfy.sd.VAE.__init__, comfy.ldm.wan.vae2_2.WanVAE

    def init(self, sd=None, *arguments, **options):
        if sd is None or "decoder.upsamples.0.upsamples.0.residual.2.weight" not in sd:
            return stock_init(self, sd, *arguments, **options)
        widths = {"dim": sd["encoder.conv1.weight"].shape[0], "dec_dim": sd["decoder.head.0.gamma"].shape[0]}
        comfy.ldm.wan.vae2_2.WanVAE = lambda **shape: stock_model(**{**shape, **widths})
        try:
            return stock_init(self, sd, *arguments, **options)
        finally:
            comfy.ldm.wan.vae2_2.WanVAE = stock_model

    comfy.sd.VAE.__init__ = init


# An in-process test and the server fixture may both load this file.
if not hasattr(comfy.sd, "longtake_shim"):
    comfy.sd.longtake_shim = True
    patch_text_encoders()
    patch_wan22_vae()
