"""mold's chain scripts, read as storyboards."""

from __future__ import annotations

from fractions import Fraction

import pytest
from longtake.pipelines.errors import Refusal
from longtake.pipelines.storyboard.plan import plan
from longtake.pipelines.storyboard.storyboard import StageEntry
from longtake.pipelines.storyboard.text import parse
from longtake.pipelines.timeline.clips import Format, Grid, Length, Transition

LTX = Format(Grid(8), Fraction(24), clip_frames=97, overlap=17)

SCRIPT = """
schema = "mold.chain.v1"

[chain]
model = "ltx-2-19b-distilled:fp8"
width = 1216
height = 704
fps = 24
seed = 42
steps = 8
guidance = 3.0
strength = 1.0
motion_tail_frames = 25
output_format = "mp4"

[[stage]]
prompt = "a cat walks into the autumn forest"
frames = 97
source_image_path = "cat.png"

[[stage]]
prompt = '''the forest opens
to a clearing'''
frames = 97
seed_offset = 3
negative_prompt = "blur"

[[stage]]
prompt = "night falls"
frames = 97
transition = "fade"
fade_frames = 8
"""


def one(stage: str, chain: str = "") -> str:
    return f'[chain]\n{chain}\n[[stage]]\nprompt = "a cat"\nframes = 97\n[[stage]]\nprompt = "a dog"\n{stage}\n'


def test_a_script_becomes_the_same_stages():
    read = parse(SCRIPT)
    assert (read.width, read.height) == (1216, 704)
    assert read.stages == (
        StageEntry(
            "a cat walks into the autumn forest",
            length=Length(frames=97),
            seed=42,
            start_image="cat.png",
            image_strength=1.0,
        ),
        StageEntry(
            "the forest opens\nto a clearing",
            negative_prompt="blur",
            length=Length(frames=97),
            seed=42 ^ 3,
            transition=Transition.SMOOTH,
            overlap=25,
        ),
        StageEntry("night falls", length=Length(frames=97), seed=42, transition=Transition.FADE, fade_frames=8),
    )
    assert plan(read, LTX).frames == 97 + 72 + 89


def test_what_has_no_meaning_here_is_said():
    assert parse(SCRIPT).notes == (
        "chain.model: not used, the model is the one connected here",
        "chain.fps: not used, the frame rate is the model's own",
        "chain.steps: not used, steps are set by Wan Sampling",
        "chain.guidance: not used, guidance is set by Wan Sampling",
        "chain.output_format: not used, the format of the file is chosen where the film is encoded",
    )
    assert plan(parse(SCRIPT), LTX).as_json()["notes"] == list(parse(SCRIPT).notes)


def test_a_script_without_a_schema_is_the_first_version():
    assert [entry.seed for entry in parse(one("frames = 97")).stages] == [0, 0]
    assert parse(one("frames = 97")).stages[1].overlap is None


def test_a_picture_on_a_smooth_stage_is_its_anchor():
    read = parse(one('frames = 97\nsource_image_path = "dog.png"'))
    assert (read.stages[1].start_image, read.stages[1].anchor_image) == (None, "dog.png")
    assert read.notes == ("stage 2, source_image_path: read as its anchor image, a smooth stage starts from the tail",)


def test_the_strength_of_a_script_is_that_of_its_first_picture():
    read = parse(one('frames = 97\ntransition = "cut"\nsource_image_path = "dog.png"', "strength = 0.6"))
    assert [stage.image_strength for stage in read.stages] == [0.6, None]
    assert read.notes == ()


def test_a_tail_of_no_frames_is_a_plain_join():
    read = parse(one('frames = 97\nsource_image_path = "dog.png"', "motion_tail_frames = 0"))
    planned = plan(read, LTX)
    assert (read.stages[1].start_image, read.stages[1].anchor_image) == ("dog.png", None)
    assert [stage.clip.join.transition for stage in planned.stages] == [Transition.CUT] * 2
    assert planned.frames == 97 + 97


def test_a_transition_into_the_first_stage_is_read_as_a_cut():
    read = parse('[[stage]]\nprompt = "a cat"\nframes = 97\ntransition = "fade"\nfade_frames = 4\nmodel = "x"')
    assert read.stages == (StageEntry("a cat", length=Length(frames=97)),)
    assert read.notes == (
        "stage 1, transition: fade is read as cut, nothing comes before it",
        "stage 1, fade_frames: not used, the stage does not fade in",
        "stage 1, model: not used, the model is the one connected here",
    )


@pytest.mark.parametrize(
    ("stage", "chain", "says"),
    [
        ("", "", "stage 2, frames: it is missing"),
        (
            'frames = 97\nsource_image_b64 = "aGk="',
            "",
            "stage 2, source_image_b64: pictures inside a script are not read",
        ),
        ('frames = 97\nsource_image = "aGk="', "", "stage 2, source_image: pictures inside a script are not read"),
        ('frames = 97\nsource_image_path = "../dog.png"', "", "stage 2, source_image_path: '../dog.png' leads out"),
        ("frames = 97\nloras = [{path = 'x'}]", "", "stage 2, loras: a script's stage cannot choose its own"),
        ('frames = 97\ntransition = "wipe"', "", "stage 2, transition: 'wipe' is given; use smooth, cut or fade"),
        ("frames = 97\nsed_offset = 2", "", "stage 2, sed_offset: there is no such field; known here: seed_offset"),
        ("frames = 97", "motion_tail_frames = -1", "chain.motion_tail_frames: -1 is given; a number of frames is"),
        ("frames = 97", "strength = 2", "chain.strength: 2 is given; a number from 0 to 1 is needed"),
        ("frames = 97", "hight = 4", "chain.hight: there is no such field; known here: height"),
        (
            "frames = 97",
            "motion_tail_frames = 4",
            "stage 2, overlap: 4 frames are given, and the model takes 8n+1; use 1",
        ),
        ("frames = 96", "", "stage 2, frames: 96 frames are given, and the model takes 8n+1; use 89 or 97"),
    ],
)
def test_a_script_that_cannot_be_is_refused_by_stage_and_field(stage, chain, says):
    with pytest.raises(Refusal) as caught:
        plan(parse(one(stage, chain)), LTX)
    assert str(caught.value).startswith(says)


def test_a_script_of_no_stages_is_refused():
    with pytest.raises(Refusal, match="stages: there is none"):
        parse("[chain]\nwidth = 704")
