"""Render Storyboard: a whole chain from one document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..host.graph import Run
from ..host.inputs import InputFiles, state_of
from ..host.jobs import unfinished_until_rendered
from ..host.loras import lora_names, lora_path, state_of_loras
from ..host.previews import preview_of
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
                io.Boolean.Input(
                    "approve",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="A Run renders one stage and stops: it goes on to the next once somebody has said yes to "
                    "the take, on its card or over HTTP. Waiting takes no GPU, and outlasts a restart.",
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
    def fingerprint_inputs(cls, storyboard: str | None = None, approve: bool = False, **_: Any) -> list[Any]:
        from ..pipelines.storyboard.stages import files_named, loras_named
        from ..pipelines.storyboard.text import parse

        # A chain that ComfyUI still holds may refer to a take that has been deleted since, or to another file.
        tokens = [store.here().deletions(), store.here().approvals() if approve else 0]
        try:
            board = parse(storyboard or "")
        except Refusal:
            return tokens
        return [*tokens, *map(state_of, sorted(files_named(board))), *state_of_loras(loras_named(board))]

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        storyboard: str,
        validate_only: bool,
        sampling: Settings | None = None,
        start_image: torch.Tensor | None = None,
        stages: str = "",
        approve: bool = False,
    ) -> io.NodeOutput:
        from ..host.ahead import look_ahead
        from ..pipelines.stage.approval import stops_at
        from ..pipelines.stage.check import check_stages, format_of
        from ..pipelines.stage.forecast import forecast
        from ..pipelines.stage.keys import look_up
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
            answer |= forecast(store.here(), ready, chosen, approve)
            text = as_text(answer)
            say(cls.hidden.unique_id, text)
            return io.NodeOutput(ExecutionBlocker(None), text, ui=ui.PreviewText(text))
        run = Run.of(cls.hidden)
        later = look_ahead(run, None, ready, model)
        stop = stops_at(look_up(store.here(), ready), chosen) if approve else None
        if stop is not None:
            chosen = frozenset(number for number in chosen if number <= stop)
        rendered = [stage for stage in ready if stage.number in chosen]
        steps = sum(stage.sampling.steps for stage in rendered)
        frames = {stage.number: stage.clip.frames for stage in rendered}
        progress = NodeProgress(run.node_id, len(ready) + later, steps, frames)
        with unfinished_until_rendered(run, later + (stop is not None)):
            chain = render_stages(store.here(), ready, progress, chosen=chosen)
        if stop is not None:
            preview_of(replace(chain, links=chain.links[:stop]), progress, even_stored=True)
            answer["waits"] = progress.waiting(stop, chain.links[stop - 1].rendered.key)
        text = as_text(answer)
        whole = chain.rendered and stop is None
        return io.NodeOutput(chain if whole else ExecutionBlocker(None), text, ui=ui.PreviewText(text))


def as_text(answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, indent=2, ensure_ascii=False)


NODES = [RenderStoryboard]
