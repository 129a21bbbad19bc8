"""Images of stages: the size that suits one, and files from the input folder."""

from __future__ import annotations

import os

import folder_paths
import node_helpers
import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image, ImageOps

from ..pipelines.bundle.model import VideoModel
from ..pipelines.errors import Refusal
from ..pipelines.pictures import best_size
from .types import CATEGORY, ModelBundle


def input_image(name: str) -> torch.Tensor:
    """An image `[1, H, W, 3]` in 0..1 from ComfyUI's input folder, read as its Load Image node reads it.

    Raises:
        Refusal: the name leads outside the input folder, or there is no such image.
    """
    folder = os.path.realpath(folder_paths.get_input_directory())
    path = os.path.realpath(os.path.join(folder, name))
    if os.path.commonpath((folder, path)) != folder:
        raise Refusal(f"{name!r} lies outside ComfyUI's input folder; only images in it can be used.")
    if not os.path.isfile(path):
        raise Refusal(f"there is no image {name!r} in ComfyUI's input folder.")
    try:
        image = node_helpers.pillow(Image.open, path)
        image = node_helpers.pillow(ImageOps.exif_transpose, image)
        pixels = np.array(image.convert("RGB")).astype(np.float32) / 255.0
    except OSError as error:
        raise Refusal(f"{name!r} cannot be read as an image ({error}).") from error
    return torch.from_numpy(pixels)[None,]


class BestSize(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeBestSize",
            display_name="Best Size for Image",
            category=CATEGORY,
            description="The width and height nearest to an image's shape that a model can render at 480p or 720p.",
            search_aliases=["resolution", "aspect ratio"],
            inputs=[
                ModelBundle.Input("model", tooltip="The bundle that will render it; it decides the size grid."),
                io.Image.Input("image", tooltip="The image whose shape is kept."),
                io.Combo.Input(
                    "area",
                    options=["480p", "720p"],
                    default="480p",
                    tooltip="Pixels of a frame, as the model was published.",
                ),
            ],
            outputs=[io.Int.Output(display_name="width"), io.Int.Output(display_name="height")],
        )

    @classmethod
    def execute(cls, model: VideoModel, image: torch.Tensor, area: str) -> io.NodeOutput:
        variant = model.variant
        width, height = best_size(image.shape[2], image.shape[1], variant.areas[area], variant.size_step)
        return io.NodeOutput(width, height)


NODES = [BestSize]
