"""Sampling Settings: how stages are denoised, where the published values are not wanted."""

from __future__ import annotations

import comfy.samplers
from comfy_api.latest import io

from ..pipelines.sampling import SamplingSettings, Split
from .types import CATEGORY, Sampling


class SamplingSettingsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        split = [
            io.DynamicCombo.Option(
                Split.BOUNDARY.value,
                [
                    io.Float.Input(
                        "boundary",
                        default=0.0,
                        min=0.0,
                        max=1.0,
                        step=0.005,
                        tooltip="Sigma below which the low-noise expert takes over. 0: the published value "
                        "(Wan 2.2 text to video 0.875, image to video 0.9).",
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
            node_id="LongtakeSamplingSettings",
            display_name="Sampling Settings",
            category=CATEGORY,
            description="How stages are denoised. Without this node a stage uses the values its model was "
            "published with.",
            search_aliases=["steps", "cfg", "lightning settings", "boundary"],
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
                io.Float.Input(
                    "shift",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.01,
                    tooltip="Flow shift. 0: what the model is patched with, otherwise the published value "
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
                    tooltip="Where the high-noise expert hands over: at a boundary (as published), after a "
                    "step, or never.",
                ),
                io.Sampler.Input(
                    "custom_sampler",
                    optional=True,
                    tooltip="Takes the steps in the place of `sampler`, for example a Diffusers Scheduler.",
                ),
            ],
            outputs=[Sampling.Output(display_name="sampling")],
        )

    @classmethod
    def execute(
        cls,
        steps: int,
        cfg_high: float,
        cfg_low: float,
        shift: float,
        sampler: str,
        scheduler: str,
        expert_split: dict,
        custom_sampler=None,
    ) -> io.NodeOutput:
        settings = SamplingSettings(
            steps=steps,
            cfg_high=cfg_high,
            cfg_low=cfg_low,
            shift=shift if shift != 0 else None,
            sampler=sampler,
            scheduler=scheduler,
            split=Split(expert_split["expert_split"]),
            boundary=expert_split.get("boundary") or None,
            split_step=expert_split.get("split_step", 0),
            custom=custom_sampler,
        )
        settings.check()
        return io.NodeOutput(settings)


NODES = [SamplingSettingsNode]
