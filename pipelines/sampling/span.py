"""A span: a run of steps that one model takes in one go. What every family's denoising is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from .resume import Checkpoint

Conditioning = list[Any]  # ComfyUI's CONDITIONING
StepCallback = Callable[[int, Any], None]  # steps done so far, preview or None


@dataclass(frozen=True)
class Span:
    """One run of steps: an expert's share of a stage of Wan, or a pass of LTX-2.

    Args:
        number: its place in the stage, counted from 0.
        latent: what it begins with, `[B, C, T, H, W]` in VAE space, or ComfyUI's nested tensor of picture and sound.
        sigmas: `[steps + 1]`, falling.
        positive, negative: what its predictions are led by.
        seed: of its noise, and of the noise a sampler draws on the way.
        noisy: whether noise is added first; a span that goes on from the one before adds none.
        mask: as large as the latent or spread over it, 0 keeps it, 1 generates; None generates everything.
        before: steps of the stage that are done before it.
        slots: latent slots of the clip.
        pinned: those at its head that are known beforehand; previews look past them.
    """

    number: int
    latent: Any
    sigmas: torch.Tensor
    positive: Conditioning
    negative: Conditioning
    seed: int
    noisy: bool
    mask: Any | None
    before: int
    slots: int
    pinned: int


def sample_span(
    span: Span,
    model: ModelPatcher,
    guider_of: Callable[[ModelPatcher], Any],
    sampler: Any,
    on_step: StepCallback,
    checkpoint: Checkpoint | None,
) -> Any:
    """Take the steps of a span, as ComfyUI's samplers take them, and return its latent.

    Args:
        guider_of: ComfyUI's guider for the model, its guidance set.
        sampler: ComfyUI's SAMPLER.
        on_step: told after each step how many of the stage's steps are done.
        checkpoint: keeps the stage while it is being denoised.
    """
    import comfy.sample
    import comfy.utils

    guider = guider_of(model if checkpoint is None else checkpoint.watching(model, span.number))
    guider.set_conds(span.positive, span.negative)
    with own_random_state():
        # Even where the noise is not used: this also seeds the generators that a sampler may draw from, so that what
        # a span draws does not depend on whether those before it were sampled or had been kept.
        noise = comfy.sample.prepare_noise(span.latent, span.seed)
        return guider.sample(
            noise if span.noisy else torch.zeros_like(noise),
            span.latent,
            sampler,
            span.sigmas,
            denoise_mask=span.mask,
            callback=_preview_callback(model, span, on_step),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=span.seed,
        )


def with_values(conditioning: Conditioning, values: dict[str, Any]) -> Conditioning:
    if not values:
        return conditioning
    import node_helpers

    return node_helpers.conditioning_set_values(conditioning, values)


@contextmanager
def own_random_state() -> Iterator[None]:
    # ComfyUI's noise and some samplers seed torch's global generators; what others drew from them must not change.
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        yield


def shown_slot(slots: int, pinned: int) -> int:
    """The slot of a clip that previews show: halfway into what is being generated.

    A pinned one would show the same picture at every step.
    """
    return min(slots - 1, pinned + (slots - pinned) // 2)


def _preview_callback(model: ModelPatcher, span: Span, on_step: StepCallback) -> Callable[..., None]:
    """What a sampler tells after each step, as a step of the stage with a picture of how far it is."""
    import latent_preview

    previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
    shown = shown_slot(span.slots, span.pinned)

    def callback(step: int, x0: Any, x: Any, total: int) -> None:
        preview = None
        if previewer is not None:
            picture = x0.unbind()[0] if x0.is_nested else x0
            preview = previewer.decode_latent_to_preview_image("JPEG", picture[:, :, shown : shown + 1])
        on_step(span.before + step + 1, preview)

    return callback
