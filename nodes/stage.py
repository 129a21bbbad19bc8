"""Chain Stage: renders one clip behind a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..host.graph import Run
from ..host.jobs import unfinished_until_rendered
from ..host.muted import muted_before
from ..host.previews import preview_of
from ..host.progress import NodeProgress, say
from ..host.stage_inputs import AS_CHAIN, ONE_CLIP, stages_of
from ..pipelines.takes import store
from ..pipelines.timeline.clips import Carry, Transition
from .guides import guides_input
from .seed import seed_input
from .sizes import size_input
from .take_node import TakeNode
from .types import AUTOMATIC, STAGE, Chain, ModelBundle, Sampling

if TYPE_CHECKING:
    from ..pipelines.chain.chain import Chain as ChainValue
    from ..pipelines.model.bundle import VideoModel


def length_input() -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "length",
        options=[
            io.DynamicCombo.Option(
                "seconds",
                [
                    io.Float.Input(
                        "seconds",
                        default=5.0,
                        min=0.01,
                        max=3600.0,
                        step=0.01,
                        tooltip="What the stage adds to the film. A little more is rendered where the model's "
                        "grid needs it, and the film still ends exactly where asked; a Wan 14B stage with an end "
                        "image may end up to 3 frames later, and the next stage in seconds adds as many less.",
                    )
                ],
            ),
            io.DynamicCombo.Option(
                "frames",
                [
                    io.Int.Input(
                        "frames",
                        default=81,
                        min=1,
                        max=16384,
                        tooltip="The clip as the model renders it, overlap included: 4n+1 for Wan, 8n+1 for "
                        "LTX-2. 1 is a still.",
                    )
                ],
            ),
        ],
        tooltip="How long the stage is: the seconds it adds to the film, or the frames the model renders.",
    )


def _overlap_input() -> io.DynamicCombo.Input:
    frames = io.Int.Input(
        "overlap_frames",
        default=5,
        min=0,
        max=1024,
        tooltip="1, 5, 9, 13 ... for Wan, 9, 17, 25 ... for LTX-2. 0: nothing is carried over, the clips are put side "
        "by side.",
    )
    return io.DynamicCombo.Input(
        "overlap",
        options=[io.DynamicCombo.Option(AUTOMATIC, []), io.DynamicCombo.Option("frames", [frames])],
        extra_dict={"advanced": True},
        tooltip="Frames of the stage before that this one is pinned to; they are shown once. Automatic: the model's "
        "usual overlap (Wan 5, LTX-2 17).",
    )


def _carry_input() -> io.DynamicCombo.Input:
    anchor = io.Image.Input(
        "anchor_image", tooltip="What an SVI stage keeps looking at; usually the film's first image."
    )
    return io.DynamicCombo.Input(
        "carry_over",
        options=[
            io.DynamicCombo.Option(Carry.PIXELS.value, []),
            io.DynamicCombo.Option(Carry.LATENTS.value, []),
            io.DynamicCombo.Option(Carry.SVI.value, [anchor]),
        ],
        extra_dict={"advanced": True},
        tooltip="What is handed on. pixels: the last frames, encoded again. latents: the last latents as they are. "
        "svi: latents beside an anchor image, for a Stable Video Infinity LoRA (Wan).",
    )


def take_input() -> io.DynamicCombo.Input:
    number = io.Int.Input("number", default=1, min=1, max=100_000, tooltip="Number of the take, counted from 1.")
    return io.DynamicCombo.Input(
        "take",
        options=[io.DynamicCombo.Option("as asked", []), io.DynamicCombo.Option("stored", [number])],
        optional=True,
        tooltip="Stored: a take of this stage that was rendered before, whatever prompt, seed and sampling are now.",
        extra_dict={"advanced": True},
    )


def transition_input() -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "transition",
        options=[
            io.DynamicCombo.Option(
                Transition.SMOOTH.value,
                [
                    _overlap_input(),
                    _carry_input(),
                ],
            ),
            io.DynamicCombo.Option(Transition.CUT.value, []),
            io.DynamicCombo.Option(
                Transition.FADE.value,
                [
                    io.Int.Input(
                        "fade_frames", default=8, min=1, max=1024, tooltip="Frames over which the two stages blend."
                    )
                ],
            ),
        ],
        tooltip="How the stage joins the one before it. The first stage of a chain has nothing to join.",
    )


class ChainStage(TakeNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeChainStage",
            display_name="Chain Stage",
            category=STAGE,
            description="Renders one clip and hands on the chain with it at the end. Connect the chain of the "
            "stage before "
            "to go on from where it ends.",
            search_aliases=[
                "film",
                "movie",
                "long video",
                "image to video",
                "text to video",
                "i2v",
                "t2v",
                "continue video",
                "extend",
                "loop",
                "transition",
                "svi",
                "wan",
                "ltx",
                "first last frame",
                "last frame",
            ],
            inputs=[
                ModelBundle.Input(
                    "model", tooltip="The model of this stage; stages of a chain may use different ones of a family."
                ),
                Chain.Input("chain", optional=True, tooltip="The stages before this one. Without it: a new film."),
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, tooltip="What happens in this stage."),
                io.String.Input(
                    "negative_prompt",
                    multiline=True,
                    tooltip="What to keep out. Has no effect where cfg is 1.",
                    advanced=True,
                ),
                length_input(),
                size_input("as the chain, or the published size for a first stage"),
                seed_input(),
                transition_input(),
                io.Image.Input(
                    "start_image",
                    optional=True,
                    tooltip="First frame, for a first stage or after a cut or fade. Scaled to cover the size, "
                    "then cropped evenly.",
                ),
                io.Image.Input(
                    "end_image",
                    optional=True,
                    tooltip="Last frame that the film shows of the stage, scaled and cropped by the same rule as the "
                    "first.",
                ),
                Sampling.Input(
                    "sampling",
                    optional=True,
                    tooltip="From Wan Sampling or LTX-2 Sampling. Without it: the values the model was published with.",
                ),
                guides_input(),
                take_input(),
                io.Combo.Input(
                    "long_stages",
                    options=[ONE_CLIP, AS_CHAIN],
                    default=ONE_CLIP,
                    optional=True,
                    advanced=True,
                    tooltip="A stage longer than the model does well (Wan 7.5 s, LTX-2 20 s): as one clip all the "
                    "same, or as a chain of smooth stages that it does well, together exactly as long.",
                ),
            ],
            outputs=[
                Chain.Output(
                    display_name="chain",
                    tooltip="The film so far: for the next Chain Stage, or for Stitch Chain to show it.",
                )
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, model: VideoModel, chain: ChainValue | None = None, **inputs: Any) -> io.NodeOutput:
        from ..host.ahead import look_ahead
        from ..pipelines.stage.check import check_stages
        from ..pipelines.stage.render import render_stages

        run = Run.of(cls.hidden)
        dropped = muted_before(cls.hidden.extra_pnginfo, run.node_id)
        for note in dropped:
            say(run.node_id, note)  # before a refusal that it may explain
        stages = stages_of(model, chain, **inputs)
        ready = check_stages(stages, [model] * len(stages), chain)
        later = look_ahead(run, chain, ready, model)
        progress = NodeProgress(
            run.node_id,
            ready[-1].number + later,
            sum(stage.sampling.steps for stage in ready),
            {stage.number: stage.clip.frames for stage in ready},
            notes=[*dropped, *(f"Stage {stage.number}: {note}" for stage in ready for note in stage.notes)],
        )
        with unfinished_until_rendered(run, later):
            rendered = render_stages(store.here(), ready, progress, chain)
        return io.NodeOutput(rendered, ui=preview_of(rendered, progress))


NODES = [ChainStage]
