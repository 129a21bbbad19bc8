"""Stills: many prompts, one image each, from a video model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .chain import Join, Length
from .errors import Refusal
from .stage import MAX_SEED, Ready, Stage, check_stage, encode_prompts, render_latents

if TYPE_CHECKING:
    import torch

    from .bundle.model import VideoModel
    from .progress import Progress
    from .sampling import SamplingSettings


@dataclass(frozen=True)
class Still:
    """What became of one prompt.

    Args:
        image: `[1, H, W, 3]` in 0..1, or None if it failed.
        error: why it failed, or None.
    """

    prompt: str
    seed: int
    image: torch.Tensor | None
    error: str | None


def read_prompts(text: str) -> list[object]:
    """Prompts of a text: a JSON list, or one a line; blank lines are skipped.

    The entries of a JSON list are returned as they are, so that one that is no text can be reported by its place.

    Raises:
        Refusal: no prompt is left, or a list that is not JSON.
    """
    text = text.strip()
    if text.startswith("["):
        try:
            prompts = json.loads(text)
        except json.JSONDecodeError as error:
            raise Refusal(
                f"the list of prompts is not JSON: {error.msg} in line {error.lineno}, column {error.colno}.",
                field="prompts",
            ) from None
    else:
        prompts = [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts:
        raise Refusal("no prompt given; write one a line, or a JSON list.", field="prompts")
    return prompts


def render_stills(
    prompts: Sequence[object],
    model: VideoModel,
    negative_prompt: str,
    width: int,
    height: int,
    seed: int,
    sampling: SamplingSettings | None,
    progress: Progress,
    is_cancel: Callable[[Exception], bool],
) -> list[Still]:
    """One image for each prompt, in order; a prompt that fails is reported and the others are rendered.

    The seed goes up by one from prompt to prompt.

    Args:
        is_cancel: tells an exception by which the person stopped the render; it is passed on.
    """
    seeds = [(seed + index) % (MAX_SEED + 1) for index in range(len(prompts))]
    outcomes: list[Still | Ready] = []
    for prompt, own_seed in zip(prompts, seeds, strict=True):
        if not isinstance(prompt, str) or not prompt.strip():
            outcomes.append(Still(str(prompt), own_seed, None, f"{prompt!r} is not a prompt"))
            continue
        stage = Stage(
            prompt, negative_prompt, Length(frames=1), own_seed, Join(), width=width, height=height, sampling=sampling
        )
        outcomes.append(check_stage(stage, model, None))
    ready = [one for one in outcomes if isinstance(one, Ready)]
    conditionings = iter(encode_prompts(ready, progress))
    stills = []
    for number, one in enumerate(outcomes, start=1):
        if isinstance(one, Ready):
            progress.stage(number)
            one = _render(one, model, *next(conditionings), progress, is_cancel)
        stills.append(one)
    return stills


def _render(
    ready: Ready,
    model: VideoModel,
    positive: list,
    negative: list,
    progress: Progress,
    is_cancel: Callable[[Exception], bool],
) -> Still:
    prompt, seed = ready.stage.prompt, ready.stage.seed
    try:
        tensors = render_latents(ready, model, None, positive, negative, progress)
        image = model.family.decode(model, tensors["latent"])
    except Exception as error:
        if is_cancel(error):
            raise
        return Still(prompt, seed, None, f"{type(error).__name__}: {error}")
    return Still(prompt, seed, image[:1].float().cpu(), None)
