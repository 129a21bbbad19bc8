"""Schedulers of diffusers as ComfyUI samplers: the steps are theirs, the sigmas are the graph's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import Refusal

if TYPE_CHECKING:
    import torch


class Solver(str, Enum):
    UNIPC = "UniPC"
    EULER = "FlowMatchEuler"


@dataclass(frozen=True)
class DiffusersSampler:
    """Which scheduler takes the steps.

    Args:
        order: of UniPC, 1 to 3; Wan was published with 2.
        integer_timesteps: give the model timesteps without their fraction, 937 for a sigma of 0.9376, as diffusers'
            UniPC and Wan's own code do.
    """

    solver: Solver
    order: int = 2
    integer_timesteps: bool = False

    def check(self) -> None:
        """Refuse an order that UniPC does not have, and a Python without diffusers."""
        if not 1 <= self.order <= 3:
            raise Refusal(f"{self.order} given; UniPC has orders 1, 2 and 3.", field="order")
        if find_spec("diffusers") is None:
            raise Refusal(
                f"{self.solver.value} is a scheduler of diffusers, which ComfyUI's Python does not have; install it "
                'with "pip install diffusers" (the extra longtake[diffusers]), or leave the sampler to Wan Sampling.',
                field="solver",
            )

    def __str__(self) -> str:
        order = f" of order {self.order}" if self.solver is Solver.UNIPC else ""
        return f"diffusers {self.solver.value}{order}{', integer timesteps' if self.integer_timesteps else ''}"

    def scheduler(self, sigmas: torch.Tensor) -> Any:
        """A fresh scheduler at the beginning of `sigmas` `[steps + 1]`, which fall to 0."""
        import diffusers
        import numpy as np

        if self.solver is Solver.UNIPC:
            scheduler: Any = diffusers.UniPCMultistepScheduler(
                prediction_type="flow_prediction",
                use_flow_sigmas=True,
                num_train_timesteps=1000,
                flow_shift=1.0,
                solver_order=self.order,
            )
        else:
            scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)
        exact = sigmas.detach().cpu().float()
        scheduler.set_timesteps(sigmas=np.array(exact[:-1].tolist()))
        # A sigma of 1 stays as UniPC lowers it, by 1e-6: its logarithm of 1 - sigma must be finite.
        kept = slice(1 if exact[0] == 1 else 0, None)
        scheduler.sigmas[kept] = exact[kept]
        # As floats: the scheduler only looks its place up in them.
        scheduler.timesteps = scheduler.sigmas[:-1] * 1000.0
        scheduler.set_begin_index(0)
        return scheduler


class Run:
    """One denoising from noise to picture, in as many calls as there are experts, by one scheduler.

    A multistep scheduler keeps what it knows of the steps before over the change of experts, as in Wan's own code.
    """

    def __init__(self, recipe: DiffusersSampler, sigmas: torch.Tensor):
        self.recipe = recipe
        self.scheduler = recipe.scheduler(sigmas)
        self.done = 0

    def __call__(
        self,
        model: Callable[..., torch.Tensor],
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any] | None = None,
        callback: Callable[[dict[str, Any]], None] | None = None,
        disable: bool | None = None,
    ) -> torch.Tensor:
        """Take the next `len(sigmas) - 1` steps, as ComfyUI calls a sampler function."""
        each = x.new_ones([x.shape[0]])
        for index, sigma in enumerate(sigmas[:-1]):
            # The scheduler's own: where UniPC lowers a sigma of 1, its timestep is 999.
            whole = self.recipe.integer_timesteps
            seen = whole_timestep(self.scheduler.sigmas[self.done]).to(x.device) if whole else sigma
            denoised = model(x, seen * each, **(extra_args or {}))
            if callback is not None:
                callback({"x": x, "i": index, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
            velocity = (x - denoised) / _per_value(seen, sigma, (extra_args or {}).get("denoise_mask"))
            x = self.scheduler.step(velocity, self.scheduler.timesteps[self.done], x, return_dict=False)[0]
            self.done += 1
        return x


def _per_value(seen: torch.Tensor, sigma: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """What the model was told of the noise; what a mask keeps is known at any sigma, and stays what it is."""
    import torch

    return seen if mask is None else torch.where(mask > 0, seen, sigma)


def whole_timestep(sigma: torch.Tensor) -> torch.Tensor:
    """The sigma of the whole timestep (thousandth) at or below; one below the first timestep stays, being no timestep.

    A float32 sigma that is meant to be whole may lie a rounding error below.
    """
    import torch

    whole = torch.floor(sigma * 1000.0 + 1e-4) / 1000.0
    return torch.where(whole > 0, whole, sigma)


def as_sampler(recipe: DiffusersSampler) -> Any:
    """ComfyUI's SAMPLER of a recipe. `over(sigmas)` gives one for a denoising that is done in several calls."""
    from comfy.samplers import KSAMPLER

    class SchedulerSampler(KSAMPLER):
        identity = recipe

        def over(self, sigmas: torch.Tensor) -> KSAMPLER:
            return KSAMPLER(Run(recipe, sigmas))

    def sample(model: Any, x: torch.Tensor, sigmas: torch.Tensor, **rest: Any) -> torch.Tensor:
        return Run(recipe, sigmas)(model, x, sigmas, **rest)

    return SchedulerSampler(sample)
