"""Extend Video: a video that is already there, as the beginning of a chain."""

from __future__ import annotations

from comfy_api.latest import Input, io

from ..pipelines.bundle.model import VideoModel
from ..pipelines.existing import begin_with
from ..pipelines.film.video import frames_and_sound
from .types import CATEGORY, Chain, ModelBundle


class ExtendVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeExtendVideo",
            display_name="Extend Video",
            category=CATEGORY,
            description="Begins a chain with a video, so that a Chain Stage goes on from its end, with picture and "
            "sound. Any codec and frame rate will do, variable ones too.",
            search_aliases=["continue video", "video to video", "long video"],
            inputs=[
                ModelBundle.Input(
                    "model", tooltip="The model that goes on; it decides the frame rate and the size grid."
                ),
                io.Video.Input("video", tooltip="The video to go on from."),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Pixels; 0 and 0 take the size nearest to the video's own that the model can render.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Pixels; the video is scaled to cover the size, then cropped evenly.",
                ),
                io.Float.Input(
                    "keep_seconds",
                    default=0.0,
                    min=0.0,
                    max=86400.0,
                    step=0.01,
                    tooltip="How much of the video's end the film begins with. 0: all of it.",
                ),
            ],
            outputs=[Chain.Output(display_name="chain")],
        )

    @classmethod
    def execute(
        cls, model: VideoModel, video: Input.Video, width: int, height: int, keep_seconds: float
    ) -> io.NodeOutput:
        source, sound = frames_and_sound(video)
        return io.NodeOutput(begin_with(model, source, sound, width, height, keep_seconds))


NODES = [ExtendVideo]
