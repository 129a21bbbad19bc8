"""Denoising one stage: sigmas, the hand-over between experts, progress and previews."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from .errors import Refusal

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from .takes.resume import Checkpoint

Conditioning = list[Any]  # ComfyUI's CONDITIONING
StepCallback = Callable[[int, Any], None]  # steps done so far, preview or None


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
            raise Refusal(
                f"{self.shift} given; a number above 0 is needed, or 0 for the published value.", field="shift"
            )
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
                "Sampling Settings are for models with a high- and a low-noise expert; this bundle has a settings node "
                "of its own.",
                field="sampling",
            )
        return replace(self, boundary=self.boundary if self.boundary is not None else published.boundary)

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
    """A clone with the flow shift set; a model that already carries a sampling patch keeps it unless `shift` is given.

    The patch is the one of ComfyUI's ModelSamplingSD3 node, so that both paths give the same sigmas.
    """
    if shift is None:
        if "model_sampling" in model.object_patches or published is None:
            return model
        shift = published
    from comfy.model_sampling import CONST, ModelSamplingDiscreteFlow

    class ShiftedFlow(ModelSamplingDiscreteFlow, CONST):
        pass

    sampling = ShiftedFlow(model.model.model_config)
    sampling.set_parameters(shift=shift, multiplier=1000)
    original = model.get_model_object("model_sampling")
    if hasattr(original, "noise_scale"):
        sampling.set_noise_scale(original.noise_scale)
    shifted = model.clone()
    shifted.add_object_patch("model_sampling", sampling)
    return shifted


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


def denoise(
    experts: Sequence[Expert],
    start: Start,
    positive: Conditioning,
    negative: Conditioning,
    settings: SamplingSettings,
    seed: int,
    on_step: StepCallback,
    checkpoint: Checkpoint | None = None,
) -> torch.Tensor:
    """Denoise one stage and return its latent `[B, C, T, H, W]` in VAE space.

    The result equals, bit for bit, the stock graph of one KSampler, or of two KSamplerAdvanced nodes where the first
    returns leftover noise and the second adds none and has seed 0. Samplers with a memory lose it at the change-over,
    as they do there; a custom one that can go `over` all sigmas keeps it.

    Args:
        experts: one model, or the high-noise expert followed by the low-noise one.
        on_step: told after each step how many of all steps are done.
        checkpoint: keeps the stage while it is being denoised, where its sampler allows that.
    """
    import comfy.model_management
    import comfy.sample
    import comfy.utils

    if settings.custom is not None:
        # What it remembers of the steps before is nowhere kept.
        checkpoint = None
    positive = with_values(positive, start.values)
    negative = with_values(negative, start.values)
    with own_random_state():
        noise = comfy.sample.prepare_noise(start.latent, seed)
        change = settings.steps
        if len(experts) == 2:
            change = high_noise_steps(_ksampler(experts[0].model(), settings).sigmas, settings)
        run = None
        latent = start.latent
        for span, (expert, first, last) in enumerate(zip(experts, (0, change), (change, settings.steps), strict=False)):
            if first == last:
                continue
            done = None if checkpoint is None else checkpoint.after(span)
            if done is not None:
                latent, noise, seed = done, torch.zeros_like(noise), 0
                continue
            model = expert.model()
            if checkpoint is not None and checkpoint.able(model, settings.sampler):
                model = checkpoint.watching(model, span, latent)
            ksampler = _ksampler(model, settings)
            if settings.custom is not None and run is None:
                run = _begun(settings.custom, ksampler.sigmas)
            sample = ksampler.sample if run is None else partial(_sample_with, run, ksampler)
            latent = sample(
                noise,
                positive,
                negative,
                cfg=expert.cfg,
                latent_image=latent,
                start_step=first,
                last_step=last,
                force_full_denoise=last == settings.steps,
                denoise_mask=start.noise_mask,
                callback=preview_callback(model, start.latent.shape[2], start.pinned, first, on_step),
                disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
                seed=seed,
            )
            latent = latent.to(
                device=comfy.model_management.intermediate_device(), dtype=comfy.model_management.intermediate_dtype()
            )
            noise, seed = torch.zeros_like(noise), 0
        return latent


def _ksampler(model: ModelPatcher, settings: SamplingSettings) -> Any:
    from comfy.samplers import KSampler

    return KSampler(
        model,
        steps=settings.steps,
        device=model.load_device,
        # The name decides how many sigmas there are; a custom sampler takes them as they come.
        sampler=settings.sampler if settings.custom is None else "euler",
        scheduler=settings.scheduler,
        model_options=model.model_options,
    )


def _begun(custom: Any, sigmas: torch.Tensor) -> Any:
    return custom.over(sigmas) if hasattr(custom, "over") else custom


def _sample_with(
    sampler: Any,
    ksampler: Any,
    noise: torch.Tensor,
    positive: Conditioning,
    negative: Conditioning,
    *,
    start_step: int,
    last_step: int,
    force_full_denoise: bool,
    cfg: float,
    **options: Any,
) -> torch.Tensor:
    """ComfyUI's KSampler.sample with a SAMPLER in the place of a name."""
    from comfy.samplers import sample

    sigmas = ksampler.sigmas[start_step : last_step + 1]
    return sample(
        ksampler.model,
        noise,
        positive,
        negative,
        cfg,
        ksampler.device,
        sampler,
        sigmas,
        ksampler.model_options,
        **options,
    )


def sampler_name(sampler: Any) -> str:
    """What a take remembers of a SAMPLER."""
    recipe = getattr(sampler, "identity", None)
    return str(recipe) if recipe is not None else getattr(sampler.sampler_function, "__name__", "a custom sampler")


def preview_callback(
    model: ModelPatcher, slots: int, pinned: int, first: int, on_step: StepCallback
) -> Callable[..., None]:
    """What a sampler tells after each step, as a step of the stage with a picture of how far it is.

    Args:
        slots: latent slots of the clip.
        pinned: those at its head that are known beforehand.
        first: steps of the stage that were done before this sampler.
    """
    import latent_preview

    previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
    # Halfway into what is being generated: a pinned slot would show the same picture at every step.
    shown = min(slots - 1, pinned + (slots - pinned) // 2)

    def callback(step: int, x0: Any, x: Any, total: int) -> None:
        preview = None
        if previewer is not None:
            picture = x0.unbind()[0] if x0.is_nested else x0
            preview = previewer.decode_latent_to_preview_image("JPEG", picture[:, :, shown : shown + 1])
        on_step(first + step + 1, preview)

    return callback


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
