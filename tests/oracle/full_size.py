"""The names and shapes of the published models, at full size, without their weights."""

from __future__ import annotations

from typing import Any

from .bench import Bench
from .table import row

GROUP = "Full size, names and shapes of weights"


def odd_ones(given: dict[str, Any], needed: dict[str, Any]) -> float:
    """How many weights are missing, left over or of another shape."""
    shared = given.keys() & needed.keys()
    return float(len(given.keys() ^ needed.keys()) + sum(given[k].shape != needed[k].shape for k in shared))


def hollow(module: Any) -> dict[str, Any]:
    """Names and shapes of a module's weights and buffers."""
    return {key: tensor.to("meta") for key, tensor in module.state_dict().items()}


def _wan(in_channels: int, out_channels: int, **shape: int) -> float:
    from accelerate import init_empty_weights
    from diffusers import WanTransformer3DModel
    from longtake.pipelines.load.diffusers.parts import native_transformer
    from longtake.pipelines.load.diffusers.wan import transformer_metadata, transformer_weights
    from longtake.pipelines.weights.outline import Outline

    with init_empty_weights():
        theirs = WanTransformer3DModel(in_channels=in_channels, out_channels=out_channels, **shape)
    weights = transformer_weights(hollow(theirs))
    header = Outline("full size", weights, transformer_metadata(theirs.config))
    return odd_ones(weights, native_transformer(header))


@row(GROUP, "Wan2.2 T2V-A14B, 14.3B", "WanTransformer3DModel: weights that do not fit", bound=0.0)
def t2v(bench: Bench) -> float:
    return _wan(16, 16)


@row(GROUP, "Wan2.2 I2V-A14B, 14.3B", "WanTransformer3DModel: weights that do not fit", bound=0.0)
def i2v(bench: Bench) -> float:
    return _wan(36, 16)


@row(GROUP, "Wan2.2 TI2V-5B, 5.0B", "WanTransformer3DModel: weights that do not fit", bound=0.0)
def ti2v(bench: Bench) -> float:
    return _wan(48, 48, num_attention_heads=24, ffn_dim=14336, num_layers=30)


@row(GROUP, "Wan2.1 T2V-1.3B", "WanTransformer3DModel: weights that do not fit", bound=0.0)
def wan_2_1(bench: Bench) -> float:
    return _wan(16, 16, num_attention_heads=12, ffn_dim=8960, num_layers=30)


@row(GROUP, "Wan2.1 I2V-14B and FLF2V-14B, 16.4B", "WanTransformer3DModel: weights that do not fit", bound=0.0)
def wan_2_1_i2v(bench: Bench) -> float:
    seen = {"image_dim": 1280, "added_kv_proj_dim": 5120}
    return _wan(36, 16, **seen) + _wan(36, 16, **seen, pos_embed_seq_len=514)


@row(GROUP, "CLIP ViT-H", "CLIPVisionModel: weights that do not fit", bound=0.0)
def clip(bench: Bench) -> float:
    from accelerate import init_empty_weights
    from longtake.pipelines.load.diffusers.clip_vision import (
        image_encoder_shape,
        image_encoder_weights,
        native_image_encoder,
    )
    from transformers import CLIPVisionConfig, CLIPVisionModel

    shape = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
             "patch_size": 14, "hidden_act": "gelu"}  # fmt: skip
    with init_empty_weights():
        theirs = CLIPVisionModel(CLIPVisionConfig(**shape))
    needed = native_image_encoder(image_encoder_shape(theirs.config.to_dict(), "full size"))
    return odd_ones(image_encoder_weights(hollow(theirs)), needed)


@row(GROUP, "both Wan VAEs", "AutoencoderKLWan: weights that do not fit", bound=0.0)
def vaes(bench: Bench) -> float:
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKLWan
    from longtake.pipelines.load.diffusers.parts import native_vae
    from longtake.pipelines.load.diffusers.wan import vae_weights

    residual = {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "in_channels": 12,
                "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16}  # fmt: skip
    count = 0.0
    for shape in ({}, residual):
        with init_empty_weights():
            theirs = AutoencoderKLWan(**shape)
        weights = vae_weights(hollow(theirs), theirs.config)
        count += odd_ones(weights, native_vae(weights, None, "full size"))
    return count


@row(GROUP, "UMT5-XXL", "UMT5EncoderModel: weights that do not fit", bound=0.0)
def umt5(bench: Bench) -> float:
    from accelerate import init_empty_weights
    from longtake.pipelines.load.diffusers.wan import native_text_encoder, text_encoder_shape, text_encoder_weights
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(d_ff=10240, d_kv=64, d_model=4096, num_heads=64, num_layers=24, vocab_size=256384)
    with init_empty_weights():
        theirs = UMT5EncoderModel(config)
    needed = native_text_encoder(text_encoder_shape(config.to_dict(), "full size"))
    return odd_ones(text_encoder_weights(theirs.state_dict()), needed)


# Sizes of LTX-2.3 (convert_ltx2_to_diffusers.py); the defaults of diffusers' classes are those of 2.0.
NEWER = {
    "gated_attn": True,
    "audio_gated_attn": True,
    "cross_attn_mod": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
}
NEWER_CONNECTORS = {
    "video_connector_num_attention_heads": 32,
    "video_connector_num_layers": 8,
    "video_gated_attn": True,
    "audio_connector_num_attention_heads": 32,
    "audio_connector_attention_head_dim": 64,
    "audio_connector_num_layers": 8,
    "audio_gated_attn": True,
    "per_modality_projections": True,
    "proj_bias": True,
}
NEWER_VAE = {
    "block_out_channels": (256, 512, 1024, 1024),
    "decoder_block_out_channels": (256, 512, 512, 1024),
    "layers_per_block": (4, 6, 4, 2, 2),
    "decoder_layers_per_block": (4, 6, 4, 2, 2),
    "decoder_spatio_temporal_scaling": (True,) * 4,
    "decoder_inject_noise": (False,) * 5,
    "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
    "upsample_residual": (False,) * 4,
    "upsample_factor": (2, 2, 1, 2),
    "decoder_spatial_padding_mode": "zeros",
}


def _ltx2(transformer: dict[str, Any], connectors: dict[str, Any]) -> float:
    from accelerate import init_empty_weights
    from diffusers import LTX2VideoTransformer3DModel
    from diffusers.pipelines.ltx2 import LTX2TextConnectors
    from longtake.pipelines.load.diffusers.ltx2 import transformer_metadata, transformer_weights
    from longtake.pipelines.load.diffusers.parts import native_transformer
    from longtake.pipelines.weights.outline import Outline

    with init_empty_weights():
        theirs = LTX2VideoTransformer3DModel(rope_type="split", **transformer)
        before = LTX2TextConnectors(rope_type="split", **connectors)
    weights = transformer_weights(hollow(theirs), hollow(before))
    metadata = transformer_metadata(theirs.config, before.config, "full size")
    return odd_ones(weights, native_transformer(Outline("full size", weights, metadata)))


@row(GROUP, "LTX-2.0 with its connectors, 19.6B", "LTX2VideoTransformer3DModel: weights that do not fit", bound=0.0)
def ltx2_0(bench: Bench) -> float:
    return _ltx2({}, {})


@row(GROUP, "LTX-2.3 with its connectors, 21.0B", "LTX2VideoTransformer3DModel: weights that do not fit", bound=0.0)
def ltx2_3(bench: Bench) -> float:
    return _ltx2(NEWER, NEWER_CONNECTORS)


@row(GROUP, "video VAEs, audio VAEs and vocoders of LTX-2", "diffusers' classes: weights that do not fit", bound=0.0)
def ltx2_vaes(bench: Bench) -> float:
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video
    from diffusers.pipelines.ltx2 import LTX2Vocoder, LTX2VocoderWithBWE
    from longtake.pipelines.load.diffusers import ltx2_vae
    from longtake.pipelines.load.diffusers.parts import native_vae

    count = 0.0
    for shape, kind in (({}, LTX2Vocoder), (NEWER_VAE, LTX2VocoderWithBWE)):
        with init_empty_weights():
            video, audio, vocoder = AutoencoderKLLTX2Video(**shape), AutoencoderKLLTX2Audio(), kind()
        weights = ltx2_vae.video_vae_weights(hollow(video), video.config)
        metadata = ltx2_vae.video_vae_metadata(video.config, "full size")
        count += odd_ones(weights, native_vae(weights, metadata, "full size"))
        weights = ltx2_vae.audio_vae_weights(hollow(audio), hollow(vocoder))
        config = {"_class_name": kind.__name__, **vocoder.config}
        metadata = ltx2_vae.audio_vae_metadata(audio.config, config, "full size")
        count += odd_ones(weights, native_vae(weights, metadata, "full size"))
    return count


@row(GROUP, "latent upscalers of LTX-2.0 and 2.3", "LTX2LatentUpsamplerModel: weights that do not fit", bound=0.0)
def ltx2_upscalers(bench: Bench) -> float:
    from accelerate import init_empty_weights
    from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel
    from longtake.pipelines.load.diffusers.ltx2_vae import native_upscaler, upscaler_config

    count = 0.0
    for rational in (True, False):
        with init_empty_weights():
            theirs = LTX2LatentUpsamplerModel(use_rational_resampler=rational)
            ours = native_upscaler(upscaler_config(theirs.config, "full size"))
        count += odd_ones(theirs.state_dict(), ours.state_dict())
    return count


@row(GROUP, "Gemma 3 12B with both projections", "Gemma3ForConditionalGeneration: weights that do not fit", bound=0.0)
def gemma(bench: Bench) -> float:
    from accelerate import init_empty_weights
    from diffusers.pipelines.ltx2 import LTX2TextConnectors
    from longtake.pipelines.load.diffusers.gemma import gemma_shape, native_text_encoder
    from longtake.pipelines.load.diffusers.ltx2 import gemma_weights, projection_weights
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    # The config of the released model, which states what is not a default of transformers.
    text = {
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "num_attention_heads": 16,
        "num_hidden_layers": 48,
        "num_key_value_heads": 8,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    with init_empty_weights():
        theirs = Gemma3ForConditionalGeneration(Gemma3Config(text_config=text))
        projections = [LTX2TextConnectors(), LTX2TextConnectors(**NEWER_CONNECTORS)]
    count = 0.0
    for projection, widths in zip(projections, ({"": 3840}, {"video": 4096, "audio": 2048}), strict=True):
        given = gemma_weights(theirs.state_dict()) | projection_weights(projection.state_dict())
        count += odd_ones(given, native_text_encoder(gemma_shape({"text_config": text}, "full size"), widths))
    return count
