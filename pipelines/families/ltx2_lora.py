"""The names that LoRAs for LTX-2 give its modules, and what their shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .traits import LoraTraits, Shape

# Native module -> diffusers module, from diffusers' convert_ltx2_to_diffusers.py; the rest is called the same.
DIFFUSERS = (
    (r"(transformer_blocks\.\d+\.\w+)\.([qk])_norm", r"\1.norm_\2"),
    (r"(audio_)?patchify_proj", r"\1proj_in"),
    (r"(audio_)?adaln_single\.(.+)", r"\1time_embed.\2"),
)
# Tensors that live in the text encoder's half of a checkpoint.
HARMLESS = ((r"text_embedding_projection", "projection of the text encoder"),)

SIZES = {4096: "LTX-2", 2048: "LTX-Video 2B"}  # width of a block in the published configurations


def base(shapes: Mapping[str, Shape]) -> str | None:
    blocks = [key for key in shapes if re.search(r"transformer_blocks[._]\d+[._](audio_)?attn[12][._]to_[qkv]", key)]
    if not blocks:
        return None
    if any(re.search(r"audio_attn|(audio_to_video|video_to_audio)_attn", key) for key in shapes):
        return "LTX-2"
    widths = {shapes[key][1] for key in blocks if "attn1" in key and re.search(r"lora_A|lora[._]down", key)}
    return next((SIZES[width] for width in widths if width in SIZES), "LTX-Video")


LTX2_LORA = LoraTraits(DIFFUSERS, HARMLESS, base)
