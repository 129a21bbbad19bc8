"""Guides: what a stage keeps to beside its words. Keyframe, Anchor, Soundtrack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..pipelines.errors import Refusal
from .types import AUTOMATIC, STAGE, Guide

if TYPE_CHECKING:
    import torch


def guides_input() -> io.Autogrow.Input:
    guide = Guide.Input("guide", tooltip="From Keyframe, Anchor or Soundtrack.")
    return io.Autogrow.Input(
        "guides",
        template=io.Autogrow.TemplatePrefix(guide, prefix="guide", min=0, max=50),
        optional=True,
        tooltip="What the clip keeps to beside its words: keyframes, an anchor image, a soundtrack.",
    )


class KeyframeNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeKeyframe",
            display_name="Keyframe",
            category=STAGE,
            description="An image that a stage passes through on its way (LTX-2).",
            search_aliases=["middle frame", "guide image", "ltx guide"],
            inputs=[
                io.Image.Input("image", tooltip="Scaled to cover the stage's size, then cropped evenly."),
                io.Int.Input(
                    "frame",
                    default=-1,
                    min=-16384,
                    max=16384,
                    tooltip="Frame of the stage's clip, overlap included, counted from 0. -1: the one it ends on.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=0.01, max=1.0, step=0.01, tooltip="How much the image counts."
                ),
            ],
            outputs=[Guide.Output(display_name="guide", tooltip="For the guides of a stage.")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, frame: int, strength: float) -> io.NodeOutput:
        from ..pipelines.model.shot import Keyframe

        return io.NodeOutput(Keyframe(image, frame, strength))


class AnchorNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        own = io.Float.Input(
            "strength", default=0.4, min=0.01, max=1.0, step=0.01, tooltip="From 0 to 1; 1 is the image itself."
        )
        return io.Schema(
            node_id="LongtakeAnchor",
            display_name="Anchor",
            category=STAGE,
            description="An image that a smooth stage keeps looking at, so that a face or a place stays the same over "
            "many stages (LTX-2; for Wan choose carry-over svi on the stage, which has an anchor of its own).",
            search_aliases=["identity", "reference image", "character consistency", "anchor image"],
            inputs=[
                io.Image.Input("image", tooltip="Usually the film's first image."),
                io.DynamicCombo.Input(
                    "counts",
                    options=[io.DynamicCombo.Option(AUTOMATIC, []), io.DynamicCombo.Option("own", [own])],
                    tooltip="How much it counts. Automatic: as usual for the model (LTX-2 0.4).",
                ),
            ],
            outputs=[Guide.Output(display_name="guide", tooltip="For the guides of a stage.")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, counts: dict[str, Any]) -> io.NodeOutput:
        from ..pipelines.stage.guides import Anchor

        return io.NodeOutput(Anchor(image, counts.get("strength")))


class SoundtrackNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSoundtrack",
            display_name="Soundtrack",
            category=STAGE,
            description="Sound of the whole film that the picture follows (LTX-2). Connect it to every stage: each "
            "takes its own part. To save the film with it connect the sound to Encode Video too.",
            search_aliases=["music", "audio to video", "lip sync", "sound"],
            inputs=[io.Audio.Input("audio", optional=True, tooltip="The sound, from the film's first frame on.")],
            outputs=[Guide.Output(display_name="guide", tooltip="For the guides of every stage.")],
        )

    @classmethod
    def execute(cls, audio: dict[str, Any] | None = None) -> io.NodeOutput:
        from ..pipelines.stage.guides import Soundtrack

        # Optional, as Get Video Components gives nothing for a video without sound: that is refused in words.
        if audio is None:
            raise Refusal("it holds no sound; disconnect it, or give another.", field="audio")
        return io.NodeOutput(Soundtrack(audio))


NODES = [KeyframeNode, AnchorNode, SoundtrackNode]
