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


def test_a_motion_goes_on_over_a_seam_at_its_speed(model: Model) -> None:
    clips = card.moving(40, 80)
    seam = card.Seam.of(model, 9, clips, frames=17)
    assert share(seam.seen.motion(8) == clips.each("motion")) >= 0.9
    assert seam.speed_error(8 + card.LATER).mean() < 0.75 * card.constant_guess(clips)


def test_a_motion_turns_at_a_seam_as_the_prompt_says(model: Model) -> None:
    clips = card.turning(24)
    pixels = model.render(clips.prompts(), seed=9, before=clips.pixels(5))
    assert share(measure.look(pixels).motion(4) == clips.each("motion")) >= 0.9


def test_a_clip_ends_on_its_last_frame(model: Model) -> None:
    last, middle = card.to_the_end(model, 20, frames=17)
    assert last > 25
    assert middle < world.SIZE / 4


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
