"""Storyboards: what documents become, and how a bad one is answered."""

from __future__ import annotations

import json
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longtake.pipelines.document import read_prompts
from longtake.pipelines.errors import Refusal
from longtake.pipelines.lora.choice import LoraChoice, Passes
from longtake.pipelines.storyboard.keyframes import NamedKeyframe
from longtake.pipelines.storyboard.plan import plan
from longtake.pipelines.storyboard.storyboard import StageEntry, Storyboard
from longtake.pipelines.storyboard.text import BOARD, DEFAULTS, STAGE, parse, to_json
from longtake.pipelines.timeline.clips import Format, Grid, Length, Transition

from tests.pipelines.storyboard.documents import LTX, WAN, answer, board, refused, stages

# ---- the three ways to write one


def test_one_prompt_a_line_leaves_out_blank_lines_and_remarks():
    read = parse("\ufeff# opening\n  a boat leaves the harbour \n\n# later\nopen sea [at dusk]\n")
    assert [entry.prompt for entry in read.stages] == ["a boat leaves the harbour", "open sea [at dusk]"]
    assert [entry.transition for entry in read.stages] == [Transition.CUT, Transition.SMOOTH]
    assert [entry.seed for entry in read.stages] == [0, 1]
    assert [clip.frames for clip in plan(read, WAN).clips] == [81, 81]


def test_a_json_list_of_texts_is_one_prompt_each():
    assert [entry.prompt for entry in parse('["a boat", "open\\nsea"]').stages] == ["a boat", "open\nsea"]
    assert read_prompts('["a boat"]') == ("a boat",)


def test_json_and_toml_say_the_same():
    in_toml = parse(
        """
        schema = "longtake.storyboard.v1"
        title = "harbour"

        [defaults]
        seconds = 4
        start_image = "boats/one.png"

        [[stages]]
        prompt = "a boat"

        [[stages]]
        prompt = '''open
sea'''
        transition = "fade"
        fade_frames = 12
        """
    )
    in_json = board(
        schema="longtake.storyboard.v1",
        title="harbour",
        defaults={"seconds": 4, "start_image": "boats/one.png"},
        stages=[{"prompt": "a boat"}, {"prompt": "open\nsea", "transition": "fade", "fade_frames": 12}],
    )
    assert in_toml == in_json
    assert in_json.stages == (
        StageEntry("a boat", length=Length(seconds=4.0), start_image="boats/one.png"),
        StageEntry("open\nsea", length=Length(seconds=4.0), seed=1, transition=Transition.FADE, fade_frames=12),
    )


@pytest.mark.parametrize("text", ["[defaults]\nseconds = 4\n[[stages]]\nprompt = 'a'", "stages = [{prompt = 'a'}]"])
def test_toml_without_a_schema_is_a_storyboard(text):
    assert parse(text).stages[0].prompt == "a"


def test_defaults_fill_in_what_a_stage_leaves_out_where_it_fits():
    read = board(
        defaults={
            "prompt": "a boat",
            "negative_prompt": "blur",
            "frames": 49,
            "seed": 2**64 - 1,
            "transition": "fade",
            "fade_frames": 4,
            "overlap": 9,
            "carry_over": "latents",
            "start_image": "first.png",
            "anchor_image": "face.png",
            "anchor_strength": 0.25,
            "soundtrack": "song.flac",
            "width": 832,
            "height": 480,
        },
        stages=[
            {},
            {"transition": "smooth", "seconds": 2, "seed": 5},
            {"prompt": "open sea", "start_image": "sea.png"},
        ],
    )
    opening = {"negative_prompt": "blur", "soundtrack": "song.flac"}
    common = {**opening, "anchor_image": "face.png", "anchor_strength": 0.25}
    assert read.stages == (
        StageEntry("a boat", length=Length(frames=49), seed=2**64 - 1, start_image="first.png", **opening),
        StageEntry(
            "a boat",
            length=Length(seconds=2.0),
            seed=5,
            transition=Transition.SMOOTH,
            overlap=9,
            carry_over="latents",
            **common,
        ),
        StageEntry(
            "open sea",
            length=Length(frames=49),
            seed=1,
            transition=Transition.FADE,
            fade_frames=4,
            start_image="sea.png",
            **common,
        ),
    )
    assert (read.width, read.height) == (832, 480)


def test_a_stage_moved_to_the_front_says_what_it_no_longer_uses():
    read = stages({"transition": "smooth", "overlap": 9}, {})
    assert read.stages[0] == StageEntry("a boat")
    assert read.notes == ("stage 1, transition, overlap: not used, nothing comes before it",)


# ---- there and back


names = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?\.png", fullmatch=True)
prompts = st.text(min_size=1).filter(str.strip)
lengths = st.one_of(
    st.none(),
    st.builds(Length, frames=st.integers(1, 300)),
    st.builds(Length, seconds=st.floats(0.001, 600)),
)


@st.composite
def boards(draw) -> Storyboard:
    expands = draw(st.booleans())
    long_stages = draw(st.sampled_from([None, "chain"]))
    entries = []
    for index in range(1 if expands else draw(st.integers(1, 5))):
        transition = draw(st.sampled_from(Transition)) if index else Transition.CUT
        smooth = bool(expands or long_stages or transition is Transition.SMOOTH)
        overlap = draw(st.none() | st.integers(0, 40)) if smooth else None
        starts = transition is not Transition.SMOOTH or overlap == 0
        anchor = draw(st.none() | names)
        word = draw(st.sampled_from([None, "start_image"])) if smooth and not anchor else None
        keys = st.builds(NamedKeyframe, names, st.integers(-300, 300), st.floats(0, 1))
        entries.append(
            StageEntry(
                prompt=draw(prompts),
                negative_prompt=draw(st.text()),
                length=draw(lengths),
                seed=draw(st.integers(0, 2**64 - 1)),
                transition=transition,
                overlap=overlap,
                fade_frames=draw(st.none() | st.integers(1, 40)) if transition is Transition.FADE else None,
                carry_over=draw(st.sampled_from([None, "pixels", "latents", "svi"]))
                if smooth and overlap != 0
                else None,
                start_image=draw(st.none() | names) if starts else None,
                image_strength=draw(st.none() | st.floats(0, 1)) if starts else None,
                end_image=draw(st.none() | names),
                anchor_image=anchor,
                anchor=word,
                anchor_strength=draw(st.none() | st.floats(0, 1)) if anchor or word else None,
                keyframes=() if expands else tuple(draw(st.lists(keys, max_size=3))),
                soundtrack=draw(st.none() | names),
            )
        )
    total_frames = draw(st.integers(1, 5000)) if expands and draw(st.booleans()) else None
    return Storyboard(
        tuple(entries),
        width=draw(st.none() | st.integers(16, 4096)),
        height=draw(st.none() | st.integers(16, 4096)),
        total_frames=total_frames,
        total_seconds=draw(st.floats(0.1, 3600)) if expands and total_frames is None else None,
        title=draw(st.text()),
        long_stages=long_stages,
    )


@given(boards())
def test_a_storyboard_written_out_is_read_back_equal(written):
    assert parse(to_json(written)) == written
    assert to_json(parse(to_json(written))) == to_json(written)


SHORT = Format(Grid(4), Fraction(16), clip_frames=17, overlap=5, ends_anywhere=False, longest=Fraction(1))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | names
values = (
    scalars | st.sampled_from([1, 5, 9, 81, "smooth", "cut", "fade", "pixels", "chain"]) | st.lists(scalars, max_size=2)
)
tables = st.dictionaries(st.sampled_from(sorted(BOARD | DEFAULTS | STAGE)), values, max_size=4)


@given(tables, tables | values, st.lists(tables | values, max_size=4), st.sampled_from([WAN, LTX, SHORT]))
def test_any_document_is_planned_or_refused(top, defaults, given_stages, format):
    text = json.dumps({**top, "defaults": defaults, "stages": given_stages})
    with suppress(Refusal):
        assert json.dumps(plan(parse(text), format).as_json())


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with suppress(Refusal):
        assert parse(text).stages


# ---- stages and totals that cannot be


def test_a_prefix_stands_before_every_prompt_as_if_it_were_written_there() -> None:
    shared = {"defaults": {"prompt_prefix": "35 mm film,\n"}}
    stages = [{"prompt": "a hill"}, {"prompt": " a valley", "prompt_prefix": ""}, {"prompt": "c", "prompt_prefix": "d"}]
    prefixed = board(**shared, stages=stages)
    assert [entry.prompt for entry in prefixed.stages] == ["35 mm film, a hill", " a valley", "d c"]
    assert parse(to_json(prefixed)) == prefixed
    assert (
        board(defaults={"prompt": "a hill", "prompt_prefix": "film,"}, stages=[{}]).stages[0].prompt == "film, a hill"
    )


def test_a_stage_without_any_prompt_is_refused():
    assert answer('{"stages": [{"prompt": "a"}, {}]}').startswith("stage 2, prompt: it is missing")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"defaults": {"seconds": 5, "frames": 81}}, "defaults.frames: seconds are given too"),
        ({"defaults": {"sed": 5}}, "defaults.sed: there is no such field; known here: seed"),
        ({"defaults": {"width": 0}}, "defaults.width: 0 is given; a whole number from 1"),
        ({"defaults": {"end_image": "a.png"}}, "defaults.end_image: there is no such field"),
        ({"defaults": {"start_image": "../a.png"}}, "defaults.start_image: '../a.png' leads out"),
        ({"titel": "x"}, "titel: there is no such field; known here: title"),
        ({"total_seconds": float("nan")}, "total_seconds: nan is given"),
        ({"total_frames": 0}, "total_frames: 0 is given; a whole number from 1"),
        ({"total_frames": 100, "total_seconds": 5}, "total_frames: total_seconds is given too"),
        (
            {"total_frames": 100, "defaults": {"transition": "cut"}},
            "defaults.transition: total_frames carries one prompt",
        ),
        ({"total_seconds": 0.01}, "total_seconds: a film of 0 frames is asked for"),
        ({"total_frames": 200, "defaults": {"overlap": 4}}, "stage 2, overlap: 4 frames are given"),
        ({"total_frames": 200, "defaults": {"frames": 80}}, "stage 1, frames: 80 frames are given"),
        ({"total_seconds": 80_000}, "total_seconds: 1280000 frames by 76 frames a stage take 16843 stages"),
    ],
)
def test_a_field_of_the_whole_is_refused_by_name(document, says):
    assert refused({}, **document).startswith(says)


def test_a_total_with_several_stages_is_refused():
    assert refused({}, {}, total_seconds=20).startswith(
        "total_seconds: a total carries one prompt over many stages, and 2 stages are given; keep one stage"
    )


def test_a_total_with_a_hard_join_is_refused():
    assert refused({"transition": "fade"}, total_frames=200).startswith(
        "stage 1, transition: total_frames carries one prompt on smoothly"
    )


def test_a_fade_into_the_first_stage_is_refused():
    assert refused({"transition": "fade"}) == "stage 1, transition: the first stage has nothing before it to fade from"


def test_a_stage_may_name_loras_of_its_own() -> None:
    pair = {"high": "style_high.safetensors", "strength_high": 3, "strength_low": 0.5, "passes": "second"}
    board = parse(
        json.dumps(
            {
                "defaults": {"loras": [{"low": "grain_low.safetensors", "high": "none"}]},
                "stages": [{"prompt": "a"}, {"prompt": "b", "loras": [pair]}, {"prompt": "c", "loras": []}],
            }
        )
    )
    assert [stage.loras for stage in board.stages] == [
        (LoraChoice("none", "grain_low.safetensors"),),
        (LoraChoice("style_high.safetensors", "auto", 3.0, 0.5, Passes.SECOND),),
        (),
    ]
    assert parse(to_json(board)) == board


def test_a_stage_may_name_keyframes_a_soundtrack_and_how_its_anchor_counts() -> None:
    read = stages(
        {"anchor_image": "face.png", "soundtrack": "song.flac"},
        {"keyframes": [{"image": "a/mid.png", "frame": 24}, {"image": "end.png", "frame": -1, "strength": 0.5}]},
        defaults={"anchor_image": "film.png", "anchor_strength": 0.3},
    )
    opening, later = read.stages
    assert (opening.anchor_image, opening.anchor_strength, opening.soundtrack) == ("face.png", 0.3, "song.flac")
    assert (later.anchor_image, later.anchor_strength, later.soundtrack) == ("film.png", 0.3, None)
    assert later.keyframes == (NamedKeyframe("a/mid.png", 24, 1.0), NamedKeyframe("end.png", -1, 0.5))
    assert parse(to_json(read)) == read
    first, second = plan(read, LTX).as_json()["stages"]
    assert (first["anchor_image"], first["anchor_strength"], first["soundtrack"]) == ("face.png", 0.3, "song.flac")
    assert second["keyframes"] == [
        {"image": "a/mid.png", "frame": 24, "strength": 1.0},
        {"image": "end.png", "frame": -1, "strength": 0.5},
    ]


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"keyframes": {"image": "a.png"}}, "stage 1, keyframes: {'image': 'a.png'} is given; a list is needed"),
        ({"keyframes": ["a.png"]}, "stage 1, keyframes[0]: 'a.png' is given; a table of fields is needed"),
        (
            {"keyframes": [{"image": "a.png"}]},
            "stage 1, keyframes[0].frame: it is missing; a keyframe has an image and",
        ),
        ({"keyframes": [{"frame": 3}]}, "stage 1, keyframes[0].image: it is missing; a keyframe has an image and"),
        (
            {"keyframes": [{"image": "a.png", "frame": 1}, {"image": "../b.png", "frame": 2}]},
            "stage 1, keyframes[1].image: '../b.png' leads out of ComfyUI's input folder",
        ),
        (
            {"keyframes": [{"image": "a.png", "frame": 1.5}]},
            "stage 1, keyframes[0].frame: 1.5 is given; a whole number",
        ),
        (
            {"keyframes": [{"image": "a.png", "frame": 1, "strength": 2}]},
            "stage 1, keyframes[0].strength: 2 is given; a number from 0 to 1 is needed",
        ),
        ({"keyframes": [{"image": "a.png", "at": 1}]}, "stage 1, keyframes[0].at: there is no such field; known here:"),
        ({"anchor_strength": 0.5}, "stage 1, anchor_strength: there is no anchor image to give a strength"),
        (
            {"anchor_image": "a.png", "anchor_strength": "0.5"},
            "stage 1, anchor_strength: '0.5' is given; a number from 0 to 1 is needed",
        ),
        ({"soundtrack": "/song.flac"}, "stage 1, soundtrack: '/song.flac' leads out of ComfyUI's input folder"),
        ({"soundtrack": ""}, "stage 1, soundtrack: it is empty; name a sound in ComfyUI's input folder"),
    ],
)
def test_what_a_stage_names_wrongly_is_refused(stage: dict, said: str) -> None:
    assert refused(stage).startswith(said)


def test_keyframes_of_a_total_are_refused() -> None:
    keys = [{"image": "a.png", "frame": 24}]
    assert refused({"keyframes": keys}, total_seconds=20) == (
        "stage 1, keyframes: a total makes many stages of this one; write them out to give one keyframes"
    )


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({}, "stage 1, loras[0]: no file is named; give high, low or both"),
        ({"high": "auto"}, "stage 1, loras[0]: no file is named; give high, low or both"),
        (
            {"file": "a"},
            "stage 1, loras[0].file: there is no such field; known here: high, low, passes, strength_high, ",
        ),
        (
            {"high": "../a.safetensors"},
            "stage 1, loras[0].high: '../a.safetensors' leads out of ComfyUI's loras folder; name a LoRA inside it",
        ),
        ({"high": "a", "passes": "third"}, "stage 1, loras[0].passes: 'third' is given; use both, first or second"),
        (
            {"high": "a", "strength_high": "1"},
            "stage 1, loras[0].strength_high: '1' is given; a number from -100 to 100 is needed",
        ),
    ],
)
def test_loras_that_cannot_be_are_refused(lora: dict, said: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(json.dumps({"stages": [{"prompt": "a", "loras": [lora]}]}))
    assert str(refused.value).startswith(said)
