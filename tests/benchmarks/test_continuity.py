"""What benchmarks/continuity measures, on painted films whose truth is known, and what it takes for chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from longtake.benchmarks.continuity.figures import figure
from longtake.benchmarks.continuity.measures import Figures, measured
from longtake.benchmarks.continuity.statistics import Interval, Verdict, difference
from longtake.demo_model import world

STAGE, STAGES = 24, 3  # frames, of each stage
SCENE = next(scene for scene in world.SCENES if scene.prompt == "a red square moves right on gray")
STARTS = [STAGE * stage for stage in range(STAGES + 1)]


def painted(*speeds: float, turn: int | None = None) -> np.ndarray:
    """A film `[frames, H, W, 3]` of one square, with a speed for each stage.

    Args:
        turn: frame from which it moves down instead.
    """
    steps = np.repeat(speeds, STAGE)
    travelled = 20 + np.concatenate([[0], np.cumsum(steps)[:-1]])
    turn = len(steps) if turn is None else turn
    across = np.minimum(travelled, travelled[min(turn, len(steps) - 1)])
    centres = torch.tensor(np.stack([across, 30 + travelled - across], -1), dtype=torch.float32)[None]
    cover = world.coverage(torch.tensor([SCENE.shape]), torch.tensor([11.0]), centres)[0, ..., None].numpy()
    front = np.array(list(world.COLOURS.values())[SCENE.colour])
    back = np.array(list(world.GROUNDS.values())[SCENE.ground])
    return (back + (front - back) * cover).astype(np.float32)


def figures_of(film: np.ndarray) -> Figures:
    return measured(film, STARTS, SCENE)


def test_a_film_without_seams_is_as_good_as_can_be() -> None:
    film = figures_of(painted(1, 1, 1))
    for key, best in (("jump", 1), ("late_jump", 1), ("speed", 0), ("angle", 0)):
        assert figure(film, key, STAGES) == pytest.approx(best, abs=0.06), key
    for key in ("colour_slope", "contrast_slope", "sharpness_slope", "colour_ends", "contrast_ends"):
        assert figure(film, key, STAGES) == pytest.approx(0, abs=0.5), key
    assert [figure(film, key, STAGES) for key in ("identity_first", "identity", "lasting")] == [1, 1, 1]


def test_a_step_of_five_pixels_is_a_jump_of_five() -> None:
    film = painted(1, 1, 1)
    film[STAGE:] = np.roll(film[STAGE:], 4, axis=2)
    first, second = figures_of(film)["jump"]
    assert first == pytest.approx(5, rel=0.1) and second == pytest.approx(1, abs=0.06)


def test_a_step_five_frames_after_a_seam_is_a_late_jump() -> None:
    film = painted(1, 1, 1)
    film[STAGE + 5 :] = np.roll(film[STAGE + 5 :], 4, axis=2)
    figures = figures_of(film)
    assert figures["late_jump"][0] == pytest.approx(5, rel=0.1)
    assert figures["jump"][0] == pytest.approx(1, abs=0.06)


def test_speed_and_direction_are_those_on_either_side_of_a_seam() -> None:
    assert figures_of(painted(1, 2, 2))["speed"] == pytest.approx([1, 0], abs=0.05)
    assert figures_of(painted(1, 1, 1, turn=STAGE))["angle"] == pytest.approx([90, 0], abs=4)


def test_colour_and_contrast_are_percent_of_what_they_were() -> None:
    film = painted(1, 1, 1)
    ground = np.median(film, axis=(1, 2), keepdims=True)
    for stage in range(STAGES):
        part = slice(STARTS[stage], STARTS[stage + 1])
        film[part] = ground[part] + (film[part] - ground[part]) * (1 - 0.1 * stage)
    figures = figures_of(film)
    assert figures["contrast"] == pytest.approx([100, 90, 80], abs=0.5)
    assert figure(figures, "contrast_slope", STAGES) == pytest.approx(-10, abs=0.3)
    assert figure(figures, "contrast_ends", STAGES) == pytest.approx(20, abs=0.5)
    reddened = painted(1, 1, 1) + np.repeat([0, 0.02, 0.04], STAGE)[:, None, None, None] * np.array([-1, 0, 0])
    assert figure(figures_of(reddened.astype(np.float32)), "colour_slope", STAGES) == pytest.approx(2, abs=0.05)


def test_softer_edges_are_less_sharp_and_of_the_same_contrast() -> None:
    film = painted(1, 1, 1)
    for axis in (1, 2):
        film[STARTS[2] :] = sum(np.roll(film[STARTS[2] :], step, axis) for step in (-1, 0, 1)) / 3
    figures = figures_of(film)
    assert figures["sharpness"][1] == pytest.approx(100, abs=1.5)
    assert figures["sharpness"][2] < 90
    assert figures["contrast"][2] == pytest.approx(100, abs=3)


def test_a_shape_that_fades_counts_as_gone_and_says_nothing_of_its_edges() -> None:
    film = painted(1, 1, 1)
    film[STARTS[2] :] = np.median(film, axis=(1, 2), keepdims=True)[STARTS[2] :]
    figures = figures_of(film)
    assert figure(figures, "lasting", STAGES) == pytest.approx(2 / 3)
    assert figure(figures, "identity", STAGES) == 0
    assert figure(figures, "sharpness_ends", STAGES) is None
    assert figure(figures, "jump", STAGES) == figures["jump"][0]


def test_another_shape_or_colour_at_the_end_is_not_right() -> None:
    film = painted(1, 1, 1)
    assert figures_of(film)["identity"] == {"1": 1, "2": 1, "3": 1}
    for other in (replace(SCENE, shape=0), replace(SCENE, colour=5)):
        assert figure(measured(film, STARTS, other), "identity", STAGES) == 0


def test_the_first_stages_of_a_film_have_the_figures_of_a_film_of_their_own() -> None:
    whole = painted(1, 1.5, 1)
    whole[STAGE:] = np.roll(whole[STAGE:], 3, axis=2)
    part, film = measured(whole[: STARTS[2]], STARTS[:3], SCENE), figures_of(whole)
    for key in ("jump", "late_jump", "speed", "angle", "colour_ends", "contrast_slope", "identity"):
        assert figure(film, key, 2) == figure(part, key, 2), key


def test_an_interval_holds_the_mean_and_narrows_with_more_chains() -> None:
    few, many = (Interval.of(np.random.default_rng(3).normal(1, 1, count).tolist()) for count in (10, 1000))
    assert few.low < few.mean < few.high
    assert many.mean == pytest.approx(1, abs=0.1)
    assert many.high - many.low == pytest.approx(2 * 1.96 / 1000**0.5, rel=0.1)
    assert many.sided and not Interval.of([-1.0, 1.0, 0.5, -0.5]).sided


def test_ways_are_compared_chain_by_chain() -> None:
    # Chains differ far more among themselves than the two ways do.
    those = {chain: 10.0 * chain for chain in range(20)}
    these = {chain: value - 1 - 0.01 * chain for chain, value in those.items()}
    apart = difference(these, those)
    assert apart is not None and apart.high < -1 and apart.count == 20
    assert difference({1: 0.0, 2: 0.0}, those) is None


def test_nothing_below_the_noise_floor_is_claimed() -> None:
    those = dict.fromkeys(range(8), 2.0)
    these = {chain: 1.9 - 0.01 * chain for chain in range(8)}
    above, below = (Verdict.of(these, those, best=1.0, floor=floor) for floor in (0.05, 0.5))
    assert above is not None and above.claimed and above.better
    assert below is not None and not below.claimed
