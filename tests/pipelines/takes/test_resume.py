"""Checkpoints inside a stage: resumed equals never stopped, bit for bit; what cannot be is not resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipelines.takes.test_keys import bundle

pytestmark = pytest.mark.usefixtures("comfyui")
STEPS = 6


class PowerCut(Exception):
    """Ends a render."""


@pytest.fixture
def model(tiny_models: Path) -> Any:
    return bundle(tiny_models)


def render(model: Any, path: Path | None, stop_after: int = 0, sampler: str = "euler") -> tuple[Any, list[int]]:
    """The latent of a stage of six steps over both experts, and the steps that were done."""
    from longtake.pipelines.families import Pictures, Shot
    from longtake.pipelines.sampling import SamplingSettings, Split
    from longtake.pipelines.takes.resume import Checkpoint

    settings = SamplingSettings(
        steps=STEPS, cfg_high=2.0, cfg_low=1.0, shift=5.0, sampler=sampler, split=Split.STEP, split_step=3
    )
    image = torch.linspace(0, 1, 64 * 96 * 3).reshape(1, 64, 96, 3)
    checkpoint = None if path is None else Checkpoint(path, every=0.0)
    shot = Shot(5, 96, 64, None, Pictures(start=image), None, checkpoint)
    steps: list[int] = []

    def on_step(done: int, preview: Any) -> None:
        steps.append(done)
        if done == stop_after:
            raise PowerCut

    with torch.inference_mode():
        words = model.encode_prompt("a fox")
        try:
            latent = model.family.sample(model, shot, words, words, settings, 7, on_step)["latent"]
        except PowerCut:
            latent = None
    return latent, steps


@pytest.mark.parametrize("stop", [2, 3, 4, 5, 6])
def test_a_stage_that_was_stopped_goes_on_and_ends_the_same_to_the_bit(model: Any, tmp_path: Path, stop: int) -> None:
    whole, _ = render(model, None)
    render(model, tmp_path / "kept", stop_after=stop)
    resumed, steps = render(model, tmp_path / "kept")
    # The callback of a step comes before the step is taken, so the step that was cut off is done again.
    assert steps[0] == stop
    assert torch.equal(resumed, whole)


def test_keeping_checkpoints_changes_no_bit(model: Any, tmp_path: Path) -> None:
    assert torch.equal(render(model, tmp_path / "kept")[0], render(model, None)[0])


def test_a_damaged_checkpoint_is_not_used(model: Any, tmp_path: Path) -> None:
    render(model, tmp_path / "kept", stop_after=5)
    data = bytearray((tmp_path / "kept").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "kept").write_bytes(data)
    assert render(model, tmp_path / "kept")[1] == [1, 2, 3, 4, 5, 6]


def test_a_sampler_with_a_memory_is_not_resumed(model: Any, tmp_path: Path) -> None:
    render(model, tmp_path / "kept", stop_after=5, sampler="dpmpp_2m")
    assert not (tmp_path / "kept").exists()
