"""What a report says of seams whose faults are known, in figures, in words and as a picture."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.film.measures import Looks, figures, sound_steps
from longtake.pipelines.film.seam_plot import HEIGHT, WIDTH, plot
from longtake.pipelines.film.seams import JUMP, LATE_JUMP, Report, Verdict, measure
from longtake.pipelines.film.sound_clock import FilmSound
from longtake.pipelines.media.sound import Waveform
from longtake.pipelines.timeline.clips import Clip, Grid, Join, Length, Transition
from longtake.pipelines.timeline.plan import plan_clip

H, W, OVERLAP, FRAMES, STAGES = 64, 96, 5, 33, 4
NET = FRAMES - OVERLAP
SMOOTH, CUT, FADE = Join(Transition.SMOOTH, overlap=OVERLAP), Join(), Join(Transition.FADE, fade_frames=8)
RATE = 8000


def scene(frame: float) -> np.ndarray:
    """Waves with steep flanks that move a pixel a frame, `[H, W, 3]` in 0..1."""
    y, x = np.mgrid[:H, :W] / 7
    waves = [np.sin((1 + c / 3) * (x - frame / 7) + y) * np.sin((2 - c / 3) * y) for c in range(3)]
    return 0.45 + 0.3 * np.tanh(4 * np.stack(waves, -1))


def chain_of(*joins: Join) -> Chain:
    clips: list[Clip] = []
    for join in joins:
        clips.append(plan_clip(clips, Length(frames=FRAMES), join, Grid(4), Fraction(16)))
    return Chain("wan22", W, H, Fraction(16), tuple(Link(clip, f"take {i}", None) for i, clip in enumerate(clips)))


def as_codes(frames: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(frames, 0, 1) * 65535).astype(np.uint16)


class Clips:
    """One moving scene over all clips of a chain, and a fault in the third of them.

    Args:
        jump: frames by which the scene leaps behind the overlap.
        late: the same, this many frames behind it.
        light: added to the frames behind the overlap.
        blur: pixels that are averaged each way in the frames behind the overlap.
    """

    def __init__(self, chain: Chain, jump: float = 0, late: int = 0, light: float = 0, blur: int = 1):
        self.chain, self.jump, self.late, self.light, self.blur = chain, jump, late, light, blur
        self.opened = 0

    def __call__(self, link: Link) -> np.ndarray:
        self.opened += 1
        index = self.chain.links.index(link)
        clip = np.stack([scene(index * NET + frame + self.leap(index, frame)) for frame in range(FRAMES)])
        if index == 2:
            for axis in (1, 2):
                clip[OVERLAP:] = sum(np.roll(clip[OVERLAP:], shift, axis) for shift in range(self.blur)) / self.blur
            clip[OVERLAP:] += self.light
        return as_codes(clip)

    def leap(self, index: int, frame: int) -> float:
        return self.jump if index > 2 or (index == 2 and frame >= OVERLAP + self.late) else 0


def report_of(*joins: Join, **fault: float) -> Report:
    chain = chain_of(CUT, *(joins or [SMOOTH] * (STAGES - 1)))
    return measure(chain, Clips(chain, **fault))  # type: ignore[arg-type]


def test_one_movement_through_all_stages_has_good_seams_only() -> None:
    report = report_of()
    assert [seam.verdict for seam in report.seams] == [Verdict.GOOD] * (STAGES - 1)
    assert all(seam.figures.jump == pytest.approx(1, abs=0.1) for seam in report.seams)
    assert str(report).splitlines() == [
        "All 3 seams are good.",
        "Seam 1, 0:02.1: good",
        "Seam 2, 0:03.8: good",
        "Seam 3, 0:05.6: good",
    ]


def test_a_leap_at_a_seam_is_told_with_its_size_and_place() -> None:
    report = report_of(jump=3)
    first, second, third = report.seams
    assert (first.verdict, third.verdict) == (Verdict.GOOD, Verdict.GOOD)
    assert second.verdict is not Verdict.GOOD
    assert second.figures.jump == pytest.approx(4, abs=0.4)
    assert report.summary.startswith(f"2 of 3 seams are good; seam 2 is {second.verdict}: the picture jumps, ")


def test_a_leap_five_frames_late_is_told_as_late() -> None:
    seam = report_of(jump=5, late=5).seams[1]
    assert seam.figures.jump == pytest.approx(1, abs=0.1)
    assert (seam.figures.late_by, seam.verdict) == (5, LATE_JUMP.verdict(seam.figures.late_jump))
    assert seam.verdict is not Verdict.GOOD
    assert seam.reason.startswith("it jumps 5 frames later, ")


def test_a_late_leap_no_larger_than_those_of_ordinary_frames_is_good() -> None:
    """The liveliest of eight frames is livelier than the one at the seam: its bound is another."""
    late, now = (report_of(jump=2, late=late).seams[1] for late in (5, 0))
    assert JUMP.visible < late.figures.late_jump < LATE_JUMP.visible
    assert late.verdict is Verdict.GOOD
    assert now.figures.jump == pytest.approx(late.figures.late_jump, abs=0.3)
    assert now.verdict is Verdict.VISIBLE


def test_a_seam_just_before_a_full_minute_lies_at_that_minute() -> None:
    report = report_of()
    seam = replace(report.seams[0], frame=16 * 60 - 1)
    assert str(replace(report, fps=Fraction(160159, 10000), seams=(seam,))).splitlines()[1].startswith("Seam 1, 0:59.9")
    assert str(replace(report, fps=Fraction(159880, 10000), seams=(seam,))).splitlines()[1].startswith("Seam 1, 1:00.0")


def test_light_that_changes_at_a_seam_is_told_in_codes() -> None:
    seam = report_of(light=9 / 255).seams[1]
    assert seam.figures.colour == pytest.approx(9, abs=0.5)
    assert seam.verdict is not Verdict.GOOD and "colour changes by 9 of 255" in seam.reason


def test_a_clip_that_is_softer_is_told_so() -> None:
    seam = report_of(blur=5).seams[1]
    assert seam.figures.sharpness < -10
    assert "% softer" in seam.reason


def test_a_hard_cut_where_a_smooth_seam_should_be_is_broken() -> None:
    report = report_of(jump=60, light=0.15)
    assert report.seams[1].verdict is Verdict.BROKEN


def test_a_cut_and_a_fade_are_what_was_asked_for() -> None:
    report = report_of(CUT, SMOOTH, FADE)
    assert [seam.verdict for seam in report.seams] == [None, Verdict.GOOD, None]
    assert str(report).splitlines() == [
        "The seam is good.",
        "Seam 1, 0:02.1: cut, as asked for",
        "Seam 2, 0:04.1: good",
        "Seam 3, 0:05.9: fade, as asked for",
    ]


def test_a_stage_that_stands_where_the_next_moves_does_not_jump() -> None:
    frames = as_codes(np.stack([scene(max(0, frame - 20)) for frame in range(40)]))
    seen = figures(Looks.at(frames, 40), 20, range(4, 36))
    assert seen.jump < 1.1 and seen.late_jump < 1.1


def test_noise_that_nobody_sees_does_not_jump() -> None:
    noise = np.random.default_rng(1).normal(0, 1e-5, (40, H, W, 3))
    noise[20:] += 1e-4
    seen = figures(Looks.at(as_codes(0.5 + noise), 40), 20, range(4, 36))
    assert seen.jump < 1


def test_every_frame_is_read_once() -> None:
    chain = chain_of(CUT, *[SMOOTH] * (STAGES - 1))
    done: list[int] = []
    clips = Clips(chain)
    measure(chain, clips, on_frame=lambda at, frames: done.append(at))
    assert done == list(range(1, chain.frames + 1))
    # Once for the film, and twice for the overlap that matching compares: by the clip before it and by its own.
    assert clips.opened <= 3 * STAGES


class Tone:
    """A tone of one level before a frame of the film and of another from it on."""

    def __init__(self, chain: Chain, at: int, before: float, after: float):
        self.chain, self.at, self.before, self.after = chain, at, before, after

    def __call__(self, link: Link) -> Waveform:
        start = self.chain.links.index(link) * NET
        time = np.arange(round(FRAMES / 16 * RATE)) / RATE
        level = np.where(start / 16 + time < self.at / 16, self.before, self.after)
        return Waveform(
            {"waveform": (level * np.sin(440 * 2 * np.pi * time)).astype(np.float32)[None, None], "sample_rate": RATE}
        )


def test_sound_that_gets_louder_at_a_seam_is_told_in_decibels() -> None:
    chain = chain_of(CUT, CUT)
    [step] = sound_steps(FilmSound(chain, Tone(chain, FRAMES, 0.1, 0.1), RATE, 1), [FRAMES])
    assert step == pytest.approx(0, abs=0.1)

    def heard(link: Link) -> Waveform:
        return Tone(chain, 0, 0.1, 0.1)(link) if link is chain.links[0] else Tone(chain, 0, 0.3, 0.3)(link)

    [step] = sound_steps(FilmSound(chain, heard, RATE, 1), [FRAMES])
    assert step == pytest.approx(20 * np.log10(3), abs=0.1)


def test_silence_on_both_sides_is_no_step() -> None:
    chain = chain_of(CUT, CUT)
    assert sound_steps(FilmSound(chain, lambda link: None, RATE, 1), [FRAMES]) == [0]


def test_the_plot_has_one_size_however_long_a_film_is() -> None:
    for joins in ([SMOOTH] * 3, [SMOOTH, CUT, FADE], [SMOOTH] * 30):
        report = report_of(*joins, jump=60, light=0.15)
        picture = plot(report)
        assert picture.shape == (HEIGHT, WIDTH, 3)
    one = measure(chain_of(CUT), Clips(chain_of(CUT)))
    assert (str(one), plot(one).shape) == ("One stage, no seam.", (HEIGHT, WIDTH, 3))
