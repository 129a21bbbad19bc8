"""The names that LoRAs for LTX-2 give its modules, and what their shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .traits import LoraTraits, Shape

# Native module -> diffusers module, from diffusers' convert_ltx2_to_diffusers.py; the rest is called the same.
DIFFUSERS = (
    (r"(transformer_blocks\.\d+\.\w+)\.([qk])_norm", r"\1.norm_\2"),
    (r"(transformer_blocks\.\d+)\.scale_shift_table_a2v_ca_(video|audio)", r"\1.\2_a2v_cross_attn_scale_shift_table"),
    (r"(audio_)?patchify_proj", r"\1proj_in"),
    (r"(audio_)?adaln_single\.(.+)", r"\1time_embed.\2"),
    (r"(audio_)?prompt_adaln_single\.(.+)", r"\1prompt_adaln.\2"),
    (r"av_ca_(video|audio)_scale_shift_adaln_single\.(.+)", r"av_cross_attn_\1_scale_shift.\2"),
    (r"av_ca_a2v_gate_adaln_single\.(.+)", r"av_cross_attn_video_a2v_gate.\1"),
    (r"av_ca_v2a_gate_adaln_single\.(.+)", r"av_cross_attn_audio_v2a_gate.\1"),
    (
        r"(video|audio)_embeddings_connector\.transformer_1d_blocks\.(\d+\.\w+)\.([qk])_norm",
        r"connectors.\1_connector.transformer_blocks.\2.norm_\3",
    ),
    (
        r"(video|audio)_embeddings_connector\.transformer_1d_blocks\.(.+)",
        r"connectors.\1_connector.transformer_blocks.\2",
    ),
)
# The projection of the text encoder, as checkpoints and as diffusers call it -> its name in ComfyUI's text encoder.
TEXT = (
    (r"text_embedding_projection(?:\.aggregate_embed)?|connectors\.text_proj_in", "text_embedding_projection"),
    (
        r"text_embedding_projection\.(video|audio)_aggregate_embed|connectors\.(video|audio)_text_proj_in",
        r"text_embedding_projection.\1\2_aggregate_embed",
    ),
)

SIZES = {4096: "LTX-2 or LTX-Video 13B", 2048: "LTX-Video 2B"}  # width of a block in the published configurations


def base(shapes: Mapping[str, Shape]) -> str | None:
    blocks = [key for key in shapes if re.match(r"transformer_blocks[._]\d+[._]", key)]
    if not any(re.search(r"(audio_)?attn[12][._]to_[qkv]|[._]ff[._]net|_to_(video|audio)_attn", key) for key in blocks):
        return None
    sound = any(re.search(r"audio", key) for key in blocks)
    if any(re.search(r"to_gate_logits|prompt_(adaln|scale_shift)", key) for key in shapes):
        return "LTX-2.3" if sound else "LTX-2.3, video only"
    if sound:
        return "LTX-2"
    widths = {shapes[key][1] for key in blocks if "attn1" in key and re.search(r"lora_A|lora[._]down", key)}
    return next((SIZES[width] for width in widths if width in SIZES), "LTX-2 or LTX-Video")


LTX2_LORA = LoraTraits(DIFFUSERS, (), base, TEXT)
