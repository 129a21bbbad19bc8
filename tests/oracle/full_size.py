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


def _wan(in_channels: int, out_channels: int, **shape: int) -> float:
    from accelerate import init_empty_weights
    from diffusers import WanTransformer3DModel
    from longtake.pipelines.bundle.checkpoint import Outline
    from longtake.pipelines.diffusers.parts import native_transformer
    from longtake.pipelines.diffusers.wan import transformer_metadata, transformer_weights

    with init_empty_weights():
        theirs = WanTransformer3DModel(in_channels=in_channels, out_channels=out_channels, **shape)
    weights = transformer_weights(theirs.state_dict())
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


@row(GROUP, "both Wan VAEs", "AutoencoderKLWan: weights that do not fit", bound=0.0)
def vaes(bench: Bench) -> float:
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKLWan
    from longtake.pipelines.diffusers.parts import native_vae
    from longtake.pipelines.diffusers.wan import vae_weights

    residual = {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "in_channels": 12,
                "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16}  # fmt: skip
    count = 0.0
    for shape in ({}, residual):
        with init_empty_weights():
            theirs = AutoencoderKLWan(**shape)
        weights = vae_weights(theirs.state_dict(), theirs.config)
        count += odd_ones(weights, native_vae(weights, None, "full size"))
    return count


@row(GROUP, "UMT5-XXL", "UMT5EncoderModel: weights that do not fit", bound=0.0)
def umt5(bench: Bench) -> float:
    from accelerate import init_empty_weights
    from longtake.pipelines.diffusers.wan import native_text_encoder, text_encoder_shape, text_encoder_weights
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(d_ff=10240, d_kv=64, d_model=4096, num_heads=64, num_layers=24, vocab_size=256384)
    with init_empty_weights():
        theirs = UMT5EncoderModel(config)
    needed = native_text_encoder(text_encoder_shape(config.to_dict(), "full size"))
    return odd_ones(text_encoder_weights(theirs.state_dict()), needed)
