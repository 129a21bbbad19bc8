"""How LTX-2 is denoised: its sigmas, its guidance of picture and sound apart, and one pass over both."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from ..errors import Refusal
from ..sampling.span import Span, sample_span, with_values

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..model.bundle import VideoModel
    from ..model.shot import Shot
    from .ltx2_canvas.canvas import Canvas

# ltx_pipelines/utils/constants.py of the LTX-2 release.
DISTILLED_SIGMAS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
SECOND_SIGMAS = (0.909375, 0.725, 0.421875, 0.0)


@dataclass(frozen=True)
class Guidance:
    """How far a prediction is pushed; a term that is off costs no forward pass.

    Args:
        cfg, cfg_audio: away from the negative prompt, for picture and sound; 1 is off.
        stg: away from the same prediction without the self-attention of one block; 0 is off.
        stg_block: that transformer block, counted from 0.
        modality: away from picture and sound predicted without a look at each other; 1 is off.
        rescale: 0..1, how far the result is brought back to the spread it had without guidance.
    """

    cfg: float = 1.0
    cfg_audio: float = 1.0
    stg: float = 0.0
    stg_block: int = 29
    modality: float = 1.0
    rescale: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether ComfyUI's own guider does the same."""
        return self.cfg == self.cfg_audio and self.stg == 0 and self.modality == 1 and self.rescale == 0


@dataclass(frozen=True)
class Ltx2Sampling:
    """How an LTX-2 stage is denoised.

    Args:
        sigmas: schedule of the first pass, falling to 0; empty computes it for `schedule_steps` steps, None takes the
            published schedule.
        schedule_steps: steps of a computed schedule.
        guidance: of the first pass; the second has none. None takes the published values.
        sampler: ComfyUI's name.
        second_sigmas: schedule of the second pass; empty for one pass, None takes what the bundle was made for.
        image_crf: how strongly images are compressed before they are encoded, as an H.264 crf; 0 is not at all, None
            is the published value. The model was trained on video, and a pristine still makes it hold still.
        image_strength: how firmly the first pass keeps a start image, 0..1.
    """

    sigmas: tuple[float, ...] | None = None
    schedule_steps: int = 0
    guidance: Guidance | None = None
    sampler: str = "euler"
    second_sigmas: tuple[float, ...] | None = None
    image_crf: int | None = None
    image_strength: float = 1.0

    @property
    def steps(self) -> int:
        first = len(self.sigmas) - 1 if self.sigmas else self.schedule_steps
        return first + max(0, len(self.second_sigmas or ()) - 1)

    def check(self) -> None:
        """Raise `Refusal` for values no sampler can work with; what is still open is not looked at."""
        if self.sigmas == () and self.schedule_steps < 1:
            raise Refusal(f"{self.schedule_steps} given; at least 1 step is needed.", field="steps")
        for field, sigmas in (("sigmas", self.sigmas or ()), ("second_sigmas", self.second_sigmas or ())):
            _check_sigmas(sigmas, field)
        guidance = self.guidance or Guidance()
        for field in ("cfg", "cfg_audio", "stg", "modality"):
            value = getattr(guidance, field)
            if not math.isfinite(value) or value < 0:
                raise Refusal(f"{value} given; a number of 0 or more is needed.", field=field)
        for field, value in (("rescale", guidance.rescale), ("image_strength", self.image_strength)):
            if not 0 <= value <= 1:
                raise Refusal(f"{value} given; a number from 0 to 1 is needed.", field=field)

    def filled(self, published: Any) -> Ltx2Sampling:
        """The same settings with what was left open taken from the published ones."""
        if not isinstance(published, Ltx2Sampling):
            raise Refusal(
                "LTX-2 Sampling is for LTX-2; this bundle takes Wan Sampling, or none for its published values.",
                field="sampling",
            )
        filled = self
        if self.sigmas is None:
            filled = replace(filled, sigmas=published.sigmas, schedule_steps=published.schedule_steps)
        for field in ("guidance", "second_sigmas", "image_crf"):
            if getattr(self, field) is None:
                filled = replace(filled, **{field: getattr(published, field)})
        return replace(filled, second_sigmas=filled.second_sigmas or ())

    def with_image_strength(self, strength: float) -> Ltx2Sampling:
        return replace(self, image_strength=strength)

    def facts(self) -> dict[str, Any]:
        """What a take made with them remembers, as JSON values."""
        guidance = self.guidance or Guidance()
        return {
            "steps": self.steps,
            "sigmas": list(self.sigmas or ()),
            "second_sigmas": list(self.second_sigmas or ()),
            "cfg": [guidance.cfg, guidance.cfg_audio],
            "stg": [guidance.stg, guidance.stg_block],
            "modality": guidance.modality,
            "rescale": guidance.rescale,
            "sampler": self.sampler,
            "image_crf": self.image_crf,
            "image_strength": self.image_strength,
        }


def _check_sigmas(sigmas: tuple[float, ...], field: str) -> None:
    falling = all(a > b for a, b in pairwise(sigmas))
    if sigmas and not (len(sigmas) > 1 and falling and sigmas[0] <= 1 and sigmas[-1] == 0):
        raise Refusal(
            f"{', '.join(map(str, sigmas))} given; sigmas fall from at most 1 to 0, two or more of them.", field=field
        )


def computed_sigmas(steps: int, clip: torch.Tensor) -> torch.Tensor:
    """The schedule of the dev models `[steps + 1]` for a clip `[1, 128, T, h, w]`.

    Shifted by 0.95 at 1024 and 2.05 at 4096 latent pixels, then stretched to end at 0.1 before 0: the published values,
    and the defaults of ComfyUI's node.
    """
    from comfy_extras.nodes_lt import LTXVScheduler

    return LTXVScheduler.execute(steps, 2.05, 0.95, True, 0.1, {"samples": clip})[0]


@dataclass(frozen=True)
class Pass:
    """How one pass is denoised.

    Args:
        number: 0 for the first, 1 for the second.
        sigmas: `[steps + 1]`.
        before: steps of the stage that are done before it.
    """

    number: int
    sigmas: torch.Tensor
    guidance: Guidance
    before: int = 0


def denoise_pass(model: ModelPatcher, canvas: Canvas, run: Pass, shot: Shot) -> dict[str, torch.Tensor]:
    """One pass over picture and sound; equals ComfyUI's SamplerCustomAdvanced bit for bit where guidance is plain.

    Returns:
        `latent` `[1, 128, T, h, w]`, guides cropped, and `audio` `[1, 8, Ta, 16]` where there is sound.
    """
    from comfy.model_management import intermediate_device
    from comfy.samplers import sampler_object

    span = Span(
        number=run.number,
        latent=canvas.nested,
        sigmas=run.sigmas,
        positive=with_values(shot.positive, canvas.values),
        negative=with_values(shot.negative, canvas.values),
        seed=shot.seed,
        noisy=True,
        mask=canvas.mask,
        before=run.before,
        slots=canvas.video.shape[2] - canvas.guides,
        pinned=canvas.pinned,
    )
    sampled = sample_span(
        span,
        model,
        partial(guider_for, canvas=canvas, guidance=run.guidance),
        sampler_object(shot.settings.sampler),
        shot.on_step,
        shot.checkpoint,
    )
    video, audio = canvas.split(sampled.to(intermediate_device()))
    latents = {"latent": video} if audio is None else {"latent": video, "audio": audio}
    if shot.checkpoint is not None:
        shot.checkpoint.finish(run.number, latents)
    return latents


def first_pass(model: VideoModel, canvas: Canvas, shot: Shot) -> dict[str, torch.Tensor]:
    """The pass that a stage begins with, or has alone; returns what `denoise_pass` does."""
    settings = shot.settings
    clip = canvas.video[:, :, : canvas.video.shape[2] - canvas.guides]
    sigmas = torch.tensor(settings.sigmas) if settings.sigmas else computed_sigmas(settings.schedule_steps, clip)
    return denoise_pass(model.high.get(), canvas, Pass(0, sigmas, settings.guidance or Guidance()), shot)


def guider_for(model: ModelPatcher, canvas: Canvas, guidance: Guidance) -> Any:
    """ComfyUI's guider where it does what is asked, otherwise one that guides picture and sound apart."""
    from comfy.samplers import CFGGuider, calc_cond_batch
    from comfy.utils import pack_latents, unpack_latents

    if guidance.plain:
        guider = CFGGuider(model)
        guider.set_cfg(guidance.cfg)
        return guider
    shapes = [canvas.video.shape] + ([] if canvas.audio is None else [canvas.audio.shape])

    class TwoModalityGuider(CFGGuider):
        def predict_noise(
            self, x: torch.Tensor, timestep: torch.Tensor, model_options: dict | None = None, seed: int | None = None
        ) -> torch.Tensor:
            def predict(conditioning: str, **options: bool) -> list[torch.Tensor]:
                switched = dict(model_options or {})
                switched["transformer_options"] = {**switched.get("transformer_options", {}), **options}
                [out] = calc_cond_batch(self.inner_model, [self.conds[conditioning]], x, timestep, switched)
                return unpack_latents(out, shapes) if len(shapes) > 1 else [out]

            positive = predict("positive")
            away: list[tuple[tuple[float, float], list[torch.Tensor]]] = []
            if guidance.cfg != 1 or guidance.cfg_audio != 1:
                away.append(((guidance.cfg - 1, guidance.cfg_audio - 1), predict("negative")))
            if guidance.stg != 0:
                with without_self_attention(self.inner_model.diffusion_model, guidance.stg_block):
                    away.append(((guidance.stg,) * 2, predict("positive")))
            if guidance.modality != 1 and len(shapes) > 1:
                apart = predict("positive", a2v_cross_attn=False, v2a_cross_attn=False)
                away.append(((guidance.modality - 1,) * 2, apart))
            guided = [
                guide(prediction, [(scale[index], other[index]) for scale, other in away], guidance.rescale)
                for index, prediction in enumerate(positive)
            ]
            return pack_latents(guided)[0] if len(shapes) > 1 else guided[0]

    return TwoModalityGuider(model)


def guide(positive: torch.Tensor, away: list[tuple[float, torch.Tensor]], rescale: float) -> torch.Tensor:
    """Push a prediction away from others, then bring its spread back part of the way.

    positive + sum of scale * (positive - other), times rescale * std(positive) / std(that) + 1 - rescale
    (ltx_core/components/guiders.py, MultiModalGuider.calculate).
    """
    pushed = positive + sum((scale * (positive - other) for scale, other in away), torch.zeros_like(positive))
    if rescale == 0:
        return pushed
    return pushed * (rescale * positive.std() / pushed.std() + 1 - rescale)


@contextmanager
def without_self_attention(transformer: Any, index: int) -> Iterator[None]:
    """Let the self-attention of one block pass its values through unmixed, in picture and sound, for one prediction."""
    blocks = transformer.transformer_blocks
    if index >= len(blocks):
        raise Refusal(f"{index} given; the model has blocks 0 to {len(blocks) - 1}.", field="stg_block")

    def pass_through(attention: Any, inputs: tuple[torch.Tensor, ...], _: Any) -> torch.Tensor:
        values = attention.to_v(inputs[0])
        if attention.to_gate_logits is not None:
            gates = 2.0 * torch.sigmoid(attention.to_gate_logits(inputs[0]))
            values = (values.unflatten(-1, (attention.heads, -1)) * gates.unsqueeze(-1)).flatten(-2)
        return attention.to_out(values)

    hooks = [layer.register_forward_hook(pass_through) for layer in (blocks[index].attn1, blocks[index].audio_attn1)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
