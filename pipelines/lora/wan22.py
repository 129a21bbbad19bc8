"""The names that LoRAs for Wan give its modules, and what their shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .traits import LoraTraits, Shape

# Native module -> diffusers module, from diffusers' convert_wan_to_diffusers.py; norm2 and norm3 trade places there.
DIFFUSERS = (
    (r"((?:vace_)?blocks\.\d+)\.self_attn\.([qkv])", r"\1.attn1.to_\2"),
    (r"((?:vace_)?blocks\.\d+)\.self_attn\.o", r"\1.attn1.to_out.0"),
    (r"((?:vace_)?blocks\.\d+)\.self_attn\.norm_([qk])", r"\1.attn1.norm_\2"),
    (r"((?:vace_)?blocks\.\d+)\.cross_attn\.([qkv])", r"\1.attn2.to_\2"),
    (r"((?:vace_)?blocks\.\d+)\.cross_attn\.o", r"\1.attn2.to_out.0"),
    (r"((?:vace_)?blocks\.\d+)\.cross_attn\.norm_([qk])", r"\1.attn2.norm_\2"),
    (r"((?:vace_)?blocks\.\d+)\.cross_attn\.([kv])_img", r"\1.attn2.add_\2_proj"),
    (r"((?:vace_)?blocks\.\d+)\.cross_attn\.norm_k_img", r"\1.attn2.norm_added_k"),
    (r"((?:vace_)?blocks\.\d+)\.ffn\.0", r"\1.ffn.net.0.proj"),
    (r"((?:vace_)?blocks\.\d+)\.ffn\.2", r"\1.ffn.net.2"),
    (r"((?:vace_)?blocks\.\d+)\.norm3", r"\1.norm2"),
    (r"((?:vace_)?blocks\.\d+)\.modulation", r"\1.scale_shift_table"),
    (r"time_embedding\.0", "condition_embedder.time_embedder.linear_1"),
    (r"time_embedding\.2", "condition_embedder.time_embedder.linear_2"),
    (r"text_embedding\.0", "condition_embedder.text_embedder.linear_1"),
    (r"text_embedding\.2", "condition_embedder.text_embedder.linear_2"),
    (r"time_projection\.1", "condition_embedder.time_proj"),
    (r"head\.head", "proj_out"),
    (r"head\.modulation", "scale_shift_table"),
)

# Wan 2.1 image-to-video looks at the image through CLIP, by layers that Wan 2.2 left out.
HARMLESS = (
    (r"cross_attn[._](k|v|norm_k)_img|attn2[._](add_[kv]_proj|norm_added_[kq])", "image attention of Wan 2.1 i2v"),
    (r"img_emb|image_embedder", "image embedding of Wan 2.1 i2v"),
)

SIZES = {5120: "14B", 3072: "5B", 1536: "1.3B"}  # width of a block, wan/configs of the Wan 2.1 and 2.2 releases
PATCHES = {16: "text-to-video", 36: "image-to-video", 48: "TI2V-5B"}  # input channels of the patch embedding


def base(shapes: Mapping[str, Shape]) -> str | None:
    if not _has(shapes, r"^blocks[._]\d+[._](self_attn|cross_attn|attn[12]|ffn)[._]"):
        return None
    width = _inputs(shapes, r"^blocks[._]\d+[._](self_attn[._][qkv]|attn1[._]to_[qkv]|cross_attn[._]q|ffn[._]0)[._]")
    patches = _patch_channels(shapes)
    clip = any(_has(shapes, pattern) for pattern, _ in HARMLESS)
    name = "Wan 2.1" if clip else "Wan"
    size = "" if width is None else f" {SIZES.get(width, f'{width} wide')}"
    kind = "image-to-video" if clip else PATCHES.get(patches or 0, "")
    return f"{name}{size}{', ' if kind else ''}{kind}"


def _has(shapes: Mapping[str, Shape], pattern: str) -> bool:
    return any(re.search(pattern, key) for key in shapes)


def _inputs(shapes: Mapping[str, Shape], pattern: str) -> int | None:
    """Inputs of the first module that the pattern finds, read off the half of a LoRA pair that meets them."""
    for key, shape in shapes.items():
        if len(shape) >= 2 and re.search(r"lora_A|lora[._]down|\.diff$", key) and re.search(pattern, key):
            return shape[1]
    return None


def _patch_channels(shapes: Mapping[str, Shape]) -> int | None:
    for key, shape in shapes.items():
        if "patch_embedding" in key and len(shape) == 5:
            return shape[1]
    return None


WAN_LORA = LoraTraits(DIFFUSERS, HARMLESS, base)
