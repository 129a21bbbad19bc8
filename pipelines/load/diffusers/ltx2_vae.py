"""LTX-2's video VAE, audio VAE with vocoder, and latent upscaler: from diffusers' configs and names to ComfyUI's."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ...errors import Refusal
from .folder import check_fixed
from .keys import LTX2_AUDIO_VAE, LTX2_VOCODER, ltx2_video_vae, renamed

_DOWN = {"spatial": "compress_space_res", "temporal": "compress_time_res", "spatiotemporal": "compress_all_res"}
_UP = {"spatial": "compress_space", "temporal": "compress_time", "spatiotemporal": "compress_all"}

# diffusers' defaults, for configs that were saved before a key was there.
VIDEO_VAE: Mapping[str, Any] = {
    "block_out_channels": (256, 512, 1024, 2048),
    "decoder_block_out_channels": (256, 512, 1024),
    "layers_per_block": (4, 6, 6, 2, 2),
    "decoder_layers_per_block": (5, 5, 5, 5),
    "spatio_temporal_scaling": True,
    "decoder_spatio_temporal_scaling": True,
    "decoder_inject_noise": False,
    "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
    "upsample_type": ("spatiotemporal", "spatiotemporal", "spatiotemporal"),
    "upsample_residual": True,
    "upsample_factor": (2, 2, 2),
    "decoder_causal": True,
    "encoder_spatial_padding_mode": "zeros",
    "decoder_spatial_padding_mode": "reflect",
}
AUDIO_VAE: Mapping[str, Any] = {
    "ch_mult": (1, 2, 4),
    "num_res_blocks": 2,
    "attn_resolutions": None,
    "resolution": 256,
    "mid_block_add_attention": False,
}
_RESNETS = {"resnet_kernel_sizes": (3, 7, 11), "resnet_dilations": ((1, 3, 5), (1, 3, 5), (1, 3, 5))}
VOCODER: Mapping[str, Any] = {
    **_RESNETS,
    "hidden_channels": 1024,
    "upsample_kernel_sizes": (16, 15, 8, 4, 4),
    "upsample_factors": (6, 5, 2, 2, 2),
    "act_fn": "leaky_relu",
    "final_act_fn": "tanh",
    "final_bias": True,
    "output_sampling_rate": 24_000,
}
VOCODER_WITH_BWE: Mapping[str, Any] = {
    **_RESNETS,
    "hidden_channels": 1536,
    "upsample_kernel_sizes": (11, 4, 4, 4, 4, 4),
    "upsample_factors": (5, 2, 2, 2, 2, 2),
    "act_fn": "snakebeta",
    "final_act_fn": None,
    "final_bias": False,
    **{f"bwe_{key}": value for key, value in _RESNETS.items()},
    "bwe_hidden_channels": 512,
    "bwe_upsample_kernel_sizes": (12, 11, 4, 4, 4),
    "bwe_upsample_factors": (6, 5, 2, 2, 2),
    "bwe_act_fn": "snakebeta",
    "bwe_final_act_fn": None,
    "bwe_final_bias": False,
    "filter_length": 512,
    "hop_length": 80,
    "window_length": 512,
    "num_mel_channels": 64,
    "input_sampling_rate": 16_000,
    "output_sampling_rate": 48_000,
}


def video_vae_metadata(config: Mapping[str, Any], where: str) -> dict[str, str]:
    """A video VAE's config as the metadata that ComfyUI builds it from.

    Raises:
        Refusal: it computes otherwise than ComfyUI's class.
    """
    fixed = {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 128,
        "patch_size": 4,
        "patch_size_t": 1,
        "resnet_norm_eps": 1e-6,
        "scaling_factor": 1.0,
        "encoder_causal": True,
        "timestep_conditioning": False,
    }
    check_fixed(config, fixed, where)
    config = {**VIDEO_VAE, **config}
    one_for_all = {
        "spatio_temporal_scaling": True,
        "decoder_spatio_temporal_scaling": True,
        "decoder_inject_noise": False,
    }
    for key, value in one_for_all.items():
        if set(_each(config[key], 1)) != {value}:
            raise Refusal(f"{where}: {key} is {config[key]}; {value} at every scale can be loaded.", field="folder")
    vae: dict[str, Any] = {
        "_class_name": "CausalVideoAutoencoder",
        "dims": 3,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 128,
        "encoder_blocks": _encoder_blocks(config),
        "decoder_blocks": _decoder_blocks(config),
        "encoder_base_channels": 128,
        "decoder_base_channels": config["decoder_block_out_channels"][0] // config["upsample_factor"][0],
        "norm_layer": "pixel_norm",
        "patch_size": 4,
        "latent_log_var": "uniform",
        "causal_decoder": config["decoder_causal"],
        "timestep_conditioning": False,
    }
    padding = (config["encoder_spatial_padding_mode"], config["decoder_spatial_padding_mode"])
    if padding != ("zeros", "reflect"):  # what ComfyUI takes where nothing is said; it has one word for both
        check_fixed(config, {"decoder_spatial_padding_mode": padding[0]}, where)
        vae["spatial_padding_mode"] = padding[0]
    return {"config": json.dumps({"vae": vae})}


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * count


def _encoder_blocks(config: Mapping[str, Any]) -> list[list[Any]]:
    """In the order they are computed: residual blocks and a resampler at each scale, then residual blocks."""
    widths = [128, *config["block_out_channels"]]
    blocks: list[list[Any]] = []
    for layers, kind, (before, after) in zip(
        config["layers_per_block"], config["downsample_type"], pairwise(widths), strict=False
    ):
        blocks += [["res_x", {"num_layers": layers}], [_DOWN[kind], {"multiplier": after // before}]]
    return [*blocks, ["res_x", {"num_layers": config["layers_per_block"][-1]}]]


def _decoder_blocks(config: Mapping[str, Any]) -> list[list[Any]]:
    """From the picture's end to the latent's, as ComfyUI reads them."""
    layers, factors = config["decoder_layers_per_block"], config["upsample_factor"]
    # The types are listed as they are computed, from the latent's end; everything else from the picture's.
    kinds = list(config["upsample_type"])[::-1]
    residual = _each(config["upsample_residual"], len(factors))
    blocks: list[list[Any]] = []
    for index, factor in enumerate(factors):
        blocks.append(["res_x", {"num_layers": layers[index], "inject_noise": False}])
        blocks.append([_UP[kinds[index]], {"multiplier": factor, "residual": residual[index]}])
    return [*blocks, ["res_x", {"num_layers": layers[-1], "inject_noise": False}]]


def video_vae_weights(weights: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A video VAE's weights by ComfyUI's names."""
    return renamed(weights, *ltx2_video_vae(len({**VIDEO_VAE, **config}["block_out_channels"])))


def audio_vae_metadata(config: Mapping[str, Any], vocoder: Mapping[str, Any], where: str) -> dict[str, str]:
    """The configs of audio VAE and vocoder as the metadata that ComfyUI builds both from.

    Raises:
        Refusal: they compute otherwise than ComfyUI's classes.
    """
    fixed = {
        "base_channels": 128,  # ComfyUI has this many statistics
        "latent_channels": 8,
        "in_channels": 2,
        "output_channels": 2,
        "mel_bins": 64,
        "double_z": True,
        "causality_axis": "height",
        "is_causal": True,
        "sample_rate": 16_000,
        "mel_hop_length": 160,
        "norm_type": "pixel",
    }
    check_fixed(config, fixed, where)
    config = {**AUDIO_VAE, **config}
    shape = {
        "double_z": True,
        "mel_bins": 64,
        "z_channels": 8,
        "resolution": config["resolution"],
        "downsample_time": False,
        "in_channels": 2,
        "out_ch": 2,
        "ch": 128,
        "ch_mult": list(config["ch_mult"]),
        "num_res_blocks": config["num_res_blocks"],
        "attn_resolutions": list(config["attn_resolutions"] or []),
        "dropout": 0.0,
        "mid_block_add_attention": config["mid_block_add_attention"],
        "norm_type": "pixel",
        "causality_axis": "height",
    }
    return {
        "config": json.dumps(
            {
                "audio_vae": {
                    "model": {"params": {"sampling_rate": 16_000, "ddconfig": shape}},
                    # The length of the window stands in no config of diffusers; every release has this one.
                    "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
                },
                "vocoder": _vocoder(vocoder, where),
            }
        )
    }


def _vocoder(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """LTX-2.0 has one network; 2.3 a second one that widens the band of the first one's sound."""
    if config["_class_name"] == "LTX2Vocoder":
        config = {**VOCODER, **config}
        return {**_network(config, "", where), "output_sample_rate": config["output_sampling_rate"]}
    config = {**VOCODER_WITH_BWE, **config}
    check_fixed(config, {"window_length": config["filter_length"]}, where)
    second = {
        "input_sampling_rate": config["input_sampling_rate"],
        "output_sampling_rate": config["output_sampling_rate"],
        "hop_length": config["hop_length"],
        "n_fft": config["filter_length"],
        "num_mels": config["num_mel_channels"],
    }
    return {"vocoder": _network(config, "", where), "bwe": {**_network(config, "bwe_", where), **second}}


def _network(config: Mapping[str, Any], prefix: str, where: str) -> dict[str, Any]:
    activation, final = config[f"{prefix}act_fn"], config[f"{prefix}final_act_fn"]
    plain = activation == "leaky_relu"
    fixed = {
        "in_channels": 128,
        "out_channels": 2,
        "leaky_relu_negative_slope": 0.1,
        "antialias": not plain,
        "antialias_ratio": 2,
        "antialias_kernel_size": 12,
    }
    check_fixed(config, {prefix + key: value for key, value in fixed.items()}, where)
    return {
        "resblock": "1" if plain else "AMP1",
        "activation": activation,
        "stereo": True,
        "resblock_kernel_sizes": list(config[f"{prefix}resnet_kernel_sizes"]),
        "resblock_dilation_sizes": [list(sizes) for sizes in config[f"{prefix}resnet_dilations"]],
        "upsample_rates": list(config[f"{prefix}upsample_factors"]),
        "upsample_kernel_sizes": list(config[f"{prefix}upsample_kernel_sizes"]),
        "upsample_initial_channel": config[f"{prefix}hidden_channels"],
        "use_bias_at_final": config[f"{prefix}final_bias"],
        "use_tanh_at_final": final == "tanh",
        "apply_final_activation": final is not None,
    }


def audio_vae_weights(weights: Mapping[str, Any], vocoder: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of audio VAE and vocoder by the names of ComfyUI's class for both."""
    vae, sound = renamed(weights, LTX2_AUDIO_VAE), renamed(vocoder, *LTX2_VOCODER)
    return {f"autoencoder.{key}": value for key, value in vae.items()} | {
        f"vocoder.{key}": value for key, value in sound.items()
    }


def upscaler_config(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A latent upscaler's config as ComfyUI writes it.

    Raises:
        Refusal: it does something else than double width and height.
    """
    fixed = {
        "in_channels": 128,
        "dims": 3,
        "spatial_upsample": True,
        "temporal_upsample": False,
        "rational_spatial_scale": 2.0,
    }
    check_fixed(config, fixed, where)
    return {
        "in_channels": 128,
        "mid_channels": config.get("mid_channels", 1024),
        "num_blocks_per_stage": config.get("num_blocks_per_stage", 4),
        "dims": 3,
        "spatial_upsample": True,
        "temporal_upsample": False,
        "spatial_scale": 2.0,
        "rational_resampler": config.get("use_rational_resampler", True),
    }


def native_upscaler(config: Mapping[str, Any]) -> Any:
    """ComfyUI's module for a latent upscaler, without weights where torch's default device is meta."""
    from comfy import ops
    from comfy.ldm.lightricks.latent_upsampler import LatentUpsampler

    layers = {"operations": ops.disable_weight_init} if manages_upscalers() else {}
    return LatentUpsampler.from_config(config, **layers)


def manages_upscalers() -> bool:
    """Whether ComfyUI moves a latent upscaler as it moves other models; before 0.30 it was a module of torch's own."""
    from comfy.ldm.lightricks.latent_upsampler import LatentUpsampler

    return "operations" in inspect.signature(LatentUpsampler.from_config).parameters
