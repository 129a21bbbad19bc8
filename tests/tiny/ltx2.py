"""Tiny LTX-2 models, built from ComfyUI's own classes so that their keys are the installed version's keys.

A checkpoint holds everything but Gemma: the transformer for picture and sound, both VAEs, the vocoder and the text
projection. All shapes come from its metadata, as with the released files.
"""

from __future__ import annotations

import copy
import json
import math
from inspect import signature
from pathlib import Path
from typing import Any

import comfy.ops
import comfy.text_encoders.llama as llama
import torch
from comfy.ldm.lightricks.av_model import LTXAVModel
from comfy.ldm.lightricks.latent_upsampler import LatentUpsampler
from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE

from .tokenizer import tokenizer_model
from .weights import random_weights, save

OPERATIONS = comfy.ops.disable_weight_init
META, CPU = torch.device("meta"), torch.device("cpu")
TEXT_WIDTH, TEXT_LAYERS, AUDIO_TEXT_WIDTH = 32, 2, 16

TRANSFORMER: dict[str, Any] = {
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "cross_attention_dim": TEXT_WIDTH,
    "audio_attention_head_dim": 8,
    "audio_num_attention_heads": 2,
    "audio_cross_attention_dim": AUDIO_TEXT_WIDTH,
    "caption_channels": TEXT_WIDTH,
    "in_channels": 128,
    "audio_in_channels": 128,
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "audio_positional_embedding_max_pos": [20],
    "timestep_scale_multiplier": 1000.0,
    "av_ca_timestep_scale_multiplier": 1000.0,
    "rope_type": "split",
    "frequencies_precision": "float64",
    "use_middle_indices_grid": True,
    "causal_temporal_positioning": True,
    "connector_attention_head_dim": 16,
    "connector_num_attention_heads": 2,
    "connector_num_layers": 1,
}
TRANSFORMER_2_3 = {
    **TRANSFORMER,
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "cross_attention_adaln": True,
    "apply_gated_attention": True,
    "connector_apply_gated_attention": True,
    "audio_connector_attention_head_dim": 8,
    "audio_connector_num_attention_heads": 2,
}
VIDEO_VAE: dict[str, Any] = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "encoder_blocks": [
        ["res_x", {"num_layers": 1}],
        ["compress_space_res", {"multiplier": 2}],
        ["compress_time_res", {"multiplier": 2}],
        ["compress_all_res", {"multiplier": 2}],
        ["compress_all_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 1}],
    ],
    # ComfyUI knows the VAE by a key of the last of these, which must be plain residual blocks.
    "decoder_blocks": [
        ["res_x", {"num_layers": 1, "inject_noise": False}],
        ["compress_all", {"residual": True, "multiplier": 2}],
        ["compress_all", {"residual": True, "multiplier": 2}],
        ["compress_all", {"residual": True, "multiplier": 2}],
        ["res_x", {"num_layers": 1, "inject_noise": False}],
    ],
    "encoder_base_channels": 4,
    "decoder_base_channels": 4,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "causal_decoder": False,
    "timestep_conditioning": False,
    "encoder_spatial_padding_mode": "zeros",
    "spatial_padding_mode": "zeros",
}
AUDIO_VAE: dict[str, Any] = {
    "model": {
        "params": {
            "sampling_rate": 16000,
            "ddconfig": {
                "double_z": True,
                "mel_bins": 64,
                "z_channels": 8,
                "resolution": 256,
                "downsample_time": False,
                "in_channels": 2,
                "out_ch": 2,
                "ch": 4,
                "ch_mult": [1, 2, 4],
                "num_res_blocks": 1,
                "attn_resolutions": [],
                "dropout": 0.0,
                "mid_block_add_attention": False,
                "norm_type": "pixel",
                "causality_axis": "height",
            },
        }
    },
    "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
}
_VOCODER = {
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "stereo": True,
    "upsample_initial_channel": 32,
}
# 2.0: 16 kHz mel to 24 kHz sound.
VOCODER = {
    **_VOCODER,
    "resblock": "1",
    "upsample_rates": [6, 5, 2, 4],
    "upsample_kernel_sizes": [12, 9, 4, 8],
    "use_bias_at_final": True,
}
# 2.3: 16 kHz sound whose bandwidth a second network extends to 48 kHz.
_BWE = {
    **_VOCODER,
    "resblock": "AMP1",
    "activation": "snakebeta",
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
}
VOCODER_2_3 = {
    "vocoder": {**_BWE, "upsample_rates": [5, 4, 4, 2], "upsample_kernel_sizes": [11, 8, 8, 4]},
    "bwe": {
        **_BWE,
        "upsample_rates": [5, 4, 4, 3],
        "upsample_kernel_sizes": [11, 8, 8, 7],
        "input_sampling_rate": 16000,
        "output_sampling_rate": 48000,
        "hop_length": 80,
        "n_fft": 512,
        "num_mels": 64,
    },
}
UPSAMPLER: dict[str, Any] = {
    "in_channels": 128,
    "mid_channels": 32,  # GroupNorm(32)
    "num_blocks_per_stage": 1,
    "dims": 3,
    "spatial_upsample": True,
    "temporal_upsample": False,
    "spatial_scale": 2.0,
    "rational_resampler": False,
}


def checkpoint(
    path: Path, *, seed: int, version: str, metadata: bool = True, sound: bool = True, biases: bool = True
) -> None:
    """A whole model.

    Args:
        version: "2.0" or "2.3".
        metadata: without it the file loads and is silently wrong.
        sound: whether the audio VAE and the vocoder are in it.
        biases: whether the feed-forward layers have them; those of 2.5 have none.
    """
    newer = version == "2.3"
    transformer = TRANSFORMER_2_3 if newer else TRANSFORMER
    config = {
        "transformer": transformer,
        "vae": VIDEO_VAE,
        "audio_vae": AUDIO_VAE,
        "vocoder": VOCODER_2_3 if newer else VOCODER,
    }
    weights = {
        **_prefixed("model.diffusion_model.", _transformer(transformer, seed)),
        **_prefixed("vae.", _vae_weights(VideoVAE(config=copy.deepcopy(VIDEO_VAE)), seed + 1)),
        **(_audio(config, seed + 2) if sound else {}),
        **_text_projection(newer, seed + 3),
    }
    if not biases:
        weights = {name: tensor for name, tensor in weights.items() if ".ff.net" not in name or "bias" not in name}
    save(weights, path, config if metadata else None)


def part(path: Path, *, whole: Path, keep: tuple[str, ...], strip: str = "") -> None:
    """A part of a checkpoint in a file of its own, its metadata with it.

    Args:
        whole: the checkpoint, made before.
        keep: beginnings of the names that belong to the part.
        strip: what their names lose.
    """
    from safetensors import safe_open

    with safe_open(whole, "pt") as file:
        weights = {
            name.removeprefix(strip): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if name.startswith(keep)
        }
        save(weights, path, json.loads(file.metadata()["config"]))


def lora(path: Path, *, seed: int, rank: int = 2, projection: bool = True) -> None:
    """A LoRA over picture and sound, weak enough to keep the picture.

    Args:
        projection: whether it changes the projection of the text encoder too, which is that of 2.0.
    """
    generator = torch.Generator().manual_seed(seed)
    sound = TRANSFORMER["audio_attention_head_dim"] * TRANSFORMER["audio_num_attention_heads"]
    picture = TRANSFORMER["attention_head_dim"] * TRANSFORMER["num_attention_heads"]
    shapes = {}
    if projection:
        shapes["text_embedding_projection.aggregate_embed"] = (TEXT_WIDTH, TEXT_WIDTH * (TEXT_LAYERS + 1))
    for block in range(TRANSFORMER["num_layers"]):
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            name = f"diffusion_model.transformer_blocks.{block}"
            shapes[f"{name}.attn1.{part}"] = (picture, picture)
            shapes[f"{name}.audio_attn1.{part}"] = (sound, sound)
    weights = {}
    for name, (out, into) in shapes.items():
        weights[f"{name}.lora_A.weight"] = 0.1 * torch.randn(rank, into, generator=generator)
        weights[f"{name}.lora_B.weight"] = 0.1 * torch.randn(out, rank, generator=generator)
    save(weights, path)


def upsampler(path: Path, *, seed: int) -> None:
    """Doubles width and height of a video latent."""
    # Before ComfyUI 0.30 it takes no operations, and initialises its weights, which are drawn anew either way.
    takes = {"operations": OPERATIONS} if "operations" in signature(LatentUpsampler.from_config).parameters else {}
    weights = random_weights(LatentUpsampler.from_config(UPSAMPLER, **takes), seed)
    save(weights, path, UPSAMPLER)


def text_encoder(path: Path, *, seed: int) -> None:
    """Gemma of two layers with its tokenizer; ComfyUI loads it only with the shim, which reads `config`."""
    tokenizer, vocabulary = tokenizer_model()
    config = {
        "vocab_size": vocabulary,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
    gemma = type("TinyGemma", (llama.Gemma3_12B_Config,), {"head_dim": config["head_dim"]})
    shape = gemma(**{key: value for key, value in config.items() if key != "head_dim"})
    model = torch.nn.Module()
    model.model = llama.Llama2_(shape, device=META, dtype=torch.float32, ops=OPERATIONS)
    weights = random_weights(model, seed)
    weights["spiece_model"] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    save(weights, path, {"tiny_gemma": config})


def _transformer(shape: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    model = LTXAVModel(operations=OPERATIONS, dtype=torch.float32, device=META, image_model="ltxav", **shape)
    return random_weights(model, seed)


def _audio(config: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    weights = _vae_weights(AudioVAE(metadata={"config": json.dumps(config)}), seed)
    return {
        f"audio_vae.{name.removeprefix('autoencoder.')}" if name.startswith("autoencoder.") else name: tensor
        for name, tensor in weights.items()
    }


def _vae_weights(vae: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Statistics of 0 and 1, so that latents are of the size they have in the released models."""
    weights = random_weights(vae, seed)
    for name, tensor in weights.items():
        if name.endswith("std-of-means"):
            weights[name] = torch.ones_like(tensor)
        elif name.endswith("mean-of-means"):
            weights[name] = torch.zeros_like(tensor)
    return weights


def _text_projection(newer: bool, seed: int) -> dict[str, torch.Tensor]:
    """From the hidden states of all Gemma layers and the embedding; 2.3 has one for each of picture and sound."""
    generator = torch.Generator().manual_seed(seed)
    states = TEXT_WIDTH * (TEXT_LAYERS + 1)
    widths = {"audio_": AUDIO_TEXT_WIDTH, "video_": TEXT_WIDTH} if newer else {"": TEXT_WIDTH}
    weights = {}
    for kind, width in widths.items():
        key = f"text_embedding_projection.{kind}aggregate_embed"
        weights[f"{key}.weight"] = torch.randn(width, states, generator=generator) / math.sqrt(states)
        if newer:
            weights[f"{key}.bias"] = torch.zeros(width)
    return weights


def _prefixed(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in weights.items()}
