"""Train the transformer on latents of the closed world, with and without known frames before it and at its end.

Every batch depends on its number alone, so that a run that was ended goes on where its last checkpoint stands and gives
what it would have given.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from . import text, transformer, world
from .clips import Batch, Pool, draw_batch
from .files import progress, write_whole
from .optimiser import Optimiser

# What is known is easy; what comes right after it decides whether a motion goes on.
WEIGHT_KNOWN, WEIGHT_AFTER, SLOTS_AFTER = 0.2, 2.0, 2
AVERAGE = 0.997  # of the averaged weights that a step leaves
SAVE_EVERY = 60.0  # seconds


def slot_weights(known: Tensor, slots: int) -> Tensor:
    """How much each slot counts in the loss, 1 on average: (clips, 1, slots, 1, 1)."""
    at = torch.arange(slots)[None]
    known = known[:, None]
    weight = torch.ones(len(known), slots)
    weight[(at >= known) & (at < known + SLOTS_AFTER) & (known > 0)] = WEIGHT_AFTER
    weight[at < known] = WEIGHT_KNOWN
    return (weight / weight.mean(1, keepdim=True))[:, None, :, None, None]


@dataclass(frozen=True)
class Plan:
    """One run of training.

    Attributes:
        name: of its checkpoint.
        steps: batches in all; the rate falls over the last `decay` of them.
        low, high: the noise levels it is trained on.
        shift: of their distribution; the larger, the more often the high ones.
        origin: the run whose averaged weights it begins with.
        seed: of its batches.
    """

    name: str
    steps: int
    decay: float
    low: float
    high: float
    shift: float
    origin: str | None
    seed: int

    def rate(self, step: int) -> float:
        """Share of the full learning rate."""
        return min(1.0, (step + 1) / 40, (self.steps - step) / (self.decay * self.steps))


# Direction, speed and place are decided at high noise, outlines at low. Either expert sees more than its own share; the
# second begins as the first, or it would take back the speed that the first chose.
PLANS = (
    Plan("trunk", 9000, 0.1, 0.0, 1.0, 3.0, None, 1),
    Plan("high", 6000, 0.4, 0.85, 1.0, 3.0, "trunk", 2),
    Plan("low", 3000, 0.6, 0.0, 0.92, 3.0, "high", 3),
)


@dataclass
class Run:
    """How far a plan is.

    Attributes:
        average: moving averages of the weights, which are what is kept in the end.
        seconds: of the processor.
        losses: of every step.
    """

    model: Any
    average: dict[str, Tensor]
    optimiser: Optimiser
    step: int
    seconds: float
    losses: list[float]

    @classmethod
    def begin(cls, path: Path, origin: Path | None) -> Run:
        """Go on from the checkpoint at `path` where there is one, else begin with the weights of `origin`."""
        model = transformer.wan_transformer()
        optimiser = Optimiser(model)
        if path.exists():
            stored = torch.load(path, weights_only=True)
            model.load_state_dict(stored["model"])
            optimiser.restore(stored["optimiser"])
            return cls(model, stored["average"], optimiser, stored["step"], stored["seconds"], stored["losses"])
        if origin is None:
            words = sorted({word for scene in world.SCENES for word in scene.prompt.split()})
            transformer.start(model, text.embedded(words)[0][:, 0])
        else:
            model.load_state_dict(weights_of(origin))
        return cls(model, {n: p.detach().clone() for n, p in model.named_parameters()}, optimiser, 0, 0.0, [])

    def save(self, path: Path) -> None:
        stored = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
        }
        write_whole(path, partial(torch.save, stored))


def weights_of(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, or those of a safetensors file."""
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True)["average"]


def train(plan: Plan, pool: Pool, gray: Tensor, path: Path, origin: Path | None) -> None:
    """Take the steps that are left, with a checkpoint at `path` every minute."""
    run = Run.begin(path, origin)
    context, lengths = text.embedded([*(scene.prompt for scene in world.SCENES), ""])
    say = progress(plan.name, plan.steps, run.step)
    saved, processor = time.monotonic(), time.process_time() - run.seconds
    while run.step < plan.steps:
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + run.step)
        batch = draw_batch(pool, gray, generator)
        loss = _loss(run.model, batch, plan, context, lengths, generator)
        run.model.zero_grad(set_to_none=True)
        loss.backward()
        run.optimiser.step(plan.rate(run.step))
        run.step += 1
        _follow(run)
        run.losses.append(loss.item())
        run.seconds = time.process_time() - processor
        if time.monotonic() - saved > SAVE_EVERY or run.step == plan.steps:
            run.save(path)
            saved = time.monotonic()
        recent = run.losses[-200:]
        say(run.step, f"loss {sum(recent) / len(recent):.4f}, {run.seconds:.0f} s of the processor")


def _loss(model: Any, batch: Batch, plan: Plan, context: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
    """Mean square of the error in velocity, the noise levels spread evenly over the batch."""
    x0, n = batch.latents, len(batch.latents)
    u = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    sigma = plan.low + (plan.high - plan.low) * plan.shift * u / (1 + (plan.shift - 1) * u)
    noise = torch.randn(x0.shape, generator=generator)
    level = sigma[:, None, None, None, None]
    inputs = torch.cat([(1 - level) * x0 + level * noise, batch.beside], 1)
    velocity = transformer.forward(model, inputs, sigma, context[batch.prompt], lengths[batch.prompt])
    return ((velocity - (noise - x0)).square() * slot_weights(batch.known, x0.shape[2])).mean()


@torch.no_grad()
def _follow(run: Run) -> None:
    share = 1 - min(AVERAGE, (1 + run.step) / (10 + run.step))
    for name, p in run.model.named_parameters():
        run.average[name].lerp_(p, share)
