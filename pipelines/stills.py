"""Stills: many prompts, one image each, from a video model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .chain import Join, Length
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


def render_stills(
    prompts: Sequence[str],
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
    ready: list[Ready] = []
    for prompt, own_seed in zip(prompts, seeds, strict=True):
        stage = Stage(
            prompt, negative_prompt, Length(frames=1), own_seed, Join(), width=width, height=height, sampling=sampling
        )
        ready.append(check_stage(stage, model, None))
    stills = []
    conditionings = encode_prompts(ready, progress)
    for number, (one, conditioning) in enumerate(zip(ready, conditionings, strict=True), start=1):
        progress.stage(number)
        stills.append(_render(one, model, *conditioning, progress, is_cancel))
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
