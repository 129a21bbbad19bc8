"""The film clock: what is asked is what is delivered, over every mix of joins."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.timeline.clips import (
    Carry,
    Clip,
    Grid,
    Join,
    Length,
    Span,
    Transition,
    film_frames,
    spans,
    starts,
)
from longtake.pipelines.timeline.plan import MAX_STAGES, frames_in, plan_clip

WAN, LTX = Grid(4), Grid(8)
WAN_FPS, LTX_FPS = Fraction(16), Fraction(24)
RATES = [Fraction(16), Fraction(24), Fraction(25), Fraction(30), Fraction(24000, 1001)]


def cut() -> Join:
    return Join(Transition.CUT)


def smooth(overlap: int) -> Join:
    return Join(Transition.SMOOTH, overlap=overlap)


def fade(frames: int) -> Join:
    return Join(Transition.FADE, fade_frames=frames)


@given(st.sampled_from(Transition), st.integers(0, 33), st.integers(0, 33), st.sampled_from(Carry))
def test_a_join_holds_what_its_transition_uses_and_is_made_of_itself_again(transition, overlap, frames, carry):
    join = Join.of(transition, overlap, frames, carry)
    assert Join.of(join.transition, join.overlap, join.fade_frames, join.carry) == join
    if join.transition is Transition.SMOOTH:
        assert (join.overlap, join.carry, join.fade_frames) == (overlap, carry, 0)
    else:
        assert (join.overlap, join.carry) == (0, Carry.PIXELS)
        assert join.fade_frames == (frames if join.transition is Transition.FADE else 0)


def planned(*stages: tuple[Length, Join], grid: Grid = WAN, fps: Fraction = WAN_FPS) -> list[Clip]:
    clips: list[Clip] = []
    for length, join in stages:
        clips.append(plan_clip(clips, length, join, grid, fps))
    return clips


def by_frames(grid: Grid, *stages: tuple[int, Join]) -> list[Clip]:
    return planned(*((Length(frames=frames), join) for frames, join in stages), grid=grid)


def by_seconds(*stages: tuple[float, Join], grid: Grid = WAN, fps: Fraction = WAN_FPS) -> list[Clip]:
    return planned(*((Length(seconds=seconds), join) for seconds, join in stages), grid=grid, fps=fps)


def refused(before: list[Clip], length: Length, join: Join, grid: Grid = WAN, fps: Fraction = WAN_FPS) -> Refusal:
    with pytest.raises(Refusal) as caught:
        plan_clip(before, length, join, grid, fps)
    return caught.value


def shown(clips: list[Clip]) -> list[tuple[int, int]]:
    """Where in the film each span lies, [first, stop)."""
    return [(start + span.first, start + span.stop) for start, span in zip(starts(clips), spans(clips), strict=True)]


# ---- strategies


grids = st.sampled_from([WAN, LTX])
rates = st.sampled_from(RATES)


@st.composite
def joins(draw, grid: Grid) -> Join:
    transition = draw(st.sampled_from(Transition))
    overlap = draw(st.integers(0, 6)) * grid.step + 1
    return Join.of(transition, overlap, draw(st.integers(1, 40)))


@st.composite
def chains(draw, lengths: str = "either") -> tuple[list[Clip], list[tuple[Length, Join]], Grid, Fraction]:
    """Clips of a random chain with what was asked for; stages that plan_clip refuses are left out."""
    grid, fps = draw(grids), draw(rates)
    clips: list[Clip] = []
    asked: list[tuple[Length, Join]] = []
    for _ in range(draw(st.integers(1, 12))):
        join = draw(joins(grid)) if clips else cut()
        frames = Length(frames=draw(st.integers(0, 30)) * grid.step + 1)
        seconds = Length(seconds=draw(st.floats(0.01, 8, allow_nan=False)))
        length = {"frames": frames, "seconds": seconds}.get(lengths) or draw(st.sampled_from([frames, seconds]))
        try:
            clips.append(plan_clip(clips, length, join, grid, fps))
        except Refusal:
            continue
        asked.append((length, join))
    assume(clips)
    return clips, asked, grid, fps


# ---- the grid


def test_the_grid_names_its_neighbours_and_counts_slots():
    assert [WAN.contains(frames) for frames in (0, 1, 4, 5, 80, 81)] == [False, True, False, True, False, True]
    assert [WAN.ceil(frames) for frames in (-3, 0, 1, 2, 5, 80, 81, 82)] == [1, 1, 1, 5, 5, 81, 81, 85]
    assert WAN.neighbours(80) == (77, 81)
    assert WAN.neighbours(81) == (81, 81)
    assert WAN.neighbours(0) == (1, 1)
    assert LTX.neighbours(4) == (1, 9)
    assert [LTX.slots(frames) for frames in (1, 9, 17, 97)] == [1, 2, 3, 13]


def test_slots_of_a_length_off_the_grid_are_an_error():
    with pytest.raises(ValueError, match="4 frames are not on the grid 8n\\+1"):
        LTX.slots(4)


@given(grids, st.integers(1, 10_000))
def test_ceil_is_the_shortest_length_on_the_grid_that_is_long_enough(grid, frames):
    above = grid.ceil(frames)
    assert grid.contains(above)
    assert frames <= above < frames + grid.step


# ---- seconds


def test_seconds_round_half_up_to_frames():
    assert frames_in(5, WAN_FPS) == 80
    assert frames_in(0.03125, WAN_FPS) == 1
    assert frames_in(0.15, Fraction(30)) == 5  # 4.5, though the float nearest to 0.15 lies below it
    assert frames_in(10, Fraction(24000, 1001)) == 240


def test_five_seconds_render_81_frames_and_show_80():
    clips = by_seconds((5, cut()))
    assert clips == [Clip(81, cut(), 80)]
    assert spans(clips) == (Span(0, 80, 0),)
    assert film_frames(clips) == 80


def test_a_smooth_stage_takes_up_what_the_stage_before_rendered_beyond_its_end():
    clips = by_seconds((5, cut()), (5, smooth(5)), (5, smooth(5)))
    assert [clip.frames for clip in clips] == [81, 85, 85]
    assert spans(clips) == (Span(0, 81, 0), Span(5, 85, 0), Span(5, 84, 0))
    assert film_frames(clips) == 240


def test_what_is_rendered_beyond_the_end_is_dropped_before_a_cut_and_before_a_fade():
    clips = by_seconds((5, cut()), (5, cut()), (5, fade(8)))
    assert [clip.frames for clip in clips] == [81, 81, 89]
    assert spans(clips) == (Span(0, 80, 0), Span(0, 80, 0), Span(0, 88, 8))
    assert starts(clips) == (0, 80, 152)
    assert film_frames(clips) == 240


@given(chains(lengths="seconds"))
def test_a_chain_asked_in_seconds_delivers_exactly_the_frames_asked_for(chain):
    clips, asked, _, fps = chain
    expected = sum(math.floor(Fraction(str(length.seconds)) * fps + Fraction(1, 2)) for length, _ in asked)
    assert film_frames(clips) == expected


# ---- frames


@pytest.mark.parametrize(
    ("second", "film"),
    [(smooth(25), 97 + 72 + 72), (cut(), 97 + 97 + 72), (fade(8), 97 + 89 + 72)],
)
def test_the_net_of_three_ltx_clips_follows_their_joins(second, film):
    assert film_frames(by_frames(LTX, (97, cut()), (97, second), (97, smooth(25)))) == film


def test_mold_estimates_for_three_clips_of_97_frames():
    smooth_chain = by_frames(LTX, (97, cut()), (97, smooth(25)), (97, smooth(25)))
    with_a_cut = by_frames(LTX, (97, cut()), (97, cut()), (97, smooth(25)))
    with_a_cut_and_a_fade = by_frames(LTX, (97, cut()), (97, cut()), (97, fade(8)))
    assert [film_frames(clips) for clips in (smooth_chain, with_a_cut, with_a_cut_and_a_fade)] == [241, 266, 283]
    assert shown(smooth_chain) == [(0, 97), (97, 169), (169, 241)]
    assert shown(with_a_cut_and_a_fade) == [(0, 97), (97, 194), (186, 283)]


@given(chains(lengths="frames"))
def test_frames_add_up_by_the_net_rules(chain):
    clips, asked, _, _ = chain
    net = sum(length.frames - join.overlap - join.fade_frames for length, join in asked)
    assert film_frames(clips) == net
    assert [clip.frames for clip in clips] == [length.frames for length, _ in asked]


# ---- spans


@given(chains())
def test_spans_tile_the_film_and_only_the_frames_of_a_fade_lie_in_two(chain):
    clips, *_ = chain
    covered = [0] * film_frames(clips)
    faded: set[int] = set()
    for (first, stop), span in zip(shown(clips), spans(clips), strict=True):
        faded |= set(range(first, first + span.fade_in))
        for frame in range(first, stop):
            covered[frame] += 1
    assert [count for frame, count in enumerate(covered) if frame not in faded] == [1] * (len(covered) - len(faded))
    assert all(covered[frame] == 2 for frame in faded)


@given(chains())
def test_a_clip_is_trimmed_at_its_end_alone_and_by_less_than_a_grid_step(chain):
    clips, _, grid, _ = chain
    for clip, span in zip(clips, spans(clips), strict=True):
        assert grid.contains(clip.frames)
        assert span.first == clip.join.overlap
        assert span.fade_in == clip.join.fade_frames
        assert 0 <= clip.frames - span.stop < grid.step


@given(chains())
def test_the_tail_of_a_clip_and_the_overlap_of_the_next_are_the_same_film_frames(chain):
    clips, *_ = chain
    at, cuts = starts(clips), spans(clips)
    for index in range(1, len(clips)):
        join = clips[index].join
        if join.transition is Transition.SMOOTH:
            assert at[index] == at[index - 1] + clips[index - 1].frames - join.overlap
            assert cuts[index - 1].stop == clips[index - 1].frames
        else:
            assert at[index] + join.fade_frames == clips[index - 1].asked_end


@given(chains())
def test_what_a_stage_shows_first_does_not_depend_on_what_follows(chain):
    clips, *_ = chain
    for count in range(1, len(clips)):
        alone, within = spans(clips[:count])[-1], spans(clips)[count - 1]
        assert (alone.first, alone.fade_in) == (within.first, within.fade_in)
        assert alone.stop <= within.stop


def test_no_clips_make_no_film():
    assert (spans([]), starts([]), film_frames([])) == ((), (), 0)


def test_a_chain_grows_by_a_new_value():
    clips = by_seconds((5, cut()), (5, smooth(5)))
    empty = Chain("wan22", 832, 480, WAN_FPS)
    chain = empty.append(Link(clips[0], take=None, model=None)).append(Link(clips[1], take=None, model=None))
    assert empty.frames == 0
    assert chain.frames == 160
    assert chain.spans == (Span(0, 81, 0), Span(5, 84, 0))


def test_a_join_keeps_only_the_number_its_transition_uses():
    assert Join.of(Transition.SMOOTH, 5, 8) == smooth(5)
    assert Join.of("fade", 5, 8) == fade(8)
    assert Join.of(Transition.SMOOTH, 0, 0) == cut(), "nothing is carried over no frames"
    assert Join.of(Transition.CUT, 5, 8) == cut()
    assert plan_clip([], Length(frames=81), Join(Transition.CUT, 5, 8), WAN, WAN_FPS).join == cut()


# ---- refusals


def test_frames_off_the_grid_are_refused_with_both_neighbours():
    refusal = refused([], Length(frames=80), cut())
    assert str(refusal) == "stage 1, frames: 80 frames are given, and the model takes 4n+1; use 77 or 81"


@pytest.mark.parametrize("frames", [0, -4])
def test_no_frames_are_refused(frames):
    refusal = refused(by_seconds((5, cut())), Length(frames=frames), cut())
    assert str(refusal) == f"stage 2, frames: {frames} frames are given; at least 1 is needed"


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_seconds_that_are_no_length_are_refused(seconds):
    refusal = refused([], Length(seconds=seconds), cut())
    assert (refusal.stage, refusal.field) == (1, "seconds")
    assert "give a positive number of seconds" in str(refusal)


@pytest.mark.parametrize("length", [Length(), Length(frames=81, seconds=5)])
def test_a_length_is_frames_or_seconds(length):
    assert "stage 1, frames: give its length either in frames or in seconds" in str(refused([], length, cut()))


def test_a_stage_that_rounds_to_no_frame_is_refused():
    refusal = refused([], Length(seconds=0.03), cut())
    assert str(refusal) == "stage 1, seconds: 0.03 s would add no frame at 16 fps; one frame is 0.062 s"


def test_a_smooth_stage_that_only_repeats_what_is_already_rendered_is_refused():
    before = by_seconds((5.125, cut()))  # 82 frames asked, 85 rendered
    refusal = refused(before, Length(seconds=0.1875), smooth(5))
    assert (refusal.stage, refusal.field) == (2, "seconds")
    assert "renders 3 frames more than asked" in str(refusal)
    assert "at least 0.250 s" in str(refusal)
    assert plan_clip(before, Length(seconds=0.25), smooth(5), WAN, WAN_FPS) == Clip(9, smooth(5), 86)


@pytest.mark.parametrize("join", [smooth(5), fade(8)])
def test_the_first_stage_can_only_be_cut_to(join):
    refusal = refused([], Length(frames=81), join)
    assert str(refusal).startswith("stage 1, transition: the first stage has nothing before it")


@pytest.mark.parametrize(("overlap", "says"), [(4, "use 1 or 5"), (-3, "at least 1")])
def test_an_overlap_off_the_grid_is_refused(overlap, says):
    refusal = refused(by_frames(WAN, (81, cut())), Length(frames=81), smooth(overlap))
    assert (refusal.stage, refusal.field) == (2, "overlap")
    assert says in str(refusal)


def test_an_overlap_as_long_as_the_clip_is_refused():
    refusal = refused(by_frames(WAN, (81, cut())), Length(frames=9), smooth(9))
    assert str(refusal).startswith("stage 2, overlap: an overlap of 9 frames leaves nothing new of a clip of 9")
    assert "use at most 5" in str(refusal)


def test_an_overlap_longer_than_the_stage_before_is_refused():
    refusal = refused(by_frames(WAN, (81, cut()), (5, cut())), Length(frames=81), smooth(9))
    assert str(refusal) == (
        "stage 3, overlap: an overlap of 9 frames is longer than the stage before it, which renders 5; use at most 5"
    )


def test_a_still_can_be_continued_with_an_overlap_of_one_frame():
    clips = by_frames(WAN, (1, cut()), (81, smooth(1)))
    assert shown(clips) == [(0, 1), (1, 81)]


def test_a_fade_of_no_frames_is_refused():
    refusal = refused(by_frames(WAN, (81, cut())), Length(frames=81), fade(0))
    assert str(refusal) == "stage 2, fade_frames: a fade of 0 frames is given; at least 1 is needed"


def test_a_fade_longer_than_its_stage_is_refused():
    refusal = refused(by_frames(WAN, (81, cut())), Length(frames=5), fade(6))
    assert str(refusal) == (
        "stage 2, fade_frames: a fade of 6 frames is longer than the stage itself, which has 5; use at most 5"
    )


def test_a_fade_longer_than_what_is_shown_of_the_stage_before_is_refused():
    before = by_frames(WAN, (81, cut()), (9, smooth(5)))
    refusal = refused(before, Length(frames=81), fade(5))
    assert (refusal.stage, refusal.field) == (3, "fade_frames")
    assert "of which the film shows 4; use at most 4" in str(refusal)


def test_a_fade_counts_the_trimmed_end_of_the_stage_before_not_what_it_renders():
    refusal = refused(by_seconds((5, cut())), Length(frames=97), fade(81))
    assert "of which the film shows 80; use at most 80" in str(refusal)


def test_two_fades_may_touch_but_not_meet():
    before = by_frames(WAN, (81, cut()), (13, fade(8)))
    assert film_frames([*before, plan_clip(before, Length(frames=81), fade(5), WAN, WAN_FPS)]) == 81 + 5 + 76
    refusal = refused(before, Length(frames=81), fade(6))
    assert str(refusal) == (
        "stage 3, fade_frames: two fades meet: the stage before shows 13 frames, 8 of them fade in and 6 would fade "
        "out; fade at most 5, or make that stage longer"
    )


def test_a_chain_has_a_last_stage():
    clips = by_frames(WAN, (81, cut())) * MAX_STAGES
    assert str(refused(clips, Length(frames=81), cut())) == "stage 1001: a chain can have 1000 stages"
