"""Extend Video: a video that is already there, as the beginning of a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import Input, io

from ..host.stage_inputs import size_of
from .sizes import size_input
from .types import STAGE, Chain, ModelBundle

if TYPE_CHECKING:
    from ..pipelines.model.bundle import VideoModel


class ExtendVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        seconds = io.Float.Input(
            "seconds", default=5.0, min=0.01, max=86400.0, step=0.01, tooltip="Up to its last frame."
        )
        return io.Schema(
            node_id="LongtakeExtendVideo",
            display_name="Extend Video",
            category=STAGE,
            description="Begins a chain with a video, so that a Chain Stage goes on from its end, with picture and "
            "sound. Any codec and frame rate will do, variable ones too.",
            search_aliases=["continue", "loop", "continue video", "video to video", "long video"],
            inputs=[
                ModelBundle.Input(
                    "model", tooltip="The model that goes on; it decides the frame rate and the size grid."
                ),
                io.Video.Input("video", tooltip="The video to go on from."),
                size_input("the size nearest to the video's own that the model can render"),
                io.DynamicCombo.Input(
                    "keep",
                    options=[io.DynamicCombo.Option("all", []), io.DynamicCombo.Option("its end", [seconds])],
                    tooltip="How much of the video the film begins with.",
                ),
            ],
            outputs=[
                Chain.Output(display_name="chain", tooltip="For a Chain Stage that goes on from the video's end.")
            ],
        )

    @classmethod
    def execute(cls, model: VideoModel, video: Input.Video, size: dict, keep: dict) -> io.NodeOutput:
        from ..pipelines.chain.begin import begin_with
        from ..pipelines.media.video import frames_and_sound

        source, sound = frames_and_sound(video)
        return io.NodeOutput(begin_with(model, source, sound, *size_of(size), keep.get("seconds", 0.0)))


NODES = [ExtendVideo]
