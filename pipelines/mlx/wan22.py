"""Wan 2.2 whose steps are taken by MLX: ComfyUI reads the words and the images, a runner has the transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from ..errors import Refusal
from ..families.wan22 import Wan22
from ..families.wan22_sampling import SamplingSettings, Split, high_noise_steps, sampler_name
from ..identity import Source
from ..model.part import Part
from ..sampling.schedulers import DiffusersSampler, Solver, whole_timestep
from ..sampling.span import own_random_state, shown_slot
from ..weights.pairs import Noise
from .lora import changes, check_loras
from .process import FIELD, MLX_GEN, Expert, Job, Weights, check_python, denoise

if TYPE_CHECKING:
    from ..families.wan22_sampling import Start
    from ..model.bundle import VideoModel
    from ..model.shot import Shot

RENDERER = f"mlx-gen {MLX_GEN}"
# Wan's own; ComfyUI's uni_pc goes by the same paper in another way.
UNIPC = DiffusersSampler(Solver.UNIPC, order=2, integer_timesteps=True)
_SOLVERS = {"euler": DiffusersSampler(Solver.EULER), "uni_pc": UNIPC, "uni_pc_bh2": UNIPC}
_CONFIG = (
    "patch_size",
    "num_attention_heads",
    "attention_head_dim",
    "in_channels",
    "out_channels",
    "text_dim",
    "freq_dim",
    "ffn_dim",
    "num_layers",
    "cross_attn_norm",
    "eps",
)  # fmt: skip
_READABLE = (torch.float32, torch.float16, torch.bfloat16)
_STARTS_OVER = "Rendered by MLX: a stage that is stopped midway starts over."


@dataclass(frozen=True)
class Transformer:
    """An expert in diffusers' layout.

    Args:
        files: its safetensors.
        config: as diffusers spells it, complete.
        names: of its weights, ComfyUI's -> diffusers'.
    """

    files: tuple[str, ...]
    config: Mapping[str, Any]
    names: Mapping[str, str]


@dataclass(frozen=True)
class Wan22ByMlx(Wan22):
    """Wan 2.2 that asks a runner for what its models predict, and is Wan 2.2 in all else.

    Args:
        transformers: of a bundle.
    """

    weights: Weights = Weights.BF16
    transformers: Mapping[Noise, Transformer] | None = None

    def check_settings(self, model: VideoModel, settings: SamplingSettings) -> None:
        super().check_settings(model, settings)
        solver_of(settings)
        check_loras(model)

    def sample(self, model: VideoModel, shot: Shot) -> dict[str, torch.Tensor]:
        import latent_preview
        from comfy.model_management import get_torch_device, intermediate_device

        format_ = _latent_format(model)
        previewer = latent_preview.get_previewer(get_torch_device(), format_)

        def on_step(done: int, seen: torch.Tensor) -> None:
            shot.on_step(done, previewer and previewer.decode_latent_to_preview_image("JPEG", seen))

        with torch.inference_mode():
            latent = denoise(self._job(model, shot, self.condition(model, shot), format_), on_step)
            return {"latent": format_.process_out(latent).to(intermediate_device())}

    def _job(self, model: VideoModel, shot: Shot, start: Start, format_: Any) -> Job:
        sigmas = flow_sigmas(model, shot.settings)
        solver = solver_of(shot.settings)
        experts = self._experts(model, shot.settings, sigmas)
        tensors = {"positive": _words(shot.positive), **_beginning(start, format_, shot.seed, float(sigmas[0]))}
        if any(expert.guidance != 1 for expert in experts):
            tensors["negative"] = _words(shot.negative)
        return Job(
            tensors=tensors,
            experts=experts,
            sigmas=tuple(sigmas.tolist()),
            timesteps=_timesteps(sigmas, solver),
            solver="unipc" if solver.solver is Solver.UNIPC else "euler",
            dtype=self.weights.dtype,
            bits=self.weights.bits,
            shown=shown_slot(start.latent.shape[2], start.pinned),
        )

    def _experts(self, model: VideoModel, settings: SamplingSettings, sigmas: torch.Tensor) -> tuple[Expert, ...]:
        """The transformers that have steps to do, in the order they do them."""
        steps = len(sigmas) - 1
        pair = model.low is not None and settings.split is not Split.SINGLE
        high = min(steps, high_noise_steps(sigmas, settings)) if pair else steps
        shares = ((Noise.HIGH, high, settings.cfg_high), (Noise.LOW, steps - high, settings.cfg_low))
        return tuple(self._expert(model, noise, count, guidance) for noise, count, guidance in shares if count)

    def _expert(self, model: VideoModel, noise: Noise, steps: int, guidance: float) -> Expert:
        part, transformer = model.expert(noise), (self.transformers or {})[noise]
        return Expert(
            name="the transformer" if part is None else part.name,
            files=transformer.files,
            config={key: transformer.config[key] for key in _CONFIG},
            changes=changes(model, noise, transformer.names.__getitem__),
            steps=steps,
            guidance=guidance,
        )


def by_mlx(model: VideoModel, transformers: Mapping[Noise, Transformer], weights: Weights) -> VideoModel:
    """A bundle of a diffusers folder whose stages are rendered by MLX.

    Its experts are keyed by renderer and precision; ComfyUI loads them only for who takes the bundle apart.

    Raises:
        Refusal: MLX does not compute such a model, or there is no Python with MLX-Gen.
    """
    if model.image_encoder is not None:
        raise Refusal(
            "Wan 2.1 image to video looks at its images through CLIP, which MLX-Gen's Wan does not. Wan 2.2 I2V-A14B "
            "renders from images by MLX; or choose ComfyUI.",
            field=FIELD,
        )
    for part in (model.high, model.low):
        _check_readable(part)
    check_python()
    return replace(
        model,
        family=Wan22ByMlx(renderer=f"{RENDERER}, {weights.name.lower()}", weights=weights, transformers=transformers),
        high=_keyed(model.high, weights),
        low=None if model.low is None else _keyed(model.low, weights),
        notes=(*model.notes, _STARTS_OVER),
    )


def _check_readable(part: Part | None) -> None:
    for name, tensor in part.header().tensors.items() if part is not None and part.header is not None else ():
        if tensor.dtype not in _READABLE:
            raise Refusal(
                f"{part.name if part else ''}: {name} is {str(tensor.dtype).removeprefix('torch.')}; MLX reads fp32, "
                "fp16 and bf16. Choose another variant, or ComfyUI.",
                field=FIELD,
            )


def _keyed(part: Part, weights: Weights) -> Part:
    source = part.source
    if source is not None:
        renderer = (("renderer", RENDERER), ("weights", weights.name))
        source = Source(source.files, (*source.options, *renderer), source.upstream)
    return Part(part.name, part.get, source, header=part.header, stored=part.stored)


def solver_of(settings: SamplingSettings) -> DiffusersSampler:
    """What the runner takes steps with; raises `Refusal` for a sampler that it has not."""
    custom = getattr(settings.custom, "identity", None)
    solver = _SOLVERS.get(settings.sampler) if settings.custom is None else custom
    supported = isinstance(solver, DiffusersSampler) and (solver.solver is Solver.EULER or solver.order == UNIPC.order)
    if not supported or not isinstance(solver, DiffusersSampler):
        name = settings.sampler if settings.custom is None else sampler_name(settings.custom)
        raise Refusal(
            f"{name} given; MLX has euler and uni_pc (UniPC of order 2, as Wan was published), or Diffusers Scheduler "
            "with one of the two. Or choose ComfyUI in Load Diffusers Folder.",
            field="sampler" if settings.custom is None else "custom_sampler",
        )
    return solver


def flow_sigmas(model: VideoModel, settings: SamplingSettings) -> torch.Tensor:
    """The sigmas of all steps `[steps + 1]` falling to 0, as ComfyUI's KSampler takes them of a loaded model."""
    from comfy.model_sampling import CONST, ModelSamplingDiscreteFlow
    from comfy.samplers import calculate_sigmas

    class Flow(ModelSamplingDiscreteFlow, CONST):
        pass

    published: Any = model.variant.sampling
    flow = Flow()
    flow.set_parameters(shift=settings.shift or published.shift, multiplier=1000)
    sigmas = calculate_sigmas(flow, settings.scheduler, settings.steps)[: settings.steps + 1].float()
    sigmas[-1] = 0
    return sigmas


def _timesteps(sigmas: torch.Tensor, solver: DiffusersSampler) -> tuple[float, ...]:
    """What the model is told of each step."""
    seen = sigmas[:-1]
    if solver.solver is Solver.UNIPC:
        seen = seen.clamp(max=1 - 1e-6)
    if solver.integer_timesteps:
        seen = whole_timestep(seen)
    return tuple((seen * 1000).tolist())


def _beginning(start: Start, format_: Any, seed: int, sigma: float) -> dict[str, torch.Tensor]:
    """What denoising begins with, as ComfyUI's samplers make it: noisy latent, known slots, channels beside it."""
    import comfy.sample

    # Zeros stand for nothing known, and are not shifted.
    latent = format_.process_in(start.latent) if torch.count_nonzero(start.latent) else start.latent
    with own_random_state():
        noise = comfy.sample.prepare_noise(start.latent, seed)
    tensors = {"latent": sigma * noise.to(latent) + (1 - sigma) * latent}
    if start.noise_mask is not None:
        tensors |= {"kept": latent, "mask": start.noise_mask}
    if "concat_latent_image" in start.values:
        image = format_.process_in(start.values["concat_latent_image"])
        known_at = 1 - start.values["concat_mask"]
        tensors["concat"] = torch.cat((known_at.expand(-1, 4, -1, -1, -1).to(image), image), dim=1)
    return tensors


def _words(conditioning: list[Any]) -> torch.Tensor:
    """The one text `[1, tokens, width]` of a CONDITIONING."""
    ((text, _),) = conditioning
    return text


def _latent_format(model: VideoModel) -> Any:
    from comfy.latent_formats import Wan21
    from comfy.latent_formats import Wan22 as Wan22Format

    return Wan22Format() if model.variant.latent_channels == Wan22Format.latent_channels else Wan21()
