"""Diffusers Scheduler in core's custom sampling, and what its schedules have in common with ComfyUI's."""

from __future__ import annotations

import torch

from .bench import FRAMES, HEIGHT, SEED, WIDTH, Bench, difference
from .table import row
from .wan_components import T2V
from .wan_pipelines import NOT_WORDS, ONE, WORDS, flow_match, noise_of

GROUP = "Samplers"


def _custom(bench: Bench, sampler: object, sigmas: torch.Tensor) -> torch.Tensor:
    """What core's custom sampling makes of a stage's noise, as the model sees it."""
    import comfy.sample

    model, noise = bench.bundle(T2V).high.get(), noise_of(16, 8)
    out = comfy.sample.sample_custom(
        model, noise, 4.0, sampler, sigmas, [[WORDS, {}]], [[NOT_WORDS, {}]], torch.zeros_like(noise),
        disable_pbar=True, seed=SEED,
    )  # fmt: skip
    return model.model.process_latent_in(out)


def _stock(bench: Bench, steps: int, order: int) -> float:
    from longtake.pipelines.sampling.schedulers import DiffusersSampler, Solver, as_sampler

    from tests.tiny.diffusers_wan import unipc

    pipeline = bench.pipeline(T2V, scheduler=unipc(5.0, order), **ONE)
    theirs = pipeline(
        prompt_embeds=WORDS, negative_prompt_embeds=NOT_WORDS, width=WIDTH, height=HEIGHT, num_frames=FRAMES,
        latents=noise_of(16, 8), output_type="latent", num_inference_steps=steps, guidance_scale=4.0,
    ).frames  # fmt: skip
    sampler = as_sampler(DiffusersSampler(Solver.UNIPC, order, integer_timesteps=True))
    return difference(theirs, _custom(bench, sampler, pipeline.scheduler.sigmas.clone()))


@row(GROUP, "Diffusers Scheduler UniPC, 4 and 8 steps", "WanPipeline as published, its own sigmas and timesteps")
def unipc(bench: Bench) -> float:
    return max(_stock(bench, 4, 2), _stock(bench, 8, 2))


@row(GROUP, "Diffusers Scheduler UniPC of order 3, 8 steps", "the same")
def unipc_3(bench: Bench) -> float:
    return _stock(bench, 8, 3)


@row(GROUP, "ComfyUI's euler", "Diffusers Scheduler FlowMatchEuler")
def euler(bench: Bench) -> float:
    import comfy.samplers
    from longtake.pipelines.sampling.schedulers import DiffusersSampler, Solver, as_sampler

    sigmas = torch.tensor([1.0, 0.9, 0.7, 0.4, 0.0])
    wrapped = as_sampler(DiffusersSampler(Solver.EULER))
    return difference(_custom(bench, wrapped, sigmas), _custom(bench, comfy.samplers.ksampler("euler"), sigmas))


@row(GROUP, "sigmas of the scheduler normal, 4, 8 and 20 steps", "FlowMatchEulerDiscreteScheduler(shift)")
def sigmas(bench: Bench) -> float:
    import comfy.samplers
    from longtake.pipelines.families.wan22_sampling import with_shift

    worst = 0.0
    for shift in (3.0, 5.0, 8.0):
        model = with_shift(bench.bundle(T2V).high.get(), shift, None)
        for steps in (4, 8, 20):
            scheduler = flow_match(shift)
            scheduler.set_timesteps(steps)
            ours = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
            worst = max(worst, difference(scheduler.sigmas, ours))
    return worst
