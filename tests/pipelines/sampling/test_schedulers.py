"""Diffusers' schedulers as samplers: the timesteps they give, and what identifies a take made with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.families.wan22_sampling import SamplingSettings
from longtake.pipelines.identity import Unidentified, digest
from longtake.pipelines.sampling.schedulers import DiffusersSampler, Run, Solver, as_sampler, whole_timestep

SIGMAS = torch.tensor([1.0, 0.9376, 0.75, 0.4, 0.0])


class Recorded:
    """A model that predicts zeros and remembers the sigmas it was asked at."""

    def __init__(self) -> None:
        self.sigmas: list[float] = []

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **_: object) -> torch.Tensor:
        self.sigmas.append(round(sigma[0].item(), 6))
        return torch.zeros_like(x)


@pytest.mark.parametrize(("sigma", "whole"), [(0.9376, 0.937), (0.75, 0.75), (0.999999, 0.999), (0.0004, 0.0004)])
def test_an_integer_timestep_has_no_fraction(sigma: float, whole: float) -> None:
    assert whole_timestep(torch.tensor(sigma)).item() == pytest.approx(whole, abs=1e-7)


@pytest.mark.parametrize(
    ("recipe", "seen"),
    [
        (DiffusersSampler(Solver.UNIPC), [1.0, 0.9376, 0.75, 0.4]),
        (DiffusersSampler(Solver.UNIPC, integer_timesteps=True), [0.999, 0.937, 0.75, 0.4]),
        (DiffusersSampler(Solver.EULER), [1.0, 0.9376, 0.75, 0.4]),
    ],
    ids=str,
)
def test_the_model_is_asked_at_the_sigmas_of_the_graph(recipe: DiffusersSampler, seen: list[float]) -> None:
    model = Recorded()
    done = Run(recipe, SIGMAS)(model, torch.ones(1, 2, 1, 2, 2), SIGMAS)
    assert model.sigmas == seen
    assert done.abs().max() < 1e-3


def test_two_calls_over_one_run_take_the_steps_of_one() -> None:
    recipe, x = DiffusersSampler(Solver.UNIPC), torch.ones(1, 2, 1, 2, 2)

    def model(x: torch.Tensor, sigma: torch.Tensor, **_: object) -> torch.Tensor:
        return x * sigma[0] ** 2

    whole = Run(recipe, SIGMAS)(model, x, SIGMAS)
    run = Run(recipe, SIGMAS)
    halves = run(model, run(model, x, SIGMAS[:3]), SIGMAS[2:])
    begun_anew = Run(recipe, SIGMAS[2:])(model, Run(recipe, SIGMAS)(model, x, SIGMAS[:3]), SIGMAS[2:])
    assert torch.equal(whole, halves)
    assert not torch.allclose(whole, begun_anew, atol=1e-4)


def test_what_a_mask_keeps_stays_exactly_what_it_is() -> None:
    """Integer timesteps would otherwise pull a known frame by the fraction that was cut off."""
    known, mask = torch.full((1, 2, 1, 2, 2), 0.7), torch.zeros(1, 2, 1, 2, 2)
    recipe = DiffusersSampler(Solver.UNIPC, integer_timesteps=True)
    done = Run(recipe, SIGMAS)(lambda x, sigma, **_: known, torch.ones_like(known), SIGMAS, {"denoise_mask": mask})
    assert torch.allclose(done, known, atol=1e-6)


def test_equal_recipes_are_one_sampler_to_the_store_and_others_are_not(comfyui: Path) -> None:
    import comfy.samplers

    def key(recipe: DiffusersSampler) -> str:
        return digest(SamplingSettings(4, 1.0, 1.0, custom=as_sampler(recipe)))

    unipc = DiffusersSampler(Solver.UNIPC)
    assert key(unipc) == key(DiffusersSampler(Solver.UNIPC))
    assert key(unipc) != key(DiffusersSampler(Solver.UNIPC, order=3))
    assert SamplingSettings(4, 1.0, 1.0, custom=as_sampler(unipc)).facts()["sampler"] == "diffusers UniPC of order 2"
    with pytest.raises(Unidentified):
        digest(SamplingSettings(4, 1.0, 1.0, custom=comfy.samplers.sampler_object("euler")))


def test_an_order_that_unipc_has_not_is_refused() -> None:
    with pytest.raises(Refusal, match="orders 1, 2 and 3"):
        DiffusersSampler(Solver.UNIPC, order=4).check()


def test_without_diffusers_it_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtake.pipelines.sampling.schedulers.find_spec", lambda _: None)
    with pytest.raises(Refusal, match='"pip install diffusers"'):
        DiffusersSampler(Solver.UNIPC).check()
