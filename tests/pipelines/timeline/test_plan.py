"""Lengths of clips that carry one prompt over a film."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from longtake.pipelines.errors import Refusal
from longtake.pipelines.timeline.clips import Grid
from longtake.pipelines.timeline.plan import MAX_STAGES, cover

WAN, LTX = Grid(4), Grid(8)
grids = st.sampled_from([WAN, LTX])


@pytest.mark.parametrize(
    ("total", "clip", "overlap", "lengths"),
    [
        (400, 97, 9, (97, 97, 97, 73, 73)),
        (417, 97, 17, (97, 97, 97, 97, 97)),
        (200, 97, 9, (97, 65, 57)),
        (97, 97, 9, (97,)),
        (20, 97, 9, (25,)),
    ],
)
def test_a_total_is_covered_by_full_clips_and_two_that_share_the_rest(total, clip, overlap, lengths):
    assert cover(total, clip, overlap, LTX) == lengths


@given(grids, st.integers(1, 5000), st.integers(1, 30), st.integers(0, 29))
def test_a_cover_reaches_the_total_with_less_than_a_grid_step_to_spare(grid, total, clip_steps, overlap_steps):
    assume(overlap_steps < clip_steps)
    clip, overlap = clip_steps * grid.step + 1, overlap_steps * grid.step + 1
    assume(total <= (clip - overlap) * MAX_STAGES)
    lengths = cover(total, clip, overlap, grid)
    assert len(lengths) == (1 if total <= clip else 1 + math.ceil((total - clip) / (clip - overlap)))
    assert all(overlap < length <= clip and grid.contains(length) for length in lengths[1:])
    assert 0 <= sum(lengths) - overlap * (len(lengths) - 1) - total < grid.step
    assert sum(length < clip for length in lengths) <= 2


@given(grids, st.integers(1, 2000), st.integers(1, 2000))
def test_a_longer_total_keeps_all_stages_but_the_last_two(grid, total, more):
    clip, overlap = 20 * grid.step + 1, grid.step + 1
    short, long = cover(total, clip, overlap, grid), cover(total + more, clip, overlap, grid)
    kept = max(len(short) - 2, 0)
    assert long[:kept] == short[:kept]


@pytest.mark.parametrize(
    ("total", "clip", "overlap", "field", "says"),
    [
        (0, 97, 9, "total_frames", "0 frames is asked for"),
        (400, 96, 9, "frames", "use 89 or 97"),
        (400, 97, 4, "overlap", "use 1 or 9"),
        (400, 97, 97, "overlap", "use at most 89"),
        (100_000, 97, 89, "total_frames", "a chain can have 1000"),
    ],
)
def test_a_cover_that_cannot_be_is_refused(total, clip, overlap, field, says):
    with pytest.raises(Refusal, match=says) as caught:
        cover(total, clip, overlap, LTX)
    assert caught.value.field == field
