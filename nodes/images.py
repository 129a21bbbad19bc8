"""Images of stages: the size that suits one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from .types import STAGE, ModelBundle

if TYPE_CHECKING:
    import torch

    from ..pipelines.model.bundle import VideoModel


class BestSize(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeBestSize",
            display_name="Best Size for Image",
            category=STAGE,
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
            outputs=[
                io.Int.Output(display_name="width", tooltip="In pixels, on the model's grid."),
                io.Int.Output(display_name="height", tooltip="In pixels, on the model's grid."),
            ],
        )

    @classmethod
    def execute(cls, model: VideoModel, image: torch.Tensor, area: str) -> io.NodeOutput:
        from ..pipelines.media.pictures import best_size

        variant = model.variant
        width, height = best_size(image.shape[2], image.shape[1], variant.areas[area], variant.size_step)
        return io.NodeOutput(width, height)


NODES = [BestSize]
