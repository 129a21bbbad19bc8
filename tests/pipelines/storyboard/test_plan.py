"""Storyboards: what they plan, and which plans cannot be."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longtake.pipelines.errors import Refusal
from longtake.pipelines.storyboard.plan import Plan, plan
from longtake.pipelines.storyboard.storyboard import Storyboard
from longtake.pipelines.timeline.clips import Clip, Format, Grid, Join, Transition
from longtake.pipelines.timeline.plan import plan_clip

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


# ---- what a plan makes of words that stand for more


TRAINED = Format(Grid(4), Fraction(16), 81, 5, ends_anywhere=False, longest=Fraction(15, 2))


@given(st.floats(7.6, 300), st.sampled_from(["smooth", "cut", "fade"]), st.sampled_from([None, 0, 1, 9]))
def test_a_long_stage_of_a_storyboard_is_a_chain_exactly_as_long(seconds, transition, overlap):
    join = {"overlap": overlap} if overlap is not None else {}
    long = {"seconds": seconds, "transition": transition, **join}
    given_stages = ({"seconds": 2}, long, {"seconds": 1, "transition": "cut"})
    try:
        whole = plan(stages(*given_stages, long_stages="one clip"), TRAINED)
    except Refusal:  # a plain join after a fade and the like
        return
    split = plan(stages(*given_stages, long_stages="chain"), TRAINED)
    assert split.frames == whole.frames
    assert max(rendered(split)[1:-1]) <= 81 < rendered(whole)[1]
    assert [stage.entry.transition.value for stage in split.stages[2:-1]] == ["cut" if overlap == 0 else "smooth"] * (
        len(split.stages) - 3
    )
    assert any("long_stages: chain" in note for note in whole.notes)
    assert split.notes == (f"stage 2: long, rendered as stages 2 to {len(split.stages) - 1}",)


def test_what_a_long_stage_names_goes_to_the_stage_it_belongs_to():
    key = {"image": "mid.png", "frame": 100}
    planned = plan(
        stages(
            {
                "seconds": 10,
                "start_image": "a.png",
                "end_image": "z.png",
                "keyframes": [key, {**key, "frame": -1}],
                "carry_over": "latents",
                "overlap": 9,
                "anchor": "start_image",
                "anchor_strength": 0.3,
            },
            {"seconds": 1},
            long_stages="chain",
        ),
        TRAINED,
    )
    entries = [stage.entry for stage in planned.stages]
    assert [clip.frames for clip in planned.clips] == [81, 49, 49, 21]
    assert [entry.start_image for entry in entries] == ["a.png", None, None, None]
    assert [entry.end_image for entry in entries] == [None, None, "z.png", None]
    assert [[keyframe.frame for keyframe in entry.keyframes] for entry in entries] == [[], [28], [48], []]
    assert [(entry.overlap, entry.carry_over) for entry in entries[1:3]] == [(9, "latents")] * 2
    assert [(entry.anchor, entry.anchor_strength) for entry in entries] == [
        (None, None),
        ("start_image", 0.3),
        ("start_image", 0.3),
        (None, None),
    ]
    assert len({entry.seed for entry in entries}) == 4


def test_an_end_image_that_only_the_grid_can_hold_is_shown_and_the_difference_said():
    planned = plan(stages({"seconds": 5, "end_image": "z.png"}, {"seconds": 5, "transition": "cut"}), TRAINED)
    assert planned.frames == 160
    assert [clip.asked_end for clip in planned.clips] == [81, 160]
    assert planned.notes == (
        "stage 1: it ends on its image, 1 frame later than asked: the model can put it only on the last frame it "
        "renders. A stage in seconds after it adds as many less.",
    )


def test_a_fade_over_an_end_image_is_said():
    planned = plan(stages({"end_image": "z.png"}, {"transition": "fade"}), WAN)
    assert planned.notes == ("stage 1: its end image lies under the fade to stage 2, which covers it; a cut shows it",)


@pytest.mark.parametrize(("overlap", "shown"), [(0, [81, 81]), ("automatic", [81, 76]), (9, [81, 72])])
def test_an_overlap_is_a_number_or_a_word_and_none_at_all_is_a_plain_join(overlap, shown):
    planned = plan(stages({"frames": 81}, {"frames": 81, "overlap": overlap}, defaults={"overlap": 13}), WAN)
    assert [stage["adds_frames"] for stage in planned.as_json()["stages"]] == shown


@given(st.integers(1, 3000), st.sampled_from([WAN, LTX]))
def test_a_total_over_plain_joins_is_delivered_to_the_frame(frames, format):
    planned = plan(board(defaults={"prompt": "a boat", "overlap": 0}, total_frames=frames), format)
    assert planned.frames == frames
    assert {clip.join for clip in planned.clips} == {Join()}


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


def test_a_planned_stage_says_which_stage_of_the_document_it_comes_from() -> None:
    long = plan(board(long_stages="chain", stages=[{"prompt": "a"}, {"prompt": "b", "seconds": 20}]), TRAINED)
    assert [stage["written"] for stage in long.as_json()["stages"]] == [1, *[2] * (len(long.stages) - 1)]
    assert len(long.stages) > 2
    total = plan(board(total_seconds=20, stages=[{"prompt": "a"}]), WAN).as_json()
    assert {stage["written"] for stage in total["stages"]} == {1}
    assert sum(stage["adds_seconds"] for stage in total["stages"]) == total["seconds"] == 20
