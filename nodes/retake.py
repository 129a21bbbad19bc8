"""Retake: seconds of a video rendered anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import Input, io

from ..host.previews import preview_of
from ..host.progress import NodeProgress
from ..host.stage_inputs import size_of
from ..pipelines.takes import store
from .seed import seed_input
from .sizes import size_input
from .take_node import TakeNode
from .types import STAGE, Chain, ModelBundle, Sampling

if TYPE_CHECKING:
    from ..pipelines.model.bundle import VideoModel
    from ..pipelines.model.variant import Settings

ANEW, KEPT = "rendered anew", "kept"


class RetakeNode(TakeNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        seconds = "Seconds of the video; the range is widened to whole latents, eight frames each."
        return io.Schema(
            node_id="LongtakeRetake",
            display_name="Retake (LTX-2)",
            category=STAGE,
            description="Renders some seconds of a video anew, with or without their sound. The rest stays as it is, "
            "to the bit in latents. For LTX-2; the whole video is one clip.",
            search_aliases=["inpaint video", "redo", "regenerate part"],
            inputs=[
                ModelBundle.Input("model", tooltip="An LTX-2 bundle; it renders in one pass."),
                io.Video.Input("video", tooltip="Any codec and frame rate; it is shown at the model's rate."),
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, tooltip="What happens in the video."),
                io.String.Input(
                    "negative_prompt", multiline=True, tooltip="Has no effect where cfg is 1.", advanced=True
                ),
                io.Float.Input("start_seconds", default=1.0, min=0.0, max=86400.0, step=0.01, tooltip=seconds),
                io.Float.Input("end_seconds", default=2.0, min=0.0, max=86400.0, step=0.01, tooltip=seconds),
                io.Combo.Input(
                    "sound",
                    options=[ANEW, KEPT],
                    default=ANEW,
                    tooltip="Whether the sound of these seconds is rendered anew too.",
                ),
                size_input("the size nearest to the video's own that the model can render"),
                seed_input(),
                Sampling.Input("sampling", optional=True, tooltip="From LTX-2 Sampling."),
            ],
            outputs=[Chain.Output(display_name="chain", tooltip="The video with these seconds rendered anew.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        video: Input.Video,
        prompt: str,
        negative_prompt: str,
        start_seconds: float,
        end_seconds: float,
        sound: str,
        size: dict,
        seed: int,
        sampling: Settings | None = None,
    ) -> io.NodeOutput:
        from ..pipelines.media.video import frames_and_sound
        from ..pipelines.stage.retake import Retake, plan_retake, render_retake

        retake = Retake(start_seconds, end_seconds, sound == ANEW, prompt, negative_prompt, seed)
        planned, settings = plan_retake(retake, model, *frames_and_sound(video), *size_of(size), sampling)
        progress = NodeProgress(cls.hidden.unique_id, 1, settings.steps, {1: planned.frames})
        rendered = render_retake(store.here(), retake, model, planned, settings, progress)
        return io.NodeOutput(rendered, ui=preview_of(rendered, progress))


NODES = [RetakeNode]
