"""Footage read at a film's frame rate and size."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from longtake.pipelines.media.frames import bounds
from longtake.pipelines.media.retime import Fitted, Retimed


class Numbered:
    """Frames of one pixel that hold their own number, shown at given times."""

    width = height = 1

    def __init__(self, times: list[Fraction]):
        self.times = times
        self.frame_count = len(times)
        self.frame_rate = Fraction(1)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for number in range(*bounds(start, stop, self.frame_count)):
            yield np.full((1, 1, 3), number, np.uint16)


def shown(source: Retimed, start: int = 0, stop: int | None = None) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in source.frames(start, stop)]


RATES = [Fraction(16), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60)]


@pytest.mark.parametrize("rate", RATES)
def test_the_own_rate_shows_every_frame_once(rate: Fraction) -> None:
    # Containers round times to their clock; MPEG's ticks 90,000 times a second.
    times = [Fraction(round(number / rate * 90_000), 90_000) for number in range(50)]
    assert shown(Retimed(Numbered(times), rate)) == list(range(50))


def test_half_the_rate_shows_every_second_frame() -> None:
    times = [Fraction(number, 32) for number in range(32)]
    assert shown(Retimed(Numbered(times), Fraction(16))) == list(range(0, 32, 2))


def test_a_variable_rate_keeps_its_pace() -> None:
    """A second at 8 frames a second, then a second at 32: film frame n shows what is on screen at n / 16 s."""
    times = [Fraction(n, 8) for n in range(8)] + [1 + Fraction(n, 32) for n in range(32)]
    film = shown(Retimed(Numbered(times), Fraction(16)))
    assert len(film) == 32
    assert film[:16] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    assert film[16:20] == [8, 10, 12, 14]


@given(
    st.lists(st.integers(1, 9000), min_size=1, max_size=60),
    st.sampled_from(RATES),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_an_excerpt_is_what_the_whole_shows_there(steps: list[int], rate: Fraction, one: int, other: int) -> None:
    times = [Fraction(0), *(Fraction(sum(steps[: n + 1]), 90_000) for n in range(len(steps)))]
    film = Retimed(Numbered(times), rate)
    whole = shown(film)
    start, stop = sorted((min(one, film.frame_count), min(other, film.frame_count)))
    assert len(whole) == film.frame_count
    assert whole == sorted(whole)
    assert shown(film, start, stop) == whole[start:stop]


def test_frames_that_fit_are_left_alone() -> None:
    source = Numbered([Fraction(0), Fraction(1)])
    assert [frame[0, 0, 0] for frame in Fitted(source, 1, 1).frames()] == [0, 1]


class Bright:
    """Frames of one value, wider than they are high."""

    frame_count, frame_rate, width, height = 1, Fraction(24), 192, 96

    def __init__(self, value: int):
        self.value = value

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        yield np.full((96, 192, 3), self.value, np.uint16)


@pytest.mark.parametrize("value", [0, 1, 255, 12345, 30840, 65534, 65535])
def test_footage_at_another_size_is_as_bright_as_it_was_to_the_sixteenth_bit(value: int) -> None:
    [frame] = Fitted(Bright(value), 64, 64).frames()
    assert frame.shape == (64, 64, 3) and frame.dtype == np.uint16
    assert np.abs(frame.astype(int) - value).max() <= 1
