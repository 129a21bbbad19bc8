"""The sound of a chain: to the sample, on the film's clock, without a jump at a seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.film.sound_clock import FilmSound, join
from longtake.pipelines.media.sound import BLOCK, Waveform
from longtake.pipelines.timeline.clips import Grid, Join, Length, Transition, starts
from longtake.pipelines.timeline.plan import plan_clip

GRID = Grid(8)
RATE = 4800  # low, so that hundreds of films stay quick; a multiple of every frame rate here, and once of none


def chain_of(joins: list[tuple[Join, Length]], fps: Fraction) -> Chain:
    chain = Chain("ltx2", 64, 64, fps)
    for wanted, length in joins:
        clip = plan_clip(chain.clips, length, wanted if chain.links else Join(), GRID, fps)
        chain = chain.append(Link(clip, None, None))  # type: ignore[arg-type]
    return chain


def film_sound(
    chain: Chain, decoded: Callable[[Link], np.ndarray | None], sample_rate: int, channels: int
) -> FilmSound:
    """The sound of a chain whose links sound like these samples `[C, N]`."""

    def heard(link: Link) -> Waveform | None:
        sound = decoded(link)
        return None if sound is None else Waveform({"waveform": sound[None], "sample_rate": sample_rate})

    return FilmSound(chain, heard, sample_rate, channels)


def samples(chain: Chain, sound: FilmSound) -> np.ndarray:
    return np.concatenate(list(sound.blocks()), axis=1)


joins = st.one_of(
    st.builds(Join, st.just(Transition.SMOOTH), st.sampled_from([1, 9, 17])),
    st.just(Join(Transition.CUT)),
    st.builds(Join, st.just(Transition.FADE), st.just(0), st.integers(1, 12)),
)
lengths = st.one_of(
    st.builds(Length, st.sampled_from([25, 33, 49])),
    st.builds(Length, st.none(), st.floats(1.0, 3.0).map(lambda x: round(x, 2))),
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(joins, lengths), min_size=1, max_size=20),
    st.sampled_from([Fraction(24), Fraction(25), Fraction(30), Fraction(24000, 1001)]),
    st.sampled_from([RATE, 4410]),
)
def test_a_film_has_exactly_the_samples_of_its_frames(
    stages: list[tuple[Join, Length]], fps: Fraction, rate: int
) -> None:
    try:
        chain = chain_of(stages, fps)
    except Refusal:
        return
    sound = film_sound(chain, lambda link: np.ones((2, link.clip.frames * rate), np.float32), rate, 2)
    assert samples(chain, sound).shape == (2, round(chain.frames / fps * rate))


@pytest.mark.parametrize("fps", [24, 25, 30])
def test_clips_cut_from_one_sound_give_that_sound_back(fps: int) -> None:
    """Overlaps that hold the same sound must leave no trace: no bump, no gap, no shift by a sample."""
    chain = chain_of([(Join(Transition.SMOOTH, 17), Length(49))] * 20, Fraction(fps))
    whole = np.random.default_rng(1).normal(0, 0.1, (2, round(chain.frames / fps * RATE))).astype(np.float32)
    begins = {id(link): round(start / fps * RATE) for link, start in zip(chain.links, starts(chain.clips), strict=True)}

    def decoded(link: Link) -> np.ndarray:
        begin = begins[id(link)]
        return whole[:, begin : begin + round(link.clip.frames / fps * RATE)]

    # 1e-6 is a few float32 roundings of samples near 0.4
    assert np.abs(samples(chain, film_sound(chain, decoded, RATE, 2)) - whole).max() < 1e-6


def test_a_quieter_stage_is_brought_to_the_level_before_it_and_eases_back() -> None:
    chain = chain_of([(Join(Transition.SMOOTH, 17), Length(97))] * 2, Fraction(24))
    time = np.arange(RATE * 8) / RATE
    tone = np.sin(2 * np.pi * 200 * time).astype(np.float32)[None]
    begin = round(80 / 24 * RATE)
    clips = {0: tone, 1: 0.5 * tone[:, begin:]}
    order = {id(link): index for index, link in enumerate(chain.links)}
    heard = samples(chain, film_sound(chain, lambda link: clips[order[id(link)]], RATE, 1))

    def level(second: float) -> float:
        middle = round(second * RATE)
        return float(np.sqrt(np.mean(heard[0, middle - 120 : middle + 120] ** 2)) * np.sqrt(2))

    assert level(97 / 24 + 0.1) == pytest.approx(1.0, abs=0.05)
    assert level(chain.frames / 24 - 0.1) == pytest.approx(0.5, abs=0.03)
    jumps = [abs(level(second) - level(second + 0.05)) for second in np.arange(3.2, 4.3, 0.05)]
    assert max(jumps) < 0.02


def test_a_cut_cuts_on_its_sample() -> None:
    chain = chain_of([(Join(Transition.CUT), Length(25))] * 2, Fraction(25))
    order = {id(link): value for link, value in zip(chain.links, (0.25, -0.5), strict=True)}
    heard = samples(chain, film_sound(chain, lambda link: np.full((1, RATE), order[id(link)]), RATE, 1))
    assert set(heard[0, :RATE]) == {0.25}
    assert set(heard[0, RATE:]) == {-0.5}


def test_a_fade_of_unlike_sounds_keeps_its_power() -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, (2, 1, 48_000)).astype(np.float32)
    faded = join(noise[0], noise[1])
    power = (faded.reshape(48, 1000) ** 2).mean(axis=1)
    # The mean of 1000 squared samples of noise scatters by 4.5 %; four times that.
    assert power == pytest.approx(0.01, rel=0.18)


def test_a_fade_of_like_sounds_does_not_swell() -> None:
    tone = np.sin(np.arange(4800) / 7).astype(np.float32)[None]
    assert np.abs(join(tone, tone) - tone).max() < 1e-6


def test_a_stage_without_sound_is_silent() -> None:
    chain = chain_of([(Join(Transition.CUT), Length(25))] * 2, Fraction(25))
    first = chain.links[0]
    heard = samples(chain, film_sound(chain, lambda link: np.ones((2, RATE)) if link is first else None, RATE, 2))
    assert heard[:, :RATE].min() == 1
    assert not heard[:, RATE:].any()


def test_a_long_video_is_heard_block_by_block() -> None:
    read: list[int] = []

    class Hour:
        sample_rate, channels = RATE, 1

        def blocks(self) -> Iterator[np.ndarray]:
            for number in range(3600 * RATE // BLOCK):
                read.append(number)
                yield np.full((1, BLOCK), number, np.float32)

    chain = chain_of([(Join(), Length(None, 3600.0))], Fraction(24))
    blocks = FilmSound(chain, lambda _: Hour(), RATE, 1).blocks()
    heard = 0
    for block in blocks:
        heard += block.shape[1]
        assert len(read) <= heard // BLOCK + 1
        assert block.shape[1] <= BLOCK
    assert heard == 3600 * RATE


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(joins, lengths), min_size=2, max_size=6), st.integers(50, 3000))
def test_how_a_sound_is_cut_into_blocks_is_not_heard_in_a_film(stages: list[tuple[Join, Length]], block: int) -> None:
    try:
        chain = chain_of(stages, Fraction(24))
    except Refusal:
        return
    noise = np.random.default_rng(3).normal(0, 0.1, (1, 40 * RATE)).astype(np.float32)
    order = {id(link): number for number, link in enumerate(chain.links)}

    class Cut(Waveform):
        def blocks(self) -> Iterator[np.ndarray]:
            for first in range(0, self.waveform.shape[2], block):
                yield self.waveform[0, :, first : first + block]

    def wave(link: Link) -> dict:
        return {"waveform": noise[None, :, order[id(link)] * 100 :], "sample_rate": RATE}

    whole = samples(chain, FilmSound(chain, lambda link: Waveform(wave(link)), RATE, 1))
    cut = samples(chain, FilmSound(chain, lambda link: Cut(wave(link)), RATE, 1))
    assert np.array_equal(whole, cut)
