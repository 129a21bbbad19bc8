"""Colour drift over smooth seams: found from the overlap that both clips show, taken back over whole clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.film.colour import UNCHANGED, Colour, Grade, Match, compare
from longtake.pipelines.film.measures import Looks
from longtake.pipelines.film.seams import measure
from longtake.pipelines.film.stitch import Film
from longtake.pipelines.takes.derived import Derived
from longtake.pipelines.takes.store import Store
from longtake.pipelines.timeline.clips import Clip, Grid, Join, Length, Transition
from longtake.pipelines.timeline.plan import plan_clip

H, W, OVERLAP, FRAMES = 96, 128, 5, 21
SMOOTH, CUT = Join(Transition.SMOOTH, overlap=OVERLAP), Join()
STAGES = 6
DRIFT = Colour((0.97, 1.02, 0.98), (0.012, -0.004, 0.008))  # what each stage adds to the one before


def scene(frame: int) -> np.ndarray:
    """Waves that move a pixel a frame under light that comes and goes, `[H, W, 3]` in 0..1."""
    y, x = np.mgrid[:H, :W] / 7
    waves = [np.sin((1 + c / 3) * (x - frame / 7) + y) * np.sin((2 - c / 3) * y) for c in range(3)]
    return 0.45 + 0.3 * np.stack(waves, -1) * (1 + 0.1 * np.sin(frame / 9))


def chain_of(*joins: Join) -> Chain:
    clips: list[Clip] = []
    for join in joins:
        clips.append(plan_clip(clips, Length(frames=FRAMES), join, Grid(4), Fraction(16)))
    return Chain("wan22", W, H, Fraction(16), tuple(Link(clip, f"take {i}", None) for i, clip in enumerate(clips)))


class Drifting:
    """Clips of one moving scene, each with the drift of all before it and some noise of its own.

    Args:
        noise: standard deviation, 0..1.
    """

    def __init__(self, chain: Chain, drift: Colour = DRIFT, noise: float = 0.01):
        self.chain, self.noise = chain, noise
        self.drift = [UNCHANGED]
        for _ in chain.links[1:]:
            self.drift.append(drift.after(self.drift[-1]))

    def clean(self, index: int, frame: int) -> np.ndarray:
        return scene(index * (FRAMES - OVERLAP) + frame)

    def __call__(self, link: Link) -> np.ndarray:
        index = self.chain.links.index(link)
        colour, rng = self.drift[index], np.random.default_rng(index)
        clip = np.stack([self.clean(index, frame) for frame in range(FRAMES)]) * colour.gain + colour.offset
        clip += rng.normal(0, self.noise, clip.shape)
        return np.rint(np.clip(clip, 0, 1) * 65535).astype(np.uint16)


def film_of(chain: Chain, decoded: Callable[[Link], np.ndarray], match: bool) -> list[np.ndarray]:
    return [frame.copy() for frame in Film(chain, decoded, Match(chain, decoded) if match else None).frames()]


def error(frames: list[np.ndarray]) -> float:
    """How far the mean colour of the last stage lies from that of the scene, 0..1."""
    last = range(len(frames) - 8, len(frames))
    return max(float(np.abs(frames[i].mean((0, 1)) / 65535 - scene(i).mean((0, 1))).max()) for i in last)


def test_drift_that_adds_up_over_stages_is_taken_back() -> None:
    chain = chain_of(CUT, *[SMOOTH] * (STAGES - 1))
    decoded = Drifting(chain)
    assert error(film_of(chain, decoded, match=False)) > 0.02
    assert error(film_of(chain, decoded, match=True)) < 0.003


def test_contrast_that_drifts_is_taken_back_and_noise_does_not_wear_it_away() -> None:
    chain = chain_of(CUT, *[SMOOTH] * (STAGES - 1))
    weaker = Drifting(chain, Colour((0.96,) * 3, (0.02,) * 3), noise=0.02)
    steady = Drifting(chain, UNCHANGED, noise=0.02)
    lost = 0.96 ** (STAGES - 1)
    # The noise of a few thousand pixels, over five seams; a regression would have made it 5 % weaker at each.
    assert Match(chain, weaker).of(STAGES - 1).head.gain == pytest.approx((1 / lost,) * 3, rel=0.03)
    assert Match(chain, steady).of(STAGES - 1).head.gain == pytest.approx((1,) * 3, abs=0.03)


def test_what_is_off_in_the_overlap_alone_is_not_carried_on() -> None:
    """A model shows the frames it was given a little differently from those that it makes itself."""
    chain = chain_of(CUT, *[SMOOTH] * (STAGES - 1))
    steady = Drifting(chain, UNCHANGED, noise=0.002)

    def decoded(link: Link) -> np.ndarray:
        clip = steady(link).copy()
        if link is not chain.links[0]:
            clip[:OVERLAP] -= 600  # 1 % darker
        return clip

    assert error(film_of(chain, decoded, match=True)) < 0.002


def test_clips_that_agree_on_their_overlap_are_shown_to_the_bit() -> None:
    chain = chain_of(CUT, SMOOTH, SMOOTH)
    decoded = Drifting(chain, UNCHANGED, noise=0)
    assert Match(chain, decoded).of(2) == Grade()
    for matched, rendered in zip(film_of(chain, decoded, True), film_of(chain, decoded, False), strict=True):
        assert np.array_equal(matched, rendered)


def test_a_cut_begins_anew() -> None:
    chain = chain_of(CUT, SMOOTH, CUT, SMOOTH)
    match = Match(chain, Drifting(chain))
    assert match.of(0) == match.of(2) == Grade()
    assert match.of(1) != Grade() and match.of(3) != Grade()


def test_a_clip_that_did_not_keep_to_its_overlap_is_left_as_it_is() -> None:
    chain = chain_of(CUT, SMOOTH, SMOOTH)
    decoded = Drifting(chain, Colour((1.0,) * 3, (0.15, 0.0, 0.0)), noise=0)
    match = Match(chain, decoded)
    assert not match.replay(1).same
    assert match.of(2) == Grade()


def test_the_first_frame_of_a_longer_overlap_may_be_an_anchor_image() -> None:
    chain = chain_of(CUT, SMOOTH)
    drifting = Drifting(chain, UNCHANGED, noise=0)

    def decoded(link: Link) -> np.ndarray:
        clip = drifting(link).copy()
        if link is chain.links[1]:
            clip[0] = 0
        return clip

    assert Match(chain, decoded).of(1) == Grade()


def test_any_part_of_a_film_has_the_colours_of_the_whole() -> None:
    chain = chain_of(CUT, *[SMOOTH] * 3)
    decoded = Drifting(chain)
    whole = film_of(chain, decoded, match=True)
    part = [frame.copy() for frame in Film(chain, decoded, Match(chain, decoded)).frames(50, 55)]
    assert all(np.array_equal(a, b) for a, b in zip(part, whole[50:55], strict=True))


def test_a_flat_picture_says_nothing_of_contrast() -> None:
    grey = np.full((4, H, W, 3), 30_000, np.uint16)
    lighter = np.full((4, H, W, 3), 31_000, np.uint16)
    assert compare(grey, lighter).correction.gain == (1, 1, 1)
    assert np.array_equal(compare(grey, lighter).correction.apply(lighter[0]), grey[0])


class Bridged(Drifting):
    """The same, its second clip rendered anew: pinned to both neighbours, with a colour of its own."""

    own = Colour((1.03,) * 3, (-0.02, 0.01, 0.0))

    def __call__(self, link: Link) -> np.ndarray:
        clip = super().__call__(link)
        if self.chain.links.index(link) != 1:
            return clip
        # Beside each neighbour it has that one's colours, changed by its own.
        there = np.linspace(0, 1, FRAMES)[:, None, None, None]
        seen = np.stack([self.clean(1, frame) for frame in range(FRAMES)])
        colours = [self.own.after(self.drift[index]) for index in (0, 2)]
        ends = [seen * colour.gain + colour.offset for colour in colours]
        mixed = (1 - there) * ends[0] + there * ends[1]
        return np.rint(np.clip(mixed, 0, 1) * 65535).astype(np.uint16)


def with_takes(chain: Chain, *keys: str) -> Chain:
    links = [replace(link, take=SimpleNamespace(key=key)) for link, key in zip(chain.links, keys, strict=True)]
    return replace(chain, links=tuple(replace(link, model=SimpleNamespace(vae="vae", tiled=False)) for link in links))


def test_a_stage_rendered_anew_between_others_takes_the_difference_and_they_look_as_they_did(tmp_path: Path) -> None:
    kept = Derived(Store(tmp_path))
    chain = with_takes(chain_of(CUT, *[SMOOTH] * 3), "a", "b", "c", "d")
    before = Match(chain, Drifting(chain, noise=0.002), kept)
    grades = [before.of(index) for index in range(4)]
    bridged = with_takes(chain, "a", "other", "c", "d")
    decoded = Bridged(bridged, noise=0.002)

    after = Match(bridged, decoded, kept)

    assert [after.of(index) for index in (0, 2, 3)] == [grades[index] for index in (0, 2, 3)]
    assert after.of(1).head != after.of(1).end
    film = [frame.copy() for frame in Film(bridged, decoded, after).frames()]
    shown = [np.abs(frame.mean((0, 1)) / 65535 - scene(i).mean((0, 1))).max() for i, frame in enumerate(film)]
    assert max(shown) < 0.006
    plain = [frame.copy() for frame in Film(bridged, decoded, Match(bridged, decoded)).frames()]
    assert error(plain) > 0.006 > error(film)


def test_a_report_sees_the_colours_that_the_film_keeps(tmp_path: Path) -> None:
    kept = Derived(Store(tmp_path))
    chain = with_takes(chain_of(CUT, *[SMOOTH] * 3), "a", "b", "c", "d")
    Match(chain, Drifting(chain, noise=0.002), kept).of(3)
    bridged = with_takes(chain, "a", "other", "c", "d")
    decoded = Bridged(bridged, noise=0.002)
    film = Film(bridged, decoded, Match(bridged, decoded, kept))

    seen = measure(bridged, decoded, kept=kept).looks

    assert np.array_equal(seen.colour, Looks.at(film.frames(), film.frame_count).colour)


def test_corrections_that_differ_by_less_than_half_a_code_value_are_one(tmp_path: Path) -> None:
    kept = Derived(Store(tmp_path))
    chain = with_takes(chain_of(CUT, SMOOTH, SMOOTH), "a", "b", "c")
    first = Match(chain, Drifting(chain, noise=0.0))
    Match(chain, Drifting(chain, noise=0.0), kept).of(2)
    again = with_takes(chain, "a", "nearly b", "c")
    nearly = Drifting(again, noise=0.001)

    match = Match(again, nearly, kept)

    assert match.of(1).head == match.of(1).end
    assert match.of(2) == first.of(2)


def test_nothing_is_decoded_for_what_was_measured_before(tmp_path: Path) -> None:
    kept = Derived(Store(tmp_path))
    chain = with_takes(chain_of(CUT, SMOOTH, SMOOTH), "a", "b", "c")
    grades = [Match(chain, Drifting(chain), kept).of(index) for index in range(3)]

    def none(link: Link) -> np.ndarray:
        raise AssertionError("decoded")

    assert [Match(chain, none, kept).of(index) for index in range(3)] == grades


def test_correcting_in_eight_bits_rounds_once_to_the_nearest() -> None:
    frame = np.random.default_rng(0).integers(0, 65536, (40, 24, 3)).astype(np.uint16)
    frame[0], frame[1] = 0, 65535
    ends = [Colour((0.8, 1.25, 1.25), (-0.1, 0.1, -0.1)), Colour((1.1, 0.9, 1.0), (0.05, -0.05, 0.0))]
    for colour in (UNCHANGED, DRIFT, *ends, Colour((0.9, 0.9, 0.9), (0.05, 0.0, 0.05))):
        exact = np.clip(frame.astype(np.float64) * colour.gain + np.multiply(65535, colour.offset), 0, 65535)
        in_8 = colour.apply_8(frame, np.empty(frame.shape, np.uint8))
        assert np.abs(colour.apply(frame) - exact).max() <= 0.51
        assert np.abs(in_8 - exact / 257).max() <= 0.501
