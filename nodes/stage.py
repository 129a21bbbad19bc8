"""Chain Stage: renders one clip behind a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy_api.latest import io

from ..host.ahead import check_later_stages
from ..host.choosing import NodeRefused
from ..host.graph import Run
from ..pipelines.bundle.model import VideoModel
from ..pipelines.chain import Chain as ChainValue
from ..pipelines.chain import Join, Length, Transition
from ..pipelines.errors import Refusal
from ..pipelines.families import Carry, Keyframe, Settings
from ..pipelines.render import render_stages
from ..pipelines.stage import MAX_SEED, Ready, Stage, check_stages, split_stage
from ..pipelines.takes import store
from .muted import muted_before
from .overlap import AUTOMATIC, overlap_of
from .previews import preview_of
from .progress import NodeProgress, announce
from .types import CATEGORY, Chain, Keyframes, ModelBundle, Sampling

ONE_CLIP, AS_CHAIN = "one clip", "chain"


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


def transition_input() -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "transition",
        options=[
            io.DynamicCombo.Option(
                Transition.SMOOTH.value,
                [
                    io.String.Input(
                        "overlap",
                        default=AUTOMATIC,
                        tooltip="Frames of the stage before that this one is pinned to; they are shown once. 1, "
                        "5, 9, 13 ... for Wan, 1, 9, 17, 25 ... for LTX-2; automatic: the model's usual overlap (Wan "
                        "5, LTX-2 17). 0: a plain join, nothing is carried over.",
                    ),
                    io.Combo.Input(
                        "carry_over",
                        options=[c.value for c in Carry],
                        default=Carry.PIXELS.value,
                        tooltip="What is handed on. pixels: the last frames, encoded again. latents: the last "
                        "latents as they "
                        "are. svi: latents beside an anchor image, for a Stable Video Infinity LoRA.",
                    ),
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


def join_of(transition: Mapping[str, Any] | None, model: VideoModel, chain: ChainValue | None) -> Join:
    """The join that a transition input asks for; the first stage of a chain is a cut whatever it says."""
    if chain is None:
        return Join(Transition.CUT)
    if not transition or transition.get("transition") not in {known.value for known in Transition}:
        raise Refusal("none is given; choose smooth, cut or fade.", field="transition")
    overlap = overlap_of(transition.get("overlap", AUTOMATIC), model)
    return Join.of(Transition(transition["transition"]), overlap, transition.get("fade_frames", 0))


def length_of(length: Mapping[str, Any] | None) -> Length:
    unit = (length or {}).get("length")
    amount = (length or {}).get(unit)
    if unit not in ("seconds", "frames") or amount is None:
        raise Refusal("none is given; give seconds or frames.", field="length")
    return Length(**{unit: amount})


def stages_of(
    model: VideoModel, chain: ChainValue | None, long_stages: str = ONE_CLIP, **inputs: Any
) -> Sequence[Stage]:
    """What the inputs of a Chain Stage ask for, behind a chain: one stage, or a long one as a chain of them.

    Raises:
        Refusal: the inputs leave it open, or what is asked cannot be.
    """
    try:
        stage = stage_of(model, chain, **inputs)
        return split_stage(stage, model, chain) if long_stages == AS_CHAIN else [stage]
    except Refusal as refusal:
        raise refusal.at(stage=1 if chain is None else len(chain.links) + 1) from None


def stage_of(
    model: VideoModel,
    chain: ChainValue | None,
    length: Mapping[str, Any] | None = None,
    transition: Mapping[str, Any] | None = None,
    prompt: str = "",
    negative_prompt: str = "",
    width: int = 0,
    height: int = 0,
    seed: int = 0,
    start_image: torch.Tensor | None = None,
    end_image: torch.Tensor | None = None,
    anchor_image: torch.Tensor | None = None,
    sampling: Settings | None = None,
    take: int = 0,
    anchor_strength: float = 0.0,
    keyframes: tuple[Keyframe, ...] = (),
    soundtrack: dict | None = None,
    **_: Any,
) -> Stage:
    """What the inputs of a Chain Stage ask for, behind a chain; raises `Refusal` where they leave it open."""
    return Stage(
        prompt=prompt,
        negative_prompt=negative_prompt,
        length=length_of(length),
        seed=seed,
        join=join_of(transition, model, chain),
        carry=Carry((transition or {}).get("carry_over", Carry.PIXELS)),
        width=width,
        height=height,
        start_image=start_image,
        end_image=end_image,
        anchor_image=anchor_image,
        sampling=sampling,
        take=take,
        anchor_strength=anchor_strength,
        keyframes=keyframes,
        soundtrack=soundtrack,
    )


def look_ahead(run: Run, chain: ChainValue | None, ready: Sequence[Ready], model: VideoModel) -> int:
    """Check the stages that follow a node, as `check_later_stages`; returns how many there are.

    ComfyUI puts an error on the node that runs. The page is told which node this one is of, and marks that.
    """
    try:
        return check_later_stages(run, chain, ready, model, stages_of)
    except NodeRefused as refusal:
        shown = run.shown(refusal.node)
        announce("refused", node=shown.id, kind=shown.kind, stage=refusal.stage, field=refusal.field)
        raise Refusal(
            f"{refusal.message}\nThis is of node {shown.id} ({shown.title}), which runs later; nothing is rendered "
            "before it is put right.",
            stage=refusal.stage,
            field=refusal.field,
        ) from None


def anchor_strength_input() -> io.Float.Input:
    return io.Float.Input(
        "anchor_strength",
        default=0.0,
        min=0.0,
        max=1.0,
        step=0.05,
        optional=True,
        tooltip="How much the anchor image counts, where the model lets one choose. 0: as usual (LTX-2 0.4).",
    )


def keyframes_input() -> io.Custom.Input:
    return Keyframes.Input("keyframes", optional=True, tooltip="From Keyframe: images to pass through (LTX-2).")


def check_sound(run: Run, soundtrack: dict | None) -> None:
    """Raise `Refusal` for a soundtrack that is connected and comes as nothing, as Get Video Components gives it."""
    if soundtrack is None and run.node is not None and "soundtrack" in run.node.inputs:
        raise Refusal("the soundtrack holds no sound; disconnect it, or give another.", field="soundtrack")


class ChainStage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeChainStage",
            display_name="Chain Stage",
            category=CATEGORY,
            description="Renders one clip and hands on the chain with it at the end. Connect the chain of the "
            "stage before "
            "to go on from where it ends.",
            search_aliases=["continue video", "extend", "long video", "wan chain", "i2v", "first last frame"],
            inputs=[
                ModelBundle.Input(
                    "model", tooltip="The model of this stage; stages of a chain may use different ones of a family."
                ),
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, tooltip="What happens in this stage."),
                io.String.Input(
                    "negative_prompt", multiline=True, tooltip="What to keep out. Has no effect where cfg is 1."
                ),
                length_input(),
                io.Int.Input(
                    "width",
                    default=832,
                    min=0,
                    max=16384,
                    tooltip="Pixels, a multiple of 16 (TI2V-5B: 32). 0: as the chain, or the published size for "
                    "a first stage.",
                ),
                io.Int.Input(
                    "height",
                    default=480,
                    min=0,
                    max=16384,
                    tooltip="Pixels, a multiple of 16 (TI2V-5B: 32). 0: as the chain, or the published size for "
                    "a first stage.",
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip="Seed of the noise."
                ),
                transition_input(),
                Chain.Input("chain", optional=True, tooltip="The stages before this one."),
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
                io.Image.Input(
                    "anchor_image",
                    optional=True,
                    tooltip="What a smooth stage keeps looking at; usually the film's first image. For carry-over svi, "
                    "and for LTX-2.",
                ),
                Sampling.Input(
                    "sampling",
                    optional=True,
                    tooltip="From Sampling Settings or LTX-2 Sampling. Without it: the values the model was published "
                    "with.",
                ),
                io.Int.Input(
                    "take",
                    default=0,
                    min=0,
                    max=100_000,
                    optional=True,
                    tooltip="Number of a stored take of this stage to use, whatever the prompt, seed and sampling. "
                    "0: as asked.",
                ),
                anchor_strength_input(),
                keyframes_input(),
                io.Audio.Input(
                    "soundtrack",
                    optional=True,
                    tooltip="Sound of the whole film that the picture follows (LTX-2); this stage takes its part of "
                    "it. To save the film with it connect it to Encode Video too.",
                ),
                io.Combo.Input(
                    "long_stages",
                    options=[ONE_CLIP, AS_CHAIN],
                    default=ONE_CLIP,
                    optional=True,
                    tooltip="A stage longer than the model does well (Wan 7.5 s, LTX-2 20 s): as one clip all the "
                    "same, or as a chain of smooth stages that it does well, together exactly as long.",
                ),
            ],
            outputs=[Chain.Output(display_name="chain")],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> int:
        # A chain that ComfyUI still holds may refer to a take that has been deleted since.
        return store.here().deletions()

    @classmethod
    def execute(cls, model: VideoModel, chain: ChainValue | None = None, **inputs: Any) -> io.NodeOutput:
        run = Run.of(cls.hidden)
        check_sound(run, inputs.get("soundtrack"))
        stages = stages_of(model, chain, **inputs)
        ready = check_stages(stages, [model] * len(stages), chain)
        later = look_ahead(run, chain, ready, model)
        progress = NodeProgress(
            run.node_id,
            ready[-1].number + later,
            sum(stage.sampling.steps for stage in ready),
            [
                *muted_before(cls.hidden.extra_pnginfo, run.node_id),
                *(f"Stage {stage.number}: {note}" for stage in ready for note in stage.notes),
            ],
        )
        made = render_stages(ready, progress, chain)
        return io.NodeOutput(made, ui=preview_of(made, progress))


NODES = [ChainStage]
