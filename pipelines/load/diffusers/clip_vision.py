"""The CLIP that Wan 2.1 looks at its images with, on ComfyUI's own class; the transformer takes its states of 1280."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...identity import Source
from ...model.part import Part
from .folder import DiffusersFolder, check_fixed
from .keys import CLIP_VISION, check_whole, renamed

CLASSES = ("CLIPVisionModel", "CLIPVisionModelWithProjection")


def image_encoder_part(folder: DiffusersFolder) -> Part:
    """A folder's image encoder, of any depth.

    Raises:
        Refusal: it is not there, not whole, or not what ComfyUI computes.
    """
    component = folder.component("image_encoder", *CLASSES)
    where = f"{folder.name}/image_encoder"
    shape = image_encoder_shape(component.config, where)
    check_whole(image_encoder_weights(component.outline()), native_image_encoder(shape), where)

    def load() -> Any:
        from comfy.clip_vision import ClipVisionModel

        encoder = ClipVisionModel(shape)
        encoder.load_sd(image_encoder_weights(component.load()))
        return encoder

    return Part(where, load, Source(component.files, (("config", json.dumps(shape, sort_keys=True)),)))


def image_encoder_shape(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """ComfyUI's config of an image encoder; its projection, which Wan does not look at, is not built.

    Raises:
        Refusal: it computes otherwise than ComfyUI's class, or the transformer cannot take its states.
    """
    config = config.get("vision_config", config)
    check_fixed(config, {"hidden_size": 1280, "image_size": 224, "layer_norm_eps": 1e-5, "num_channels": 3}, where)
    shape = {key: value for key, value in config.items() if key != "projection_dim"}
    return {**shape, "model_type": "clip_vision_model"}  # what ComfyUI calls this kind of CLIP


def image_encoder_weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """An image encoder's weights by ComfyUI's names."""
    used = {key: weight for key, weight in weights.items() if not key.startswith("visual_projection.")}
    return renamed(used, CLIP_VISION)


def native_image_encoder(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of ComfyUI's class for a CLIP, as meta tensors."""
    import torch
    from comfy import ops
    from comfy.clip_model import CLIPVisionModelProjection

    return dict(
        CLIPVisionModelProjection(dict(shape), torch.float32, torch.device("meta"), ops.manual_cast).state_dict()
    )
