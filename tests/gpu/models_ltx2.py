"""LTX-2 at its published sizes, with random weights that are made where they run; see models.py."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

import torch

from tests.tiny.weights import random_tensors

from .models import Weights, Words, device, loaded_model, stored


@dataclass(frozen=True)
class Ltx2Net:
    """What is published in a checkpoint's metadata, as far as it is not in tests/tiny/ltx2.py.

    Args:
        release: "2.0" or "2.3".
        transformer: in the place of the tiny values.
        text_width: of an embedding before the model's own connectors.
        vae_base: channels of the video VAE's first layers.
        vae_layers: residual layers of the VAE's encoder, between its downsamplings, and of its decoder.
        audio_base: channels of the audio VAE's first layer.
    """

    release: str
    transformer: dict[str, Any]
    text_width: int
    vae_base: int = 4
    vae_layers: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 1, 1, 1, 1), (1, 1, 1, 1))
    audio_base: int = 4

    @property
    def width(self) -> int:
        return self.transformer["num_attention_heads"] * self.transformer["attention_head_dim"]


# LTXAVModel's defaults, which are the 19B model's; the VAE as in LTX-Video 0.9.5 and later, from memory.
_LARGE = {
    "num_layers": 48,
    "attention_head_dim": 128,
    "num_attention_heads": 32,
    "cross_attention_dim": 4096,
    "audio_attention_head_dim": 64,
    "audio_num_attention_heads": 32,
    "audio_cross_attention_dim": 2048,
    "caption_channels": 3840,
    "connector_attention_head_dim": 128,
    "connector_num_layers": 2,
}
_LARGE_VAE: dict[str, Any] = {"vae_base": 128, "vae_layers": ((4, 6, 6, 2, 2), (5, 5, 5, 5)), "audio_base": 128}
LARGE_2_0 = Ltx2Net("2.0", {**_LARGE, "connector_num_attention_heads": 30}, 3840, **_LARGE_VAE)
LARGE_2_3 = Ltx2Net(
    "2.3",
    {
        **_LARGE,
        # With 8 layers, and the 1.2B that project the text outside the model, it is the 22B that it is named for.
        "connector_num_layers": 8,
        "connector_num_attention_heads": 32,
        "audio_connector_attention_head_dim": 64,
        "audio_connector_num_attention_heads": 32,
    },
    4096 + 2048,
    **_LARGE_VAE,
)
TINY_2_0 = Ltx2Net("2.0", {"num_attention_heads": 2, "attention_head_dim": 16}, 32)
TINY_2_3 = Ltx2Net("2.3", {"num_attention_heads": 2, "attention_head_dim": 16}, 32 + 16)


def config_of(net: Ltx2Net) -> dict[str, Any]:
    """The metadata of a checkpoint."""
    from tests.tiny import ltx2

    newer = net.release == "2.3"
    audio = copy.deepcopy(ltx2.AUDIO_VAE)
    audio["model"]["params"]["ddconfig"]["ch"] = net.audio_base
    return {
        "transformer": {**(ltx2.TRANSFORMER_2_3 if newer else ltx2.TRANSFORMER), **net.transformer},
        "vae": video_vae(net),
        "audio_vae": audio,
        "vocoder": ltx2.VOCODER_2_3 if newer else ltx2.VOCODER,
    }


def video_vae(net: Ltx2Net) -> dict[str, Any]:
    from tests.tiny import ltx2

    first, second = net.vae_layers
    down = ["compress_space_res", "compress_time_res", "compress_all_res", "compress_all_res"]
    encoder: list[Any] = [["res_x", {"num_layers": first[0]}]]
    for name, layers in zip(down, first[1:], strict=True):
        encoder += [[name, {"multiplier": 2}], ["res_x", {"num_layers": layers}]]
    decoder: list[Any] = [["res_x", {"num_layers": second[0], "inject_noise": False}]]
    for layers in second[1:]:
        decoder.append(["compress_all", {"residual": True, "multiplier": 2}])
        decoder.append(["res_x", {"num_layers": layers, "inject_noise": False}])
    base = {"encoder_base_channels": net.vae_base, "decoder_base_channels": net.vae_base}
    return {**ltx2.VIDEO_VAE, "encoder_blocks": encoder, "decoder_blocks": decoder, **base}


def bundle(net: Ltx2Net, weights: Weights) -> Any:
    """A Longtake bundle with sound, as Use Loaded Models makes it."""
    import comfy.ops
    import comfy.sd
    from comfy.ldm.lightricks.av_model import LTXAVModel
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
    from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE
    from longtake.pipelines.load.files import bundle_from_loaded

    config = config_of(net)
    metadata = {"config": json.dumps(config)}
    module = LTXAVModel(
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
        device=torch.device("meta"),
        image_model="ltxav",
        **config["transformer"],
    )
    model = loaded_model(stored(random_tensors(module, 1, device()), weights), metadata)
    video = comfy.sd.VAE(sd=_vae_tensors(VideoVAE(config=copy.deepcopy(config["vae"])), 2), metadata=metadata)
    audio = comfy.sd.VAE(sd=_audio_tensors(AudioVAE(metadata=metadata), 3), metadata=metadata)
    for vae in (video, audio):
        vae.throw_exception_if_invalid()
    return bundle_from_loaded(model, None, Words(net.text_width, 128, unprocessed_ltxav_embeds=True), video, audio)


def _audio_tensors(module: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Named as in a checkpoint, which is what ComfyUI's VAE class looks for."""
    return {
        f"audio_vae.{name.removeprefix('autoencoder.')}" if name.startswith("autoencoder.") else name: tensor
        for name, tensor in _vae_tensors(module, seed).items()
    }


def _vae_tensors(module: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Statistics of 0 and 1, so that latents are of the size they have in the released models."""
    tensors = {name: tensor.cpu() for name, tensor in random_tensors(module, seed, device())}
    for name, tensor in tensors.items():
        if name.endswith("std-of-means"):
            tensors[name] = torch.ones_like(tensor)
        elif name.endswith("mean-of-means"):
            tensors[name] = torch.zeros_like(tensor)
    return tensors
