"""Wan Sampling: how Wan stages are denoised, where the published values are not wanted."""

from __future__ import annotations

import comfy.samplers
from comfy_api.latest import io

from ..pipelines.families.wan22_sampling import SamplingSettings, Split
from .types import AUTOMATIC, PUBLISHED, STAGE, Sampling


class WanSampling(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        shift = io.Float.Input(
            "value",
            default=5.0,
            min=0.01,
            max=100.0,
            step=0.01,
            tooltip="Higher values spend more steps on the layout.",
        )
        split = [
            io.DynamicCombo.Option(PUBLISHED, []),
            io.DynamicCombo.Option(
                Split.BOUNDARY.value,
                [
                    io.Float.Input(
                        "boundary",
                        default=0.9,
                        min=0.001,
                        max=1.0,
                        step=0.005,
                        tooltip="Sigma below which the low-noise expert takes over. Published: text to video 0.875, "
                        "image to video 0.9.",
                    )
                ],
            ),
            io.DynamicCombo.Option(
                Split.STEP.value,
                [
                    io.Int.Input(
                        "split_step",
                        default=2,
                        min=0,
                        max=1000,
                        tooltip="Steps the high-noise expert does; the rest is the low-noise one's.",
                    )
                ],
            ),
            io.DynamicCombo.Option(Split.SINGLE.value, []),
        ]
        return io.Schema(
            node_id="LongtakeWanSampling",
            display_name="Wan Sampling",
            category=STAGE,
            description="How Wan stages are denoised. Without this node a stage uses the values its model was "
            "published with.",
            search_aliases=["sampling settings", "steps", "cfg", "lightning settings", "boundary"],
            inputs=[
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=1000,
                    tooltip="Denoising steps over both experts. Lightning LoRAs: 4.",
                ),
                io.Float.Input(
                    "cfg_high",
                    default=3.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Guidance of the high-noise expert, or of the only model. 1 switches it off "
                    "(Lightning LoRAs).",
                ),
                io.Float.Input(
                    "cfg_low", default=3.5, min=0.0, max=100.0, step=0.1, tooltip="Guidance of the low-noise expert."
                ),
                io.DynamicCombo.Input(
                    "shift",
                    options=[io.DynamicCombo.Option(AUTOMATIC, []), io.DynamicCombo.Option("own", [shift])],
                    tooltip="Flow shift. Automatic: what the model is patched with, otherwise the published value "
                    "(Wan 2.2 text to video 12, image to video and 5B 5).",
                ),
                io.Combo.Input(
                    "sampler", options=comfy.samplers.KSampler.SAMPLERS, default="euler", tooltip="ComfyUI's samplers."
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.KSampler.SCHEDULERS,
                    default="simple",
                    tooltip="How the sigmas are spaced.",
                ),
                io.DynamicCombo.Input(
                    "expert_split",
                    options=split,
                    tooltip="Where the high-noise expert hands over: as published, at a boundary of your own, after a "
                    "step, or never.",
                ),
                io.Sampler.Input(
                    "custom_sampler",
                    optional=True,
                    tooltip="Takes the steps in the place of `sampler`, for example a Diffusers Scheduler.",
                ),
            ],
            outputs=[
                Sampling.Output(display_name="sampling", tooltip="For the sampling of every stage that is to use it.")
            ],
        )

    @classmethod
    def execute(
        cls,
        steps: int,
        cfg_high: float,
        cfg_low: float,
        shift: dict,
        sampler: str,
        scheduler: str,
        expert_split: dict,
        custom_sampler=None,
    ) -> io.NodeOutput:
        chosen = expert_split["expert_split"]
        settings = SamplingSettings(
            steps=steps,
            cfg_high=cfg_high,
            cfg_low=cfg_low,
            shift=shift.get("value"),
            sampler=sampler,
            scheduler=scheduler,
            split=Split.BOUNDARY if chosen == PUBLISHED else Split(chosen),
            boundary=expert_split.get("boundary"),
            split_step=expert_split.get("split_step", 0),
            custom=custom_sampler,
        )
        settings.check()
        return io.NodeOutput(settings)


NODES = [WanSampling]
