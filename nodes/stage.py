"""Chain Stage: renders one clip behind a chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.bundle.model import VideoModel
from ..pipelines.chain import Chain as ChainValue
from ..pipelines.chain import Join, Length, Transition
from ..pipelines.errors import Refusal
from ..pipelines.families import Carry, Keyframe, Settings
from ..pipelines.render import render_stages
from ..pipelines.stage import MAX_SEED, Stage, check_stage
from ..pipelines.takes import store
from .lookahead import check_later_stages, count_later_stages
from .previews import preview_of
from .progress import NodeProgress
from .types import CATEGORY, Chain, Keyframes, ModelBundle, Sampling


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
                        "grid needs it, "
                        "and the film still ends exactly where asked.",
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
                    io.Int.Input(
                        "overlap",
                        default=0,
                        min=0,
                        max=1024,
                        tooltip="Frames of the stage before that this one is pinned to; they are shown once. 1, "
                        "5, 9, 13 ... "
                        "for Wan, 9, 17, 25 ... for LTX-2. 0: the model's usual overlap (Wan 5, LTX-2 17).",
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


def join_of(transition: dict, model: VideoModel, chain: ChainValue | None) -> Join:
    """The join that a transition input asks for; the first stage of a chain is a cut whatever it says."""
    if chain is None:
        return Join(Transition.CUT)
    return Join.of(
        Transition(transition["transition"]),
        transition.get("overlap") or model.variant.overlap,
        transition.get("fade_frames", 0),
    )


def length_of(length: dict) -> Length:
    if length["length"] == "seconds":
        return Length(seconds=length["seconds"])
    return Length(frames=length["frames"])


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


def check_sound(graph: Mapping[str, Any], node_id: str | None, soundtrack: dict | None) -> None:
    """Raise `Refusal` for a soundtrack that is connected and comes as nothing, as Get Video Components gives it."""
    if soundtrack is None and "soundtrack" in graph.get(node_id or "", {}).get("inputs", {}):
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
                    "end_image", optional=True, tooltip="Last frame, scaled and cropped by the same rule as the first."
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
            ],
            outputs=[Chain.Output(display_name="chain")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> int:
        # A chain that ComfyUI still holds may refer to a take that has been deleted since.
        return store.here().deletions()

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        prompt: str,
        negative_prompt: str,
        length: dict,
        width: int,
        height: int,
        seed: int,
        transition: dict,
        chain: ChainValue | None = None,
        start_image: torch.Tensor | None = None,
        end_image: torch.Tensor | None = None,
        anchor_image: torch.Tensor | None = None,
        sampling: Settings | None = None,
        take: int = 0,
        anchor_strength: float = 0.0,
        keyframes: tuple[Keyframe, ...] = (),
        soundtrack: dict | None = None,
    ) -> io.NodeOutput:
        stage = Stage(
            prompt=prompt,
            negative_prompt=negative_prompt,
            length=length_of(length),
            seed=seed,
            join=join_of(transition, model, chain),
            carry=Carry(transition.get("carry_over", Carry.PIXELS)),
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
        node_id, graph = cls.hidden.unique_id, cls.hidden.prompt or {}
        check_sound(graph, node_id, soundtrack)
        ready = check_stage(stage, model, chain)
        check_later_stages(graph, node_id, ready.behind(chain, model), model)
        progress = NodeProgress(
            node_id,
            ready.number + count_later_stages(graph, node_id),
            ready.sampling.steps,
            {ready.number: ready.clip.frames},
        )
        made = render_stages([ready], progress, chain)
        return io.NodeOutput(made, ui=preview_of(made, progress))


NODES = [ChainStage]
