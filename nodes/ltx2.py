"""LTX-2 Sampling: how LTX-2 stages are denoised, where the published values are not wanted."""

from __future__ import annotations

import comfy.samplers
from comfy_api.latest import io

from ..pipelines.errors import Refusal
from ..pipelines.families.ltx2_sampling import SECOND_SIGMAS, Guidance, Ltx2Sampling
from .types import PUBLISHED, STAGE, Sampling


def read_sigmas(text: str, field: str) -> tuple[float, ...]:
    """Numbers of a text, separated by commas or spaces."""
    try:
        return tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise Refusal(f"{text!r} given; numbers separated by commas are needed.", field=field) from None


def _schedule_input() -> io.DynamicCombo.Input:
    steps = io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Steps of the dev models' own schedule.")
    sigmas = io.String.Input(
        "sigmas",
        default="1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0",
        tooltip="Falling from at most 1 to 0; the distilled models' own are shown.",
    )
    return io.DynamicCombo.Input(
        "schedule",
        options=[
            io.DynamicCombo.Option(PUBLISHED, []),
            io.DynamicCombo.Option("steps", [steps]),
            io.DynamicCombo.Option("sigmas", [sigmas]),
        ],
        tooltip="As published: eight given sigmas for distilled models, a computed schedule for dev.",
    )


def _guidance_input() -> io.DynamicCombo.Input:
    def number(name: str, default: float, most: float, tooltip: str) -> io.Float.Input:
        return io.Float.Input(name, default=default, min=0.0, max=most, step=0.05, tooltip=tooltip)

    own = [
        number("cfg", 3.0, 100.0, "Away from the negative prompt, in the picture. 1: off."),
        number("cfg_audio", 7.0, 100.0, "Away from the negative prompt, in the sound. 1: off."),
        number("stg", 1.0, 100.0, "Away from the same without one block's self-attention. 0: off."),
        io.Int.Input("stg_block", default=29, min=0, max=1000, tooltip="That block: 29 in LTX-2.0, 28 in 2.3."),
        number("modality", 3.0, 100.0, "Away from picture and sound that do not look at each other. 1: off."),
        number("rescale", 0.7, 1.0, "How far the spread is brought back to that without guidance. 0: not."),
    ]
    return io.DynamicCombo.Input(
        "guidance",
        options=[
            io.DynamicCombo.Option(PUBLISHED, []),
            io.DynamicCombo.Option("off", []),
            io.DynamicCombo.Option("own", own),
        ],
        tooltip="Of the first pass; each term that is on costs a forward pass a step. Distilled models use none.",
    )


def _second_pass_input() -> io.DynamicCombo.Input:
    sigmas = io.String.Input(
        "second_sigmas",
        default=", ".join(map(str, SECOND_SIGMAS)),
        tooltip="Falling to 0. ComfyUI's templates for 2.3 begin at 0.85.",
    )
    return io.DynamicCombo.Input(
        "second_pass",
        options=[
            io.DynamicCombo.Option(PUBLISHED, []),
            io.DynamicCombo.Option("off", []),
            io.DynamicCombo.Option("sigmas", [sigmas]),
        ],
        tooltip="Refining at full size what the first pass made at half. As published: on where the bundle has a "
        "latent upscaler.",
    )


def _compression_input() -> io.DynamicCombo.Input:
    crf = io.Int.Input("crf", default=33, min=0, max=51, tooltip="As x264 counts it. 0: not at all.")
    return io.DynamicCombo.Input(
        "image_compression",
        options=[io.DynamicCombo.Option(PUBLISHED, []), io.DynamicCombo.Option("own", [crf])],
        tooltip="How strongly given images are compressed first: a pristine still makes the model hold still. As "
        "published: crf 33, in 2.3 18.",
    )


class Ltx2SamplingNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLtx2Sampling",
            display_name="LTX-2 Sampling",
            category=STAGE,
            description="How LTX-2 stages are denoised. Without this node a stage uses the values its model was "
            "published with.",
            search_aliases=["ltx sigmas", "stg", "multimodal guider", "ltx cfg"],
            inputs=[
                _schedule_input(),
                _guidance_input(),
                io.Combo.Input(
                    "sampler", options=comfy.samplers.KSampler.SAMPLERS, default="euler", tooltip="ComfyUI's samplers."
                ),
                _second_pass_input(),
                _compression_input(),
                io.Float.Input(
                    "image_strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How firmly the first pass keeps a start image. Templates for 2.3 use 0.7. The overlap of "
                    "a smooth stage is always kept to the bit.",
                ),
            ],
            outputs=[
                Sampling.Output(display_name="sampling", tooltip="For the sampling of every stage that is to use it.")
            ],
        )

    @classmethod
    def execute(
        cls,
        schedule: dict,
        guidance: dict,
        sampler: str,
        second_pass: dict,
        image_compression: dict,
        image_strength: float,
    ) -> io.NodeOutput:
        sigmas: tuple[float, ...] | None = None
        if schedule["schedule"] == "sigmas":
            sigmas = read_sigmas(schedule["sigmas"], "sigmas")
            if not sigmas:
                raise Refusal("no sigmas are given; two or more are needed.", field="sigmas")
        elif schedule["schedule"] == "steps":
            sigmas = ()
        terms = {"off": Guidance(), PUBLISHED: None}
        own = {name: value for name, value in guidance.items() if name != "guidance"}
        refining = second_pass["second_pass"]
        second: tuple[float, ...] | None = None if refining == PUBLISHED else ()
        if refining == "sigmas":
            second = read_sigmas(second_pass["second_sigmas"], "second_sigmas")
        settings = Ltx2Sampling(
            sigmas=sigmas,
            schedule_steps=schedule.get("steps", 0),
            guidance=terms[guidance["guidance"]] if guidance["guidance"] in terms else Guidance(**own),
            sampler=sampler,
            second_sigmas=second,
            image_crf=image_compression.get("crf"),
            image_strength=image_strength,
        )
        settings.check()
        return io.NodeOutput(settings)


NODES = [Ltx2SamplingNode]
