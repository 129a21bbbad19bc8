"""Render Storyboard: a whole chain from one document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..host.graph import Run
from ..host.inputs import input_image, input_path, input_sound, state_of
from ..host.loras import lora_names, lora_path, state_of_loras
from ..host.progress import NodeProgress, say
from ..pipelines.errors import Refusal
from ..pipelines.lora.choice import LoraChoice
from ..pipelines.model.bundle import VideoModel
from ..pipelines.model.lora import apply_lora
from ..pipelines.model.shot import Keyframe
from ..pipelines.model.variant import Settings
from ..pipelines.stage.check import check_stages, format_of
from ..pipelines.stage.forecast import forecast
from ..pipelines.stage.render import render_stages
from ..pipelines.stage.stage import Stage
from ..pipelines.storyboard.plan import Plan, PlannedStage, plan
from ..pipelines.storyboard.storyboard import IMAGES, Storyboard
from ..pipelines.storyboard.text import parse
from ..pipelines.takes import store
from ..pipelines.timeline.clips import Length
from .stage import look_ahead
from .types import STAGE, Chain, ModelBundle, Sampling

if TYPE_CHECKING:
    from ..pipelines.media.pictures import Image

EXAMPLE = """{
  "schema": "longtake.storyboard.v1",
  "defaults": {"seconds": 5, "width": 832, "height": 480, "seed": 1},
  "stages": [
    {"prompt": "a red fox walks out of a snowy forest"},
    {"prompt": "the fox stops and looks up at the sky"},
    {"prompt": "the fox runs across a frozen lake"}
  ]
}"""


def stages_of(
    board: Storyboard, planned: Plan, start_image: torch.Tensor | None, sampling: Settings | None
) -> list[Stage]:
    """The stages of a planned storyboard. The sounds they name are read, each once; images when they are used.

    Args:
        start_image: for the first stage, in place of a file named in the document.
    """
    # A few: an image that many stages share is read once, and those of a thousand stages are not held.
    image, sound = lru_cache(4)(input_image), cache(input_sound)
    stages: list[Stage] = []
    latest: Image | None = None  # start image
    for number, one in enumerate(planned.stages, start=1):
        entry = one.entry

        def later(name: str, field: str, number: int = number) -> Image:
            with _named(number, field):
                input_path(name, "image")

            def read() -> torch.Tensor:
                with _named(number, field):
                    return image(name)

            return read

        named = {field: getattr(entry, field) for field in IMAGES}
        images = {field: None if name is None else later(name, field) for field, name in named.items()}
        if number == 1 and start_image is not None:
            if images["start_image"] is not None:
                raise Refusal(
                    "an image is connected and the document names one too; use one of them.",
                    stage=1,
                    field="start_image",
                )
            images["start_image"] = start_image
        if images["start_image"] is not None:
            latest = images["start_image"]
        if entry.anchor is not None:
            images["anchor_image"] = _anchor(latest, number)
        keyframes = tuple(Keyframe(later(key.image, "keyframes"), key.frame, key.strength) for key in entry.keyframes)
        with _named(number, "soundtrack"):
            soundtrack = None if entry.soundtrack is None else sound(entry.soundtrack)
        stages.append(replace(_stage(board, one, sampling), keyframes=keyframes, soundtrack=soundtrack, **images))
    return stages


def _anchor(latest: Image | None, number: int) -> Image:
    if latest is None:
        raise Refusal(
            "start_image is given, and no stage before it has one; name a start image, or an anchor_image.",
            stage=number,
            field="anchor",
        )
    return latest


def _stage(board: Storyboard, one: PlannedStage, sampling: Settings | None) -> Stage:
    """A stage without the files it names."""
    entry = one.entry
    return Stage(
        prompt=entry.prompt,
        negative_prompt=entry.negative_prompt,
        length=entry.length or Length(frames=one.clip.frames),
        seed=entry.seed,
        join=one.clip.join,
        width=board.width or 0,
        height=board.height or 0,
        sampling=sampling,
        take=entry.take or 0,
        anchor_strength=entry.anchor_strength or 0.0,
        image_strength=entry.image_strength,
    )


@contextmanager
def _named(number: int, field: str) -> Iterator[None]:
    """Let a refusal say which stage names the file."""
    try:
        yield
    except Refusal as refusal:
        raise refusal.at(stage=number, field=field) from None


def state_of_files(board: Storyboard) -> list[tuple[str, int, int]]:
    """What changes when a file that a storyboard names is exchanged for another of its name."""
    names: set[str | None] = set()
    loras: set[str] = set()
    for entry in board.stages:
        names |= {
            entry.soundtrack,
            *(getattr(entry, field) for field in IMAGES),
            *(key.image for key in entry.keyframes),
        }
        loras |= {name for choice in entry.loras for name in (choice.high, choice.low)}
    return [*(state_of(name) for name in sorted(name for name in names if name)), *state_of_loras(loras)]


def models_of(planned: Plan, model: VideoModel) -> tuple[list[VideoModel], dict[str, list[str]]]:
    """The bundle of each stage, with the LoRAs that the stage names on top of the bundle's own, and a report of them.

    Stages that name the same share one bundle, so that nothing is patched anew between them.
    """
    made: dict[tuple[LoraChoice, ...], VideoModel] = {(): model}
    lines: list[str] = []
    for number, stage in enumerate(planned.stages, start=1):
        choices = stage.entry.loras
        if choices in made:
            continue
        bundle = model
        try:
            for choice in choices:
                bundle, reports, remarks = apply_lora(bundle, choice, lora_names(), lora_path)
                lines += [*remarks, *(line for report in reports for line in report.lines())]
        except Refusal as refusal:
            raise refusal.at(stage=number) from None
        made[choices] = bundle
    return [made[stage.entry.loras] for stage in planned.stages], {"loras": lines} if lines else {}


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
            ],
            outputs=[Chain.Output(display_name="chain"), io.String.Output(display_name="plan")],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, storyboard: str | None = None, **_: Any) -> list[Any]:
        # A chain that ComfyUI still holds may refer to a take that has been deleted since, or to another file.
        deletions = store.here().deletions()
        try:
            return [deletions, *(state_of_files(parse(storyboard)) if storyboard else ())]
        except Refusal:
            return [deletions]

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        storyboard: str,
        validate_only: bool,
        sampling: Settings | None = None,
        start_image: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        board = parse(storyboard)
        planned = plan(board, format_of(model))
        stages = stages_of(board, planned, start_image, sampling)
        models, reports = models_of(planned, model)
        ready = check_stages(stages, models)
        answer = planned.as_json() | reports
        if validate_only:
            answer |= forecast(store.here(), ready)
        text = json.dumps(answer, indent=2, ensure_ascii=False)
        if validate_only:
            say(cls.hidden.unique_id, text)
            return io.NodeOutput(ExecutionBlocker(None), text, ui=ui.PreviewText(text))
        steps = sum(one.sampling.steps for one in ready)
        later = look_ahead(Run.of(cls.hidden), None, ready, model)
        frames = {stage.number: stage.clip.frames for stage in ready}
        progress = NodeProgress(cls.hidden.unique_id, len(ready) + later, steps, frames)
        chain = render_stages(store.here(), ready, progress)
        return io.NodeOutput(chain, text, ui=ui.PreviewText(text))


NODES = [RenderStoryboard]
