"""What diffusers calls the weights that ComfyUI's own classes call otherwise, and whether a set of weights is whole.

The names are those of the converters in diffusers' scripts folder, read backwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import Refusal

if TYPE_CHECKING:
    import torch

Weight = TypeVar("Weight")
# A pattern that the beginning of a key matches, and what stands there instead.
Rule = tuple[str, "str | Callable[[re.Match[str]], str]"]
Table = Sequence[Rule]

# norm2 and norm3 trade places: diffusers counts them in the order they are used.
WAN_TRANSFORMER: Table = (
    (r"((?:vace_)?blocks\.\d+)\.attn1\.to_out\.0\.", r"\1.self_attn.o."),
    (r"((?:vace_)?blocks\.\d+)\.attn2\.to_out\.0\.", r"\1.cross_attn.o."),
    (r"((?:vace_)?blocks\.\d+)\.attn1\.to_([qkv])\.", r"\1.self_attn.\2."),
    (r"((?:vace_)?blocks\.\d+)\.attn2\.to_([qkv])\.", r"\1.cross_attn.\2."),
    (r"((?:vace_)?blocks\.\d+)\.attn1\.norm_([qk])\.", r"\1.self_attn.norm_\2."),
    (r"((?:vace_)?blocks\.\d+)\.attn2\.norm_([qk])\.", r"\1.cross_attn.norm_\2."),
    (r"((?:vace_)?blocks\.\d+)\.attn2\.add_([kv])_proj\.", r"\1.cross_attn.\2_img."),
    (r"((?:vace_)?blocks\.\d+)\.attn2\.norm_added_k\.", r"\1.cross_attn.norm_k_img."),
    (r"((?:vace_)?blocks\.\d+)\.ffn\.net\.0\.proj\.", r"\1.ffn.0."),
    (r"((?:vace_)?blocks\.\d+)\.ffn\.net\.2\.", r"\1.ffn.2."),
    (r"((?:vace_)?blocks\.\d+)\.norm2\.", r"\1.norm3."),
    (r"((?:vace_)?blocks\.\d+)\.norm3\.", r"\1.norm2."),
    (r"((?:vace_)?blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
    (r"condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"condition_embedder\.time_proj\.", "time_projection.1."),
    (r"condition_embedder\.image_embedder\.norm1\.", "img_emb.proj.0."),
    (r"condition_embedder\.image_embedder\.ff\.net\.0\.proj\.", "img_emb.proj.1."),
    (r"condition_embedder\.image_embedder\.ff\.net\.2\.", "img_emb.proj.3."),
    (r"condition_embedder\.image_embedder\.norm2\.", "img_emb.proj.4."),
    (r"condition_embedder\.image_embedder\.pos_embed$", "img_emb.emb_pos"),
    (r"proj_out\.", "head.head."),
    (r"scale_shift_table$", "head.modulation"),
)

_RESIDUAL = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
_WAN_VAE_BLOCK: Table = (
    (r"(.+)\.(norm1|conv1|norm2|conv2)\.", lambda m: f"{m[1]}.{_RESIDUAL[m[2]]}."),
    (r"(.+)\.conv_shortcut\.", r"\1.shortcut."),
)
_WAN_VAE_ENDS: Table = (
    (r"quant_conv\.", "conv1."),
    (r"post_quant_conv\.", "conv2."),
    (r"(encoder|decoder)\.conv_in\.", r"\1.conv1."),
    (r"(encoder|decoder)\.norm_out\.", r"\1.head.0."),
    (r"(encoder|decoder)\.conv_out\.", r"\1.head.2."),
    (r"(encoder|decoder)\.mid_block\.attentions\.0\.", r"\1.middle.1."),
    (r"(encoder|decoder)\.mid_block\.resnets\.([01])\.", lambda m: f"{m[1]}.middle.{2 * int(m[2])}."),
)
# Residual blocks at each of the four scales, in every Wan VAE and in ComfyUI's classes for them.
WAN_VAE_RESNETS = 2
# Wan 2.1: ComfyUI has one flat list where diffusers has blocks of residual blocks and a resampler.
WAN_2_1_VAE: tuple[Table, ...] = (
    _WAN_VAE_BLOCK,
    (
        *_WAN_VAE_ENDS,
        (r"encoder\.down_blocks\.", "encoder.downsamples."),
        (r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.", lambda m: f"decoder.upsamples.{_flat(m[1], int(m[2]))}."),
        (
            r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.",
            lambda m: f"decoder.upsamples.{_flat(m[1], WAN_VAE_RESNETS + 1)}.",
        ),
    ),
)
WAN_2_2_VAE: tuple[Table, ...] = (
    _WAN_VAE_BLOCK,
    (
        *_WAN_VAE_ENDS,
        (r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r"encoder.downsamples.\1.downsamples.\2."),
        (r"encoder\.down_blocks\.(\d+)\.downsampler\.", rf"encoder.downsamples.\1.downsamples.{WAN_VAE_RESNETS}."),
        (r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.", r"decoder.upsamples.\1.upsamples.\2."),
        (r"decoder\.up_blocks\.(\d+)\.upsampler\.", rf"decoder.upsamples.\1.upsamples.{WAN_VAE_RESNETS + 1}."),
    ),
)

# transformers keeps the token embedding under its own name, its encoder's, or both (they are one tensor).
UMT5: Table = ((r"encoder\.embed_tokens\.", "shared."),)

_Q_K_NORMS: Table = ((r"(.+)\.norm_([qk])\.", r"\1.\2_norm."),)
LTX2_TRANSFORMER: tuple[Table, ...] = (
    _Q_K_NORMS,
    (
        (r"(audio_)?proj_in\.", r"\1patchify_proj."),
        (r"(audio_)?time_embed\.", r"\1adaln_single."),
        (r"(audio_)?prompt_adaln\.", r"\1prompt_adaln_single."),
        (r"av_cross_attn_(video|audio)_scale_shift\.", r"av_ca_\1_scale_shift_adaln_single."),
        (r"av_cross_attn_(?:video|audio)_(a2v|v2a)_gate\.", r"av_ca_\1_gate_adaln_single."),
        (
            r"(transformer_blocks\.\d+)\.(video|audio)_a2v_cross_attn_scale_shift_table$",
            r"\1.scale_shift_table_a2v_ca_\2",
        ),
    ),
)
# ComfyUI has the connectors in the transformer, and the projections before them in the text encoder.
LTX2_PROJECTION = "text_embedding_projection."
LTX2_CONNECTORS: tuple[Table, ...] = (
    _Q_K_NORMS,
    (
        (r"(video|audio)_connector\.transformer_blocks\.", r"\1_embeddings_connector.transformer_1d_blocks."),
        (r"(video|audio)_connector\.", r"\1_embeddings_connector."),
        (r"(video|audio)_text_proj_in\.", rf"{LTX2_PROJECTION}\1_aggregate_embed."),
        (r"text_proj_in\.", rf"{LTX2_PROJECTION}aggregate_embed."),
    ),
)
_STATISTICS: Table = (
    (r"latents_mean$", "per_channel_statistics.mean-of-means"),
    (r"latents_std$", "per_channel_statistics.std-of-means"),
)
LTX2_AUDIO_VAE: Table = _STATISTICS
LTX2_VOCODER: tuple[Table, ...] = (
    (
        (r"(.+\.)?upsamplers\.", r"\1ups."),
        (r"(.+\.)?resnets\.", r"\1resblocks."),
        (r"(.+\.)?conv_in\.", r"\1conv_pre."),
        (r"(.+\.)?conv_out\.", r"\1conv_post."),
        (r"(.+\.)?act_out\.", r"\1act_post."),
    ),
    ((r"(.+)\.downsample\.filter$", r"\1.downsample.lowpass.filter"),),
)


def ltx2_video_vae(blocks: int) -> tuple[Table, ...]:
    """Names of the LTX-2 video VAE: ComfyUI lists resamplers among the blocks that diffusers has them in.

    Args:
        blocks: of the encoder, its middle one not counted.
    """

    def at(side: str, offset: int) -> Callable[[re.Match[str]], str]:
        return lambda match: f"{side}.{2 * int(match[1]) + offset}."

    return (
        (
            *_STATISTICS,
            (r"encoder\.down_blocks\.(\d+)\.(?=resnets)", at("encoder.down_blocks", 0)),
            (r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", at("encoder.down_blocks", 1)),
            (r"encoder\.mid_block\.", f"encoder.down_blocks.{2 * blocks}."),
            (r"decoder\.mid_block\.", "decoder.up_blocks.0."),
            (r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.", at("decoder.up_blocks", 1)),
            (r"decoder\.up_blocks\.(\d+)\.(?=resnets)", at("decoder.up_blocks", 2)),
        ),
        ((r"(.+)\.resnets\.", r"\1.res_blocks."),),
    )


# Gemma alone; the vision tower that it is saved with reads images, and prompts are text. transformers has written the
# names in several ways.
GEMMA: Table = (
    (r"(?:language_model\.model\.|model\.language_model\.|model\.)?(?=(?:embed_tokens|layers|norm)\.)", "model."),
)
GEMMA_UNUSED = r"(?:model\.)?(vision_tower|multi_modal_projector)\.|(?:language_model\.)?lm_head\."

# transformers has written the names of this encoder with and without what stands before them.
CLIP_VISION: Table = (
    (r"(?:vision_model\.)?(?=(?:embeddings|encoder|pre_layrnorm|post_layernorm)\.)", "vision_model."),
)


def _flat(block: str, index: int) -> int:
    # The decoder has a residual block more at each scale than the encoder, and then the resampler.
    return int(block) * (WAN_VAE_RESNETS + 2) + index


def rename(key: str, *tables: Table) -> str:
    """ComfyUI's name of a diffusers key: in each table the first rule that matches counts."""
    for table in tables:
        for pattern, native in table:
            if re.match(pattern, key):
                key = re.sub(f"^{pattern}", native, key)
                break
    return key


def renamed(weights: Mapping[str, Weight], *tables: Table) -> dict[str, Weight]:
    """The same weights under ComfyUI's names."""
    return {rename(key, *tables): weight for key, weight in weights.items()}


def check_whole(weights: Mapping[str, torch.Tensor], needed: Mapping[str, Any], where: str) -> None:
    """Raise `Refusal` unless the weights are exactly those that ComfyUI's class takes.

    ComfyUI itself logs what is missing or left over and goes on, with weights that nobody has set.

    Args:
        weights, needed: by ComfyUI's names; anything with a `shape`.
        where: folder and component, for the error.
    """
    missing = sorted(needed.keys() - weights.keys())
    left = sorted(weights.keys() - needed.keys())
    other = [
        key for key in sorted(weights.keys() & needed.keys()) if tuple(weights[key].shape) != tuple(needed[key].shape)
    ]
    said = [f"{len(missing)} weights are missing ({_some(missing)})"] if missing else []
    said += [f"{len(left)} are left over ({_some(left)})"] if left else []
    for key in other[:1]:
        was, must = list(weights[key].shape), list(needed[key].shape)
        said.append(f"{len(other)} have another shape ({key} is {was} where {must} is needed)")
    if said:
        raise Refusal(
            f"{where}: {'; '.join(said)}. The folder is incomplete, or its model is built otherwise than ComfyUI's.",
            field="folder",
        )


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (" ..." if len(keys) > 3 else "")
