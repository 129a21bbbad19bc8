"""Tiny LTX-2 pipelines of diffusers' own classes, to be saved as folders and compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel, LTX2TextConnectors, LTX2Vocoder, LTX2VocoderWithBWE
from tokenizers.processors import TemplateProcessing
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, GemmaTokenizer

from .diffusers_wan import filled
from .tokenizer import gemma_model

TEXT_WIDTH, TEXT_LAYERS, HEADS, WIDTH, SOUND_WIDTH = 32, 7, 2, 48, 24


def transformer(newer: bool, seed: int, **changes: Any) -> LTX2VideoTransformer3DModel:
    shape = {
        "num_attention_heads": HEADS,
        "attention_head_dim": WIDTH // HEADS,
        "cross_attention_dim": WIDTH,
        "audio_num_attention_heads": HEADS,
        "audio_attention_head_dim": SOUND_WIDTH // HEADS,
        "audio_cross_attention_dim": SOUND_WIDTH,
        "num_layers": 2,
        "caption_channels": TEXT_WIDTH,
        "rope_type": "split",
        "gated_attn": newer,
        "audio_gated_attn": newer,
        "cross_attn_mod": newer,
        "audio_cross_attn_mod": newer,
        "use_prompt_embeddings": not newer,
        "perturbed_attn": newer,
    }
    return filled(LTX2VideoTransformer3DModel(**(shape | changes)), seed)


def connectors(newer: bool, seed: int) -> LTX2TextConnectors:
    """2.0: one width for both, that of Gemma. 2.3: that of picture and sound in the transformer."""
    picture, sound = (WIDTH, SOUND_WIDTH) if newer else (TEXT_WIDTH, TEXT_WIDTH)
    return filled(
        LTX2TextConnectors(
            caption_channels=TEXT_WIDTH,
            text_proj_in_factor=TEXT_LAYERS + 1,
            video_connector_num_attention_heads=HEADS,
            video_connector_attention_head_dim=picture // HEADS,
            video_connector_num_layers=1,
            video_gated_attn=newer,
            audio_connector_num_attention_heads=HEADS,
            audio_connector_attention_head_dim=sound // HEADS,
            audio_connector_num_layers=1,
            audio_gated_attn=newer,
            rope_type="split",
            per_modality_projections=newer,
            video_hidden_dim=picture,
            audio_hidden_dim=sound,
            proj_bias=newer,
        ),
        seed,
    )


def video_vae(newer: bool, seed: int) -> AutoencoderKLLTX2Video:
    layers = {"layers_per_block": (1,) * 5, "decoder_causal": False, "spatial_compression_ratio": 32}
    shape: dict[str, Any] = {
        "block_out_channels": (128, 128, 128, 128),
        "decoder_block_out_channels": (16, 32, 64),
        "decoder_layers_per_block": (1,) * 4,
    }
    if newer:
        shape = {
            "block_out_channels": (128, 128, 256, 256),
            "decoder_block_out_channels": (16, 32, 32, 64),
            "decoder_layers_per_block": (1,) * 5,
            "decoder_spatio_temporal_scaling": (True,) * 4,
            "decoder_inject_noise": (False,) * 5,
            "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
            "upsample_residual": (False,) * 4,
            "upsample_factor": (2, 2, 1, 2),
            "decoder_spatial_padding_mode": "zeros",
        }
    return _with_statistics(AutoencoderKLLTX2Video(**shape, **layers, temporal_compression_ratio=8), seed)


def audio_vae(seed: int) -> AutoencoderKLLTX2Audio:
    # ComfyUI has 128 statistics, which are as many as the base has channels.
    return _with_statistics(AutoencoderKLLTX2Audio(base_channels=128, ch_mult=(1, 1, 1), num_res_blocks=1), seed)


def vocoder(newer: bool, seed: int) -> LTX2Vocoder | LTX2VocoderWithBWE:
    short = {"resnet_kernel_sizes": [3], "resnet_dilations": [[1, 3, 5]]}
    if not newer:
        return filled(
            LTX2Vocoder(
                hidden_channels=32, upsample_factors=[6, 5, 2, 4], upsample_kernel_sizes=[12, 9, 4, 8], **short
            ),
            seed,
        )
    second = {f"bwe_{key}": value for key, value in short.items()}
    made = LTX2VocoderWithBWE(
        hidden_channels=32, upsample_factors=[5, 4, 4, 2], upsample_kernel_sizes=[11, 8, 8, 4], **short,
        bwe_hidden_channels=32, bwe_upsample_factors=[5, 4, 4, 3], bwe_upsample_kernel_sizes=[11, 8, 8, 7], **second,
    )  # fmt: skip
    made = filled(made, seed)
    # Energies are sums of what is positive; their logarithm is cut off at 1e-5.
    made.mel_stft.mel_basis.abs_()
    return made


def upscaler(seed: int) -> LTX2LatentUpsamplerModel:
    # Its GroupNorm has 32 groups.
    return filled(LTX2LatentUpsamplerModel(mid_channels=32, num_blocks_per_stage=1), seed)


def text_encoder(seed: int, vocabulary: int) -> Gemma3ForConditionalGeneration:
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    }
    text = {
        "vocab_size": vocabulary, "hidden_size": TEXT_WIDTH, "intermediate_size": 64, "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "query_pre_attn_scalar": 16,
        "sliding_window": 1024, "rope_parameters": rope,
    }  # fmt: skip
    eyes = {
        "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14,
    }  # fmt: skip
    return filled(
        Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=eyes, mm_tokens_per_image=4)), seed
    )


def dev_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The scheduler that LTX-2's diffusers repositories come with."""
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )


def folder_2_0(folder: Path) -> None:
    """LTX-2.0 dev in small, sharded, with its upscaler beside it."""
    _save(folder, False, 500, dev_scheduler(), max_shard_size="10MB")
    upscaler(508).save_pretrained(folder / "latent_upsampler")


def folder_2_3(folder: Path) -> None:
    """LTX-2.3 distilled in small; its tokenizer is only a tokenizer.model."""
    _save(folder, True, 600, FlowMatchEulerDiscreteScheduler())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "tokenizer" / name).unlink()
    (folder / "tokenizer" / "tokenizer.model").write_bytes(gemma_model()[0])


def _save(folder: Path, newer: bool, seed: int, scheduler: Any, **options: Any) -> None:
    pipeline = LTX2Pipeline(
        scheduler=scheduler,
        tokenizer=_tokenizer(folder / "tokenizer"),
        text_encoder=text_encoder(seed, gemma_model()[1]),
        connectors=connectors(newer, seed + 1),
        transformer=transformer(newer, seed + 2),
        vae=video_vae(newer, seed + 3),
        audio_vae=audio_vae(seed + 4),
        vocoder=vocoder(newer, seed + 5),
    )
    pipeline.save_pretrained(folder, **options)


def _tokenizer(folder: Path) -> GemmaTokenizer:
    """A tokenizer with the rule of the released tokenizer.json: every text begins with <bos>."""
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(gemma_model()[0])
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GemmaTokenizer"}))
    made = GemmaTokenizer.from_pretrained(folder)
    begun = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", made.bos_token_id)])
    made.backend_tokenizer.post_processor = begun
    (folder / "tokenizer.model").unlink()
    return made


def _with_statistics(vae: Any, seed: int) -> Any:
    """Means and deviations that are not those of a fresh module, so that leaving them out shows."""
    generator = torch.Generator().manual_seed(seed)
    vae = filled(vae, seed)
    vae.latents_mean.copy_(0.1 * torch.randn(vae.latents_mean.shape, generator=generator))
    vae.latents_std.copy_(0.5 + torch.rand(vae.latents_std.shape, generator=generator))
    return vae
