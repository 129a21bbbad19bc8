"""Chains by Longtake and by ComfyUI's own nodes, from the same models and inputs, in one process.

All of it is to be run under torch.inference_mode, as ComfyUI runs its nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from . import device, stock_ltx2

POSITIVE, NEGATIVE = "a red fox runs over the snow", "blurry"


@dataclass(frozen=True)
class Job:
    """What is rendered.

    Args:
        frames: of one stage, overlap included.
        steps, split, cfg, shift: of Wan, `split` being the high-noise expert's steps; LTX-2 does what it was published
            with.
    """

    width: int
    height: int
    frames: int
    stages: int = 1
    steps: int = 4
    split: int = 2
    cfg: float = 1.0
    shift: float = 5.0
    seed: int = 7

    def image(self) -> torch.Tensor:
        """`[1, H, W, 3]` in 0..1."""
        return torch.rand(1, self.height, self.width, 3, generator=torch.Generator().manual_seed(5))


@dataclass
class Watch:
    """Longtake's Progress: calls back after each step and each stage."""

    on_step: Callable[[int], None] = lambda done: None
    on_stage: Callable[[int], None] = lambda number: None
    texts: list[str] = field(default_factory=list)

    def doing(self, text: str) -> None:
        self.texts.append(text)

    def stage(self, number: int) -> None:
        self.texts.append(f"stage {number}")

    def step(self, done: int, steps: int, preview: Any) -> None:
        self.on_step(done)

    def stored(self, number: int, steps: int, key: str) -> None:
        raise RuntimeError("these models have no identity; nothing of theirs can be found again")

    def finished(self, number: int, key: str) -> None:
        self.on_stage(number)


def with_image(model: Any) -> bool:
    """Whether a first stage starts from an image: where Wan can; LTX-2 starts from text."""
    from longtake.pipelines.model.variant import Mode

    return model.family.name == "wan22" and Mode.IMAGE in model.variant.modes


def settings(model: Any, job: Job) -> Any:
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, Split

    if model.family.name != "wan22":
        return None
    one = model.low is None
    return SamplingSettings(
        steps=job.steps,
        cfg_high=job.cfg,
        cfg_low=job.cfg,
        shift=job.shift,
        split=Split.SINGLE if one else Split.STEP,
        split_step=0 if one else job.split,
    )


def stages(model: Any, job: Job) -> list[Any]:
    """A first stage, from an image where the model can, and smooth ones behind it."""
    from longtake.pipelines.stage.stage import Stage
    from longtake.pipelines.timeline.clips import Join, Length, Transition

    smooth = Join(Transition.SMOOTH, overlap=model.variant.overlap)
    return [
        Stage(
            POSITIVE,
            NEGATIVE,
            Length(frames=job.frames),
            job.seed + index,
            smooth if index else Join(),
            width=job.width,
            height=job.height,
            start_image=job.image() if index == 0 and with_image(model) else None,
            sampling=settings(model, job),
        )
        for index in range(job.stages)
    ]


def our_chain(model: Any, job: Job, watch: Watch | None = None) -> Any:
    """A Chain, rendered as one node would; its last clip is not decoded yet, as nobody has asked for it."""
    from longtake.pipelines.stage.check import check_stages
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    asked = stages(model, job)
    try:
        return render_stages(store.here(), check_stages(asked, [model] * len(asked)), watch or Watch())
    finally:
        device.end_node()


def decode_all(chain: Any) -> None:
    """Decode the clips that no later stage has asked for, as delivering the film does."""
    from longtake.pipelines.chain.decode import decoded

    for link in chain.links:
        decoded(link)
    device.end_node()


def stock_stages(model: Any, job: Job) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Latent `[1, C, T, h, w]` and pixels `[T, H, W, 3]` of each stage, as a graph of ComfyUI's own nodes makes them.

    Each stage after the first starts from the last frames of the one before it.
    """
    import nodes

    known = job.image() if with_image(model) else None
    for index in range(job.stages):
        latent = stock_latent(model, job, known, job.seed + index)
        pixels = nodes.VAEDecode().decode(model.vae.get(), latent)[0]
        device.end_node()
        known = pixels[-model.variant.overlap :]
        yield latent["samples"], pixels


def stock_latent(model: Any, job: Job, known: torch.Tensor | None, seed: int) -> dict[str, Any]:
    """LATENT of one stage.

    Args:
        known: frames `[K, H, W, 3]` it begins with.
    """
    positive, negative = model.encode_prompt(POSITIVE), model.encode_prompt(NEGATIVE)
    if model.family.name == "ltx2":
        return stock_ltx2.stock_latent(model, job, known, seed, positive, negative)
    positive, negative, latent = _stock_condition(model, job, known, positive, negative)
    if model.low is None:
        return _sampled(model.high, job, seed, positive, negative, latent, 0, 10000)
    first = _sampled(model.high, job, seed, positive, negative, latent, 0, job.split)
    return _sampled(model.low, job, 0, positive, negative, first, job.split, 10000)


def _stock_condition(model: Any, job: Job, known: Any, positive: Any, negative: Any) -> tuple[Any, Any, dict]:
    from comfy_extras.nodes_hunyuan import EmptyHunyuanLatentVideo
    from comfy_extras.nodes_wan import Wan22ImageToVideoLatent, WanImageToVideo

    size = {"width": job.width, "height": job.height, "length": job.frames, "batch_size": 1}
    if model.variant.keeps_slots:
        made = Wan22ImageToVideoLatent.execute(vae=model.vae.get(), start_image=known, **size)
        return positive, negative, made.args[0]
    if known is None:
        return positive, negative, EmptyHunyuanLatentVideo.execute(**size).args[0]
    return WanImageToVideo.execute(positive, negative, model.vae.get(), start_image=known, **size).args


def _sampled(part: Any, job: Job, seed: int, positive: Any, negative: Any, latent: dict, first: int, last: int) -> dict:
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    import nodes

    (model,) = ModelSamplingSD3().patch(part.get(), job.shift)
    sampled = nodes.KSamplerAdvanced().sample(
        model,
        "disable" if first else "enable",
        seed,
        job.steps,
        job.cfg,
        "euler",
        "simple",
        positive,
        negative,
        latent,
        first,
        last,
        "enable" if last < job.steps else "disable",
    )[0]
    device.end_node()
    return sampled
