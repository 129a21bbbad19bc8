"""Denoising one stage by one model or two experts: settings, sigmas, the hand-over."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ..errors import Refusal
from ..sampling.span import Span, sample_span, with_values

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..model.shot import Shot


class Split(str, Enum):
    """Where the high-noise expert hands over to the low-noise one."""

    BOUNDARY = "boundary"  # at the first sigma below a value, as Wan 2.2 was published
    STEP = "step"  # after a number of steps
    SINGLE = "single model"  # never: one model does every step


@dataclass(frozen=True)
class SamplingSettings:
    """How a stage is denoised.

    Args:
        steps: number of denoising steps over both experts, 1 or more.
        cfg_high, cfg_low: classifier-free guidance of the high- and low-noise expert; 1 switches guidance off.
        shift: flow shift of the sigmas; None keeps the model's own patch or takes the published value.
        sampler, scheduler: ComfyUI's names.
        split: where the experts change over.
        boundary: sigma of the change-over, 0..1, for `Split.BOUNDARY`; None takes the published value.
        split_step: steps of the high-noise expert, for `Split.STEP`.
        custom: ComfyUI's SAMPLER, in the place of `sampler`.
    """

    steps: int
    cfg_high: float
    cfg_low: float
    shift: float | None = None
    sampler: str = "euler"
    scheduler: str = "simple"
    split: Split = Split.BOUNDARY
    boundary: float | None = None
    split_step: int = 0
    custom: Any = None

    def check(self) -> None:
        """Raise `Refusal` for values no sampler can work with."""
        if self.steps < 1:
            raise Refusal(f"{self.steps} given; at least 1 step is needed.", field="steps")
        for field in ("cfg_high", "cfg_low"):
            value = getattr(self, field)
            if not math.isfinite(value) or value < 0:
                raise Refusal(
                    f"{value} given; a number from 0 to 100 is needed (1 switches guidance off).", field=field
                )
        if self.shift is not None and not (math.isfinite(self.shift) and self.shift > 0):
            raise Refusal(f"{self.shift} given; a number above 0 is needed.", field="shift")
        if self.boundary is not None and not (math.isfinite(self.boundary) and 0 < self.boundary < 1):
            raise Refusal(f"{self.boundary} given; a sigma between 0 and 1 is needed.", field="boundary")
        if self.split is Split.STEP and not 0 <= self.split_step <= self.steps:
            raise Refusal(
                f"{self.split_step} given; with {self.steps} steps it must be 0 to {self.steps}.", field="split_step"
            )

    def filled(self, published: Any) -> SamplingSettings:
        """The same settings with what was left open taken from the published ones."""
        if not isinstance(published, SamplingSettings):
            raise Refusal(
                "Wan Sampling is for models with a high- and a low-noise expert; this bundle has a settings node "
                "of its own.",
                field="sampling",
            )
        return replace(self, boundary=self.boundary if self.boundary is not None else published.boundary)

    def with_image_strength(self, strength: float) -> SamplingSettings:
        if strength != 1:
            raise Refusal(
                f"{strength:g} given; this model keeps a start image as it is, and LTX-2 alone can let go of it. Leave "
                "it out.",
                field="image_strength",
            )
        return self

    def facts(self) -> dict[str, Any]:
        """What a take made with them remembers, as JSON values."""
        return {
            "steps": self.steps,
            "cfg": [self.cfg_high, self.cfg_low],
            "shift": self.shift,
            "sampler": self.sampler if self.custom is None else sampler_name(self.custom),
            "scheduler": self.scheduler,
        }


@dataclass(frozen=True)
class Start:
    """What a family hands to the sampler for one stage.

    Args:
        latent: `[B, C, T, H, W]` in VAE space, what denoising starts from.
        values: entries for both conditionings (ComfyUI's conditioning keys).
        noise_mask: `[B, 1, T, H, W]`, 0 keeps the latent, 1 generates; None generates everything.
        pinned: latent slots at the head that are known beforehand; previews look past them.
    """

    latent: torch.Tensor
    values: dict[str, Any]
    noise_mask: torch.Tensor | None = None
    pinned: int = 0


@dataclass(frozen=True)
class Expert:
    """A diffusion model and its guidance; the model is asked for only when it has steps to do."""

    model: Callable[[], ModelPatcher]
    cfg: float


def with_shift(model: ModelPatcher, shift: float | None, published: float | None) -> ModelPatcher:
    """A clone with the flow shift set; where `shift` is None, a model keeps the sampling patch that it carries."""
    if shift is None:
        if "model_sampling" in model.object_patches or published is None:
            return model
        shift = published
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    return ModelSamplingSD3().patch(model, shift)[0]


def high_noise_steps(sigmas: torch.Tensor, settings: SamplingSettings) -> int:
    """How many of the steps belong to the high-noise expert.

    Args:
        sigmas: `[steps + 1]`, falling from 1 to 0.
    """
    steps = len(sigmas) - 1
    if settings.split is Split.SINGLE:
        return steps
    if settings.split is Split.STEP:
        return settings.split_step
    if settings.boundary is None:
        raise Refusal("this model has no published boundary; choose a step instead.", field="boundary")
    return int((sigmas[:-1] >= settings.boundary).sum())


def denoise(experts: Sequence[Expert], start: Start, shot: Shot) -> torch.Tensor:
    """Denoise one stage and return its latent `[B, C, T, H, W]` in VAE space.

    The result equals, bit for bit, the stock graph of one KSampler, or of two KSamplerAdvanced nodes where the first
    returns leftover noise and the second adds none and has seed 0. Samplers with a memory lose it at the change-over,
    as they do there; a custom one that can go `over` all sigmas keeps it.

    Args:
        experts: one model, or the high-noise expert followed by the low-noise one.
    """
    settings, checkpoint = shot.settings, shot.checkpoint
    # A custom sampler may remember the first expert's steps in the second's, so they are gone through again.
    skipping = checkpoint if settings.custom is None else None
    finished, kept = (0, {}) if skipping is None else skipping.finished()
    latent, sampler = start.latent, None
    for number, (expert, first, last) in enumerate(_shares(experts, settings)):
        if number < finished:
            latent = _at_rest(kept["latent"])
            continue
        model = expert.model()
        sigmas = sigmas_of(model, settings)
        sampler = sampler or _sampler(settings, sigmas)
        if len(sigmas) <= first + 1:
            continue
        span = _span(number, first, sigmas[first : last + 1], latent, start, shot)
        guider_of = partial(_guider, cfg=expert.cfg)
        latent = _at_rest(sample_span(span, model, guider_of, sampler, shot.on_step, checkpoint))
        if skipping is not None:
            skipping.finish(number, {"latent": latent})
    return latent


def _span(number: int, first: int, sigmas: torch.Tensor, latent: torch.Tensor, start: Start, shot: Shot) -> Span:
    """The steps of one expert from step `first` on; all but the first of them go on from a latent without new noise."""
    return Span(
        number=number,
        latent=latent,
        sigmas=sigmas,
        positive=with_values(shot.positive, start.values),
        negative=with_values(shot.negative, start.values),
        seed=0 if number else shot.seed,
        noisy=number == 0,
        mask=start.noise_mask,
        before=first,
        slots=start.latent.shape[2],
        pinned=start.pinned,
    )


def _shares(experts: Sequence[Expert], settings: SamplingSettings) -> list[tuple[Expert, int, int]]:
    """The experts that have steps to do, each with its first step and the one it stops before."""
    change = settings.steps
    if len(experts) == 2:
        change = high_noise_steps(sigmas_of(experts[0].model(), settings), settings)
    shares = zip(experts, (0, change), (change, settings.steps), strict=False)
    return [(expert, first, last) for expert, first, last in shares if first < last]


def sigmas_of(model: ModelPatcher, settings: SamplingSettings) -> torch.Tensor:
    """The sigmas of all steps `[steps + 1]`, falling to 0, as ComfyUI's KSampler takes them.

    A scheduler may give fewer; one that gives more is cut after the last step.
    """
    from comfy.samplers import KSampler

    ksampler = KSampler(
        model,
        steps=settings.steps,
        device=model.load_device,
        # The name decides how many sigmas there are; a custom sampler takes them as they come.
        sampler=settings.sampler if settings.custom is None else "euler",
        scheduler=settings.scheduler,
        model_options=model.model_options,
    )
    sigmas = ksampler.sigmas[: settings.steps + 1]
    sigmas[-1] = 0
    return sigmas


def _sampler(settings: SamplingSettings, sigmas: torch.Tensor) -> Any:
    from comfy.samplers import sampler_object

    if settings.custom is None:
        return sampler_object(settings.sampler)
    return settings.custom.over(sigmas) if hasattr(settings.custom, "over") else settings.custom


def _guider(model: ModelPatcher, cfg: float) -> Any:
    from comfy.samplers import CFGGuider

    guider = CFGGuider(model)
    guider.set_cfg(cfg)
    return guider


def _at_rest(latent: torch.Tensor) -> torch.Tensor:
    """A latent as ComfyUI hands it from node to node."""
    from comfy.model_management import intermediate_device, intermediate_dtype

    return latent.to(device=intermediate_device(), dtype=intermediate_dtype())


def sampler_name(sampler: Any) -> str:
    """What a take remembers of a SAMPLER."""
    recipe = getattr(sampler, "identity", None)
    return str(recipe) if recipe is not None else getattr(sampler.sampler_function, "__name__", "a custom sampler")
