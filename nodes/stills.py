"""Render Stills: many prompts, one image each."""

from __future__ import annotations

import torch
from comfy.model_management import InterruptProcessingException
from comfy_api.latest import io, ui

from ..pipelines.bundle.model import VideoModel
from ..pipelines.document import read_prompts
from ..pipelines.errors import Refusal
from ..pipelines.sampling import SamplingSettings
from ..pipelines.stage import MAX_SEED
from ..pipelines.stills import render_stills
from .progress import NodeProgress
from .sizes import size_input, size_of
from .types import STAGE, ModelBundle, Sampling


class RenderStills(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeRenderStills",
            display_name="Render Stills",
            category=STAGE,
            description="Renders one image for each prompt with the model loaded once. A prompt that fails is "
            "reported and "
            "the others are rendered.",
            search_aliases=["text to image", "batch images", "keyframes"],
            inputs=[
                ModelBundle.Input("model", tooltip="A model that can render from text alone: t2v-14b or ti2v-5b."),
                io.String.Input(
                    "prompts",
                    multiline=True,
                    tooltip="One prompt a line, or a JSON list of texts. Lines that begin with # are left out.",
                ),
                io.String.Input(
                    "negative_prompt", multiline=True, tooltip="What to keep out. Has no effect where cfg is 1."
                ),
                size_input("the size the model was published with"),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Seed of the first image; it goes up by one from prompt to prompt.",
                ),
                Sampling.Input(
                    "sampling",
                    optional=True,
                    tooltip="From Wan Sampling or LTX-2 Sampling. Without it: the values the model was published with.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images"), io.String.Output(display_name="report")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        prompts: str,
        negative_prompt: str,
        size: dict,
        seed: int,
        sampling: SamplingSettings | None = None,
    ) -> io.NodeOutput:
        texts = read_prompts(prompts)
        steps = (sampling or model.variant.sampling).steps
        progress = NodeProgress(cls.hidden.unique_id, len(texts), steps * len(texts))
        stills = render_stills(
            texts,
            model,
            negative_prompt,
            *size_of(size),
            seed,
            sampling,
            progress,
            lambda error: isinstance(error, InterruptProcessingException),
        )
        report = "\n".join(
            f"{number}. seed {still.seed}: {still.error or 'rendered'} ({still.prompt})"
            for number, still in enumerate(stills, start=1)
        )
        images = [still.image for still in stills if still.image is not None]
        if not images:
            raise Refusal(f"no prompt could be rendered.\n{report}", field="prompts")
        return io.NodeOutput(torch.cat(images), report, ui=ui.PreviewText(report))


NODES = [RenderStills]
