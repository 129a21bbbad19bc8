"""Render Storyboard: a whole chain from one document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..host.graph import Run
from ..host.inputs import InputFiles, state_of
from ..host.loras import lora_names, lora_path, state_of_loras
from ..host.progress import NodeProgress, say
from ..pipelines.errors import Refusal
from ..pipelines.takes import store
from .types import STAGE, Chain, ModelBundle, Sampling

if TYPE_CHECKING:
    import torch

    from ..pipelines.model.bundle import VideoModel
    from ..pipelines.model.variant import Settings

EXAMPLE = """{
  "schema": "longtake.storyboard.v1",
  "defaults": {"seconds": 5, "width": 832, "height": 480, "seed": 1},
  "stages": [
    {"prompt": "a red fox walks out of a snowy forest"},
    {"prompt": "the fox stops and looks up at the sky"},
    {"prompt": "the fox runs across a frozen lake"}
  ]
}"""


class RenderStoryboard(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeRenderStoryboard",
            display_name="Render Storyboard",
            category=STAGE,
            description="Renders a whole chain from one document, the same way as stages wired by hand. All "
            "prompts are "
            "read first, so that the text encoder is loaded once.",
            search_aliases=[
                "film",
                "movie",
                "long video",
                "image to video",
                "text to video",
                "script",
                "multi prompt",
                "scenes",
            ],
            inputs=[
                ModelBundle.Input("model", tooltip="The model that renders every stage."),
                io.String.Input(
                    "storyboard",
                    multiline=True,
                    default=EXAMPLE,
                    tooltip="JSON or TOML (schema longtake.storyboard.v1, or a mold.chain.v1 script), or plain "
                    "text with one "
                    "prompt a line.",
                ),
                io.Boolean.Input(
                    "validate_only",
                    default=False,
                    tooltip="Only answer with the plan: stages, frames, seconds. Nothing is loaded or rendered.",
                ),
                Sampling.Input(
                    "sampling",
                    optional=True,
                    tooltip="From Wan Sampling or LTX-2 Sampling. Without it: the values the model was published with.",
                ),
                io.Image.Input(
                    "start_image",
                    optional=True,
                    tooltip="First frame of the film, in place of an image named in the document.",
                ),
                io.String.Input(
                    "stages",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Render only these, as in 5, 2-4 or 1, 5-6; empty: all. The film goes on to the next "
                    "nodes once every stage of it is stored.",
                ),
            ],
            outputs=[
                Chain.Output(display_name="chain", tooltip="All stages, rendered, for Stitch Chain or a Chain Stage."),
                io.String.Output(display_name="plan", tooltip="What is rendered and what is stored, stage by stage."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, storyboard: str | None = None, **_: Any) -> list[Any]:
        from ..pipelines.storyboard.stages import files_named, loras_named
        from ..pipelines.storyboard.text import parse

        # A chain that ComfyUI still holds may refer to a take that has been deleted since, or to another file.
        deletions = store.here().deletions()
        try:
            board = parse(storyboard or "")
        except Refusal:
            return [deletions]
        return [deletions, *map(state_of, sorted(files_named(board))), *state_of_loras(loras_named(board))]

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        storyboard: str,
        validate_only: bool,
        sampling: Settings | None = None,
        start_image: torch.Tensor | None = None,
        stages: str = "",
    ) -> io.NodeOutput:
        from ..host.ahead import look_ahead
        from ..pipelines.stage.check import check_stages, format_of
        from ..pipelines.stage.forecast import forecast
        from ..pipelines.stage.render import render_stages
        from ..pipelines.storyboard.plan import plan
        from ..pipelines.storyboard.selection import stages_chosen
        from ..pipelines.storyboard.stages import models_of, stages_of
        from ..pipelines.storyboard.text import parse

        board = parse(storyboard)
        planned = plan(board, format_of(model))
        chosen = stages_chosen(stages, len(planned.stages))
        models, loras = models_of(planned, model, lora_names(), lora_path)
        ready = check_stages(stages_of(board, planned, InputFiles(), start_image, sampling), models)
        answer = planned.as_json() | ({"loras": loras} if loras else {})
        if validate_only:
            answer |= forecast(store.here(), ready, chosen)
        text = json.dumps(answer, indent=2, ensure_ascii=False)
        if validate_only:
            say(cls.hidden.unique_id, text)
            return io.NodeOutput(ExecutionBlocker(None), text, ui=ui.PreviewText(text))
        later = look_ahead(Run.of(cls.hidden), None, ready, model)
        rendered = [stage for stage in ready if stage.number in chosen]
        steps = sum(stage.sampling.steps for stage in rendered)
        frames = {stage.number: stage.clip.frames for stage in rendered}
        progress = NodeProgress(cls.hidden.unique_id, len(ready) + later, steps, frames)
        chain = render_stages(store.here(), ready, progress, chosen=chosen)
        return io.NodeOutput(chain if chain.rendered else ExecutionBlocker(None), text, ui=ui.PreviewText(text))


NODES = [RenderStoryboard]
