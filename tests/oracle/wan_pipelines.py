"""Whole denoisings of Wan: final latents of diffusers' pipelines and of the pack's Chain Stage."""

from __future__ import annotations

from typing import Any

import torch

from .bench import FRAMES, HEIGHT, SEED, STEPS, WIDTH, Bench, difference, drawn, stage_latents
from .table import row
from .wan_components import FLF2V, I2V, I2V_2_1, T2V, TI2V, squeezed

GROUP = "Wan: final latents of a stage"
WORDS, NOT_WORDS = drawn(1, 24, 32, seed=11), drawn(1, 24, 32, seed=12)


def photo(seed: int = 13) -> torch.Tensor:
    """An image `[1, H, W, 3]` in 0..1."""
    return torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(seed))


def seen(encoder: Any, images: list[torch.Tensor]) -> torch.Tensor:
    """What Wan 2.1 takes of images through CLIP, `[images, 257, 1280]`."""
    return torch.cat([encoder(squeezed(image), output_hidden_states=True).hidden_states[-2] for image in images])


def noise_of(channels: int, scale: int) -> torch.Tensor:
    """The noise that a stage of SEED starts from, as ComfyUI draws it."""
    return drawn(1, channels, (FRAMES - 1) // 4 + 1, HEIGHT // scale, WIDTH // scale, seed=SEED)


def flow_match(shift: float) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=shift)


def at_simple_sigmas(scheduler: Any) -> Any:
    """A scheduler of diffusers at the sigmas of ComfyUI's "simple", which its pipelines have no argument for."""
    import numpy as np

    stock = scheduler.set_timesteps

    def set_timesteps(steps: int, device: Any = None) -> None:
        stock(sigmas=np.linspace(1, 1 / steps, steps), device=device)

    scheduler.set_timesteps = set_timesteps
    return scheduler


def rendered(bench: Bench, name: str, kind: str, steps: Any, picture: bool, changes: Any, last: bool = False,
             **settings: Any) -> float:  # fmt: skip
    """Largest difference of the final latents.

    Args:
        steps: the scheduler of the pipeline.
        changes: what the pipeline has other than its folder.
        last: whether there is a last frame, too.
        settings: of the stage.
    """
    from dataclasses import replace

    from longtake.pipelines.families.wan22_sampling import SamplingSettings

    model = bench.bundle(name)
    pipeline = bench.pipeline(name, kind, scheduler=steps, **changes)
    channels = model.variant.latent_channels
    noise = noise_of(channels, model.variant.vae_scale)
    image = {"image": photo().movedim(-1, 1)} if picture else {}
    image |= {"last_image": photo(14).movedim(-1, 1)} if last else {}
    pipeline.encode_image = lambda *_: seen(pipeline.image_encoder, [photo(), photo(14)] if last else [photo()])
    words, not_words = (
        (WORDS, NOT_WORDS) if model.image_encoder is None else (drawn(1, 512, 32, seed=s) for s in (11, 12))
    )
    second = {"guidance_scale_2": 3.0} if model.low is not None and "transformer_2" not in changes else {}
    theirs = pipeline(
        prompt_embeds=words, negative_prompt_embeds=not_words, width=WIDTH, height=HEIGHT, num_frames=FRAMES,
        latents=noise, output_type="latent", num_inference_steps=STEPS, guidance_scale=4.0, **second, **image,
    ).frames  # fmt: skip
    if "transformer_2" in changes:
        model = replace(model, low=None, variant=replace(model.variant, experts=1))
    sampling = SamplingSettings(steps=STEPS, cfg_high=4.0, cfg_low=3.0, **settings)
    pictures = {"start_image": photo()} if picture else {}
    pictures |= {"end_image": photo(14)} if last else {}
    latent = stage_latents(model, sampling, [[words, {}]], [[not_words, {}]], **pictures)["latent"]
    return difference(theirs, model.high.get().model.process_latent_in(latent))


NORMAL = {"scheduler": "normal"}  # the sigmas of FlowMatchEulerDiscreteScheduler
ONE = {"transformer_2": None, "boundary_ratio": None}
TWO_T2V, TWO_I2V = {"boundary_ratio": 0.875}, {"boundary_ratio": 0.9}
STILL = {"image_processor": None, "image_encoder": None}


@row(GROUP, "text to video, one model, euler", "WanPipeline, FlowMatchEuler")
def t2v(bench: Bench) -> float:
    return rendered(bench, T2V, "WanPipeline", flow_match(3.0), False, ONE, **NORMAL)


@row(GROUP, "text to video, two experts, euler", "WanPipeline, FlowMatchEuler, boundary_ratio 0.875")
def t2v_experts(bench: Bench) -> float:
    return rendered(bench, T2V, "WanPipeline", flow_match(3.0), False, TWO_T2V, **NORMAL)


@row(GROUP, "image to video, two experts, euler", "WanImageToVideoPipeline, FlowMatchEuler, boundary_ratio 0.9")
def i2v_experts(bench: Bench) -> float:
    return rendered(bench, I2V, "WanImageToVideoPipeline", flow_match(5.0), True, TWO_I2V | STILL, **NORMAL)


@row(GROUP, "TI2V-5B from text, euler", "WanPipeline, expand_timesteps")
def ti2v_text(bench: Bench) -> float:
    return rendered(bench, TI2V, "WanPipeline", flow_match(5.0), False, {"expand_timesteps": True}, **NORMAL)


@row(GROUP, "TI2V-5B from an image, euler", "WanImageToVideoPipeline, expand_timesteps")
def ti2v_image(bench: Bench) -> float:
    changes = {"expand_timesteps": True} | STILL
    return rendered(bench, TI2V, "WanImageToVideoPipeline", flow_match(5.0), True, changes, **NORMAL)


@row(GROUP, "Wan2.1 I2V, euler", "WanImageToVideoPipeline with its image encoder")
def i2v_2_1(bench: Bench) -> float:
    kept = {"image_processor": None}
    return rendered(bench, I2V_2_1, "WanImageToVideoPipeline", flow_match(3.0), True, kept, **NORMAL)


@row(GROUP, "Wan2.1 FLF2V, euler", "WanImageToVideoPipeline with first and last image")
def flf2v(bench: Bench) -> float:
    kept = {"image_processor": None}
    return rendered(bench, FLF2V, "WanImageToVideoPipeline", flow_match(3.0), True, kept, last=True, **NORMAL)


def _unipc(bench: Bench, name: str, kind: str, picture: bool, changes: Any) -> float:
    from longtake.pipelines.sampling.schedulers import DiffusersSampler, Solver, as_sampler

    from tests.tiny.diffusers_wan import unipc

    scheduler = at_simple_sigmas(unipc(bench.bundle(name).variant.sampling.shift))
    sampler = as_sampler(DiffusersSampler(Solver.UNIPC, integer_timesteps=True))
    return rendered(bench, name, kind, scheduler, picture, changes, custom=sampler)


@row(GROUP, "text to video, two experts, Diffusers Scheduler UniPC", "WanPipeline, UniPC at the same sigmas")
def t2v_unipc(bench: Bench) -> float:
    return _unipc(bench, T2V, "WanPipeline", False, TWO_T2V)


@row(
    GROUP, "image to video, two experts, Diffusers Scheduler UniPC", "WanImageToVideoPipeline, UniPC at the same sigmas"
)
def i2v_unipc(bench: Bench) -> float:
    return _unipc(bench, I2V, "WanImageToVideoPipeline", True, TWO_I2V | STILL)


@row(GROUP, "TI2V-5B from an image, Diffusers Scheduler UniPC", "WanImageToVideoPipeline, UniPC at the same sigmas")
def ti2v_unipc(bench: Bench) -> float:
    return _unipc(bench, TI2V, "WanImageToVideoPipeline", True, {"expand_timesteps": True} | STILL)
