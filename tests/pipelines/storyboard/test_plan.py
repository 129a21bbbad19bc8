"""Storyboards: what they plan, and which plans cannot be."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longtake.pipelines.chain import Clip, Format, Grid, Join, Transition
from longtake.pipelines.errors import Refusal
from longtake.pipelines.plan import plan_clip
from longtake.pipelines.storyboard.plan import Plan, plan
from longtake.pipelines.storyboard.storyboard import Storyboard

from tests.pipelines.storyboard.documents import LTX, WAN, answer, board, refused, stages


def rendered(planned: Plan) -> list[int]:
    return [clip.frames for clip in planned.clips]


# ---- plans


def test_a_plan_resolves_every_stage_on_the_film_clock():
    planned = plan(
        board(
            defaults={"seconds": 5, "seed": 7, "width": 832, "height": 480},
            stages=[
                {"prompt": "a boat", "start_image": "boat.png"},
                {"prompt": "open sea"},
                {"prompt": "a storm", "transition": "fade"},
            ],
        ),
        WAN,
    )
    facts = planned.as_json()
    assert [list(stage)[:2] for stage in facts["stages"]] == [["stage", "prompt"]] * 3
    assert [
        {name: stage[name] for name in ("transition", "rendered_frames", "adds_frames", "starts_at_frame", "seed")}
        for stage in facts["stages"]
    ] == [
        {"transition": "cut", "rendered_frames": 81, "adds_frames": 80, "starts_at_frame": 0, "seed": 7},
        {"transition": "smooth", "rendered_frames": 85, "adds_frames": 80, "starts_at_frame": 81, "seed": 8},
        {"transition": "fade", "rendered_frames": 89, "adds_frames": 80, "starts_at_frame": 152, "seed": 9},
    ]
    assert [(stage["overlap"], stage["fade_frames"]) for stage in facts["stages"]] == [(0, 0), (5, 0), (0, 8)]
    assert facts["stages"][2]["starts_at_seconds"] == 9.5
    assert facts["stages"][0]["start_image"] == "boat.png"
    assert (facts["frames"], facts["seconds"], facts["fps"], facts["notes"]) == (240, 15.0, 16.0, [])
    assert (facts["width"], facts["height"]) == (832, 480)
    assert json.loads(json.dumps(facts)) == facts
    assert planned.seconds == 15


def test_a_stage_without_a_length_renders_one_published_clip():
    planned = plan(stages({}, {}), LTX)
    assert planned.clips == (Clip(97, Join(), 97), Clip(97, Join(Transition.SMOOTH, overlap=17), 177))


def test_a_planned_entry_plans_again_to_the_same_clip():
    for read in (stages({}, {"seconds": 3.3}, {"transition": "fade"}), stages({"seed": 3}, total_seconds=47.3)):
        before: list[Clip] = []
        for stage in plan(read, WAN).stages:
            again = plan_clip(before, stage.entry.length, stage.entry.join, WAN.grid, WAN.fps)
            assert again == stage.clip
            before.append(again)


# ---- one prompt over a total


def test_a_total_carries_one_prompt_over_as_many_stages_as_it_takes():
    planned = plan(
        stages({"seed": 7, "start_image": "a.png", "end_image": "z.png", "anchor_image": "face.png"}, total_seconds=20),
        WAN,
    )
    entries = [stage.entry for stage in planned.stages]
    assert rendered(planned) == [81, 81, 81, 49, 49]
    assert planned.frames == 320
    assert [entry.seed for entry in entries] == [7, 8, 9, 10, 11]
    assert [entry.transition.value for entry in entries] == ["cut"] + ["smooth"] * 4
    assert [entry.start_image for entry in entries] == ["a.png", None, None, None, None]
    assert [entry.end_image for entry in entries] == [None, None, None, None, "z.png"]
    assert [entry.anchor_image for entry in entries] == [None] + ["face.png"] * 4


def test_a_short_total_does_not_render_a_full_clip():
    planned = plan(board(defaults={"prompt": "a boat"}, total_frames=20), LTX)
    assert (rendered(planned), planned.frames) == ([25], 20)


def test_a_total_of_400_frames_delivers_400():
    planned = plan(board(defaults={"prompt": "a boat", "overlap": 17}, total_frames=400), LTX)
    assert len(planned.stages) == 5
    assert planned.frames == 400


def test_a_total_takes_the_length_of_its_stage_as_the_longest_clip():
    planned = plan(stages({"seconds": 2, "overlap": 1, "carry_over": "latents"}, total_seconds=5), WAN)
    assert rendered(planned) == [33, 25, 25]
    assert [stage.entry.carry_over for stage in planned.stages] == [None, "latents", "latents"]
    assert planned.frames == 80


@given(
    st.sampled_from([WAN, LTX, Format(Grid(4), Fraction(24000, 1001), 121, 9)]),
    st.integers(1, 20_000),
    st.booleans(),
)
def test_every_total_is_delivered_to_the_frame(format, frames, in_seconds):
    total = {"total_seconds": frames / 16} if in_seconds else {"total_frames": frames}
    planned = plan(board(defaults={"prompt": "a boat"}, **total), format)
    exact = int(Fraction(str(frames / 16)) * format.fps + Fraction(1, 2)) if in_seconds else frames
    assert planned.frames == exact


# ---- plans that cannot be


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([{"frames": 80}], "stage 1, frames: 80 frames are given, and the model takes 4n+1; use 77 or 81"),
        ([{}, {"overlap": 6}], "stage 2, overlap: 6 frames are given, and the model takes 4n+1; use 5 or 9"),
        ([{}, {"frames": 9, "overlap": 9}], "stage 2, overlap: an overlap of 9 frames leaves nothing new"),
        ([{"frames": 5}, {"overlap": 9}], "stage 2, overlap: an overlap of 9 frames is longer than the stage before"),
        (
            [{}, {"frames": 5, "transition": "fade"}],
            "stage 2, fade_frames: a fade of 8 frames is longer than the stage itself",
        ),
        (
            [{}, {"frames": 9, "transition": "fade"}, {"transition": "fade"}],
            "stage 3, fade_frames: two fades meet: the stage before shows 9 frames",
        ),
        ([{}, {"seconds": 0.01}], "stage 2, seconds: 0.01 s would add no frame at 16 fps"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_stage_and_field(given, says):
    assert refused(*given).startswith(says)


def test_a_storyboard_of_no_stages_has_no_plan():
    with pytest.raises(Refusal, match="stages: there is none"):
        plan(Storyboard(()), WAN)


def test_a_storyboard_of_too_many_stages_has_no_plan():
    assert answer("a boat\n" * 1001, WAN) == "stages: 1001 are given; at most 1000 are read"


def test_the_soundtrack_of_a_total_is_every_stages() -> None:
    planned = plan(stages({"soundtrack": "song.flac", "anchor_image": "face.png"}, total_seconds=10), LTX)
    assert {stage.entry.soundtrack for stage in planned.stages} == {"song.flac"}
