"""What the committed demo model can do: the bounds that its weights are held to."""

from __future__ import annotations

import pytest
import torch
from longtake.demo_model import card, folder, measure, world
from longtake.demo_model.model import Model


@pytest.fixture(scope="module")
def model(comfyui: object) -> Model:
    return folder.read()


def share(right: torch.Tensor) -> float:
    return right.float().mean().item()


def test_the_folder_is_small() -> None:
    assert folder.size() < 20e6


def test_held_out_clips_come_back_from_the_vae(model: Model) -> None:
    pixels = world.draw(12, torch.Generator().manual_seed(999)).pixels(17)
    assert measure.psnr(model.decode(model.encode(pixels)), pixels).min() > 30


def test_prompts_that_training_never_saw_are_followed(model: Model) -> None:
    truth = card.truths(card.held_out_prompts(100))
    seen = measure.look(model.render(truth.prompts(), seed=11))
    assert share(seen.colour == truth.each("colour")) >= 0.9
    assert share(seen.motion() == truth.each("motion")) >= 0.8
    assert share(seen.shape == truth.each("shape")) >= 0.8


def test_what_is_seen_in_painted_clips_is_what_was_painted() -> None:
    """The instrument is right, or the shares above mean nothing."""
    clips = world.draw(60, torch.Generator().manual_seed(3))
    seen = measure.look(clips.pixels(17))
    assert torch.equal(seen.colour, clips.each("colour"))
    assert torch.equal(seen.shape, clips.each("shape"))
    assert torch.equal(seen.ground, clips.each("ground"))
    assert torch.equal(seen.motion(), clips.each("motion"))
    still = clips.each("motion") == world.STILL
    assert (seen.velocity().norm(dim=1)[~still] - clips.speed[~still]).abs().max() < 0.05
    assert seen.velocity().norm(dim=1)[still].max() < 0.05
