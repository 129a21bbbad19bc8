"""Reading documents: malformed ones, and every field that is not what it should be, answered by place."""

from __future__ import annotations

import json
import os
import time

import pytest
from longtake.pipelines.errors import Refusal
from longtake.pipelines.storyboard.text import parse


def answer(text: str) -> str:
    """The refusal a document is met with."""
    with pytest.raises(Refusal) as caught:
        parse(text)
    return str(caught.value)


def refused(*stages: dict) -> str:
    """The refusal of a storyboard of these stages."""
    return answer(json.dumps({"stages": [{"prompt": "a boat", **stage} for stage in stages]}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"stages": [\n  {"prompt": }', "not valid JSON: Expecting value (line 2, column 14)"),
        ('schema = "longtake.storyboard.v1"\n[[stages]]\nprompt = \n', "not valid TOML: Invalid value (at line 3"),
        ('{"stages": ' + "[" * 100_000, "not readable as JSON: it nests too deeply"),
        ('{"stages": ' + "9" * 5000 + "}", "not readable as JSON: it nests too deeply or holds a number"),
        ("[defaults]\nseed = 0x" + "f" * 5000, "defaults.seed: a number of thousands of digits is given"),
        ('{"stages": [{"prompt": "a", "prompt": "b"}]}', "prompt: it is given twice in one place; keep one"),
        ("# nothing\n\n", "prompts: no prompt is given; write one a line, or a JSON list"),
        ("", "prompts: no prompt is given; write one a line, or a JSON list"),
        ('["a", " "]', "prompt 2: it is empty"),
        ('[\n "a", 3]', "prompt 2: 3 is given; a text is needed"),
        ("[]", "prompts: no prompt is given; write one a line, or a JSON list"),
        ('{"schema": "longtake.storyboard.v2"}', "schema: 'longtake.storyboard.v2' is not known; use longtake.storybo"),
        (
            'schema = "mold.chain.v99"',
            "schema: 'mold.chain.v99' is not known; use longtake.storyboard.v1 or mold.chain.v1",
        ),
        ("{}", "stages: there is none; give at least one stage"),
        ('{"stages": [], "defaults": {"prompt": "a boat"}}', "stages: there is none; give at least one stage"),
        ('{"stages": {"prompt": "a"}}', "stages: {'prompt': 'a'} is given; a list is needed"),
        ('{"stages": ["a boat"]}', "stage 1: 'a boat' is given; a table of fields is needed"),
        ('{"stages": [{}], "defaults": []}', "defaults: [] is given; a table of fields is needed"),
        ('{"stage": [{"prompt": "a"}]}', "stage: there is no such field; known here: stages"),
    ],
)
def test_a_document_that_cannot_be_read_says_where_and_why(text, says):
    assert answer(text).startswith(says)


# ---- fields


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ({"secnds": 5}, "stage 2, secnds: there is no such field; known here: seconds"),
        (
            {"xyz": 5},
            "stage 2, xyz: there is no such field; known here: anchor, anchor_image, anchor_strength",
        ),
        ({"width": 832}, "stage 2, width: there is no such field"),
        ({"prompt": " \n"}, "stage 2, prompt: it is empty; say what is to be seen"),
        ({"prompt": 5}, "stage 2, prompt: 5 is given; a text is needed"),
        ({"negative_prompt": None}, "stage 2, negative_prompt: None is given; a text is needed"),
        ({"seconds": float("nan")}, "stage 2, seconds: nan is given; a positive number of seconds"),
        ({"seconds": float("inf")}, "stage 2, seconds: inf is given; a positive number of seconds"),
        ({"seconds": -1}, "stage 2, seconds: -1 is given; a positive number of seconds"),
        ({"seconds": 0}, "stage 2, seconds: 0 is given; a positive number of seconds"),
        ({"seconds": True}, "stage 2, seconds: True is given; a positive number of seconds"),
        ({"seconds": "5"}, "stage 2, seconds: '5' is given; a positive number of seconds"),
        ({"frames": 81.0}, "stage 2, frames: 81.0 is given; a whole number from 1 to 1000000 is needed"),
        ({"frames": True}, "stage 2, frames: True is given; a whole number from 1"),
        ({"frames": -3}, "stage 2, frames: -3 is given; a whole number from 1"),
        ({"frames": 10**400}, "stage 2, frames: 1000"),
        ({"frames": 81, "seconds": 5}, "stage 2, frames: seconds are given too; keep one of the two"),
        ({"seed": -1}, "stage 2, seed: -1 is given; a whole number from 0 to 18446744073709551615 is needed"),
        ({"seed": 2**64}, "stage 2, seed: 18446744073709551616 is given; a whole number from 0"),
        ({"seed": False}, "stage 2, seed: False is given; a whole number from 0"),
        ({"seed": 1.5}, "stage 2, seed: 1.5 is given; a whole number from 0"),
        ({"transition": "wipe"}, "stage 2, transition: 'wipe' is given; use smooth, cut or fade"),
        ({"carry_over": ["pixels"]}, "stage 2, carry_over: ['pixels'] is given; use pixels, latents or svi"),
        ({"overlap": -1}, "stage 2, overlap: -1 is given; a number of frames is needed, 0 for a plain join, or"),
        ({"overlap": "auto"}, "stage 2, overlap: 'auto' is given; a number of frames is needed"),
        ({"overlap": 0, "carry_over": "pixels"}, "stage 2, carry_over: nothing is carried over an overlap of 0"),
        ({"image_strength": 0.5}, "stage 2, image_strength: a smooth stage starts from the end of the stage before"),
        ({"anchor": "face.png"}, "stage 2, anchor: 'face.png' is given; use start_image or none"),
        ({"anchor": "start_image", "anchor_image": "a.png"}, "stage 2, anchor: an anchor image is named too"),
        ({"transition": "fade", "fade_frames": 0}, "stage 2, fade_frames: 0 is given; a whole number from 1"),
        ({"fade_frames": 8}, "stage 2, fade_frames: it belongs to transition fade, and this stage's is smooth"),
        (
            {"transition": "cut", "overlap": 5},
            "stage 2, overlap: it belongs to transition smooth, and this stage's is cut",
        ),
        ({"transition": "cut", "carry_over": "svi"}, "stage 2, carry_over: it belongs to transition smooth"),
        ({"start_image": "sea.png"}, "stage 2, start_image: a smooth stage starts from the end of the stage before"),
    ],
)
def test_a_field_of_a_stage_is_refused_by_name(stage, says):
    assert refused({}, stage).startswith(says)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "..", "../secret.png", "a/../../b.png", "a\\..\\b.png", "C:\\a.png", "C:a.png", "\\\\host\\a.png"],
)
@pytest.mark.parametrize("field", ["start_image", "end_image", "anchor_image"])
def test_a_picture_outside_the_input_folder_is_refused(field, name):
    assert refused({}, {"transition": "cut", field: name}).startswith(f"stage 2, {field}: {name!r} leads out of")


def test_a_picture_without_a_name_is_refused():
    assert refused({"start_image": ""}).startswith("stage 1, start_image: it is empty")


TOML = 'schema = "longtake.storyboard.v1"\n'
NESTED = '{"a": ' * 900 + "1" + "}" * 900
HOSTILE = {
    "blank lines": TOML + "\n" * 90_000,
    "half a million lines": TOML + "\n" * 500_000,
    "a hundred thousand keys": "{" + ", ".join(f'"k{number}": 1' for number in range(100_000)) + "}",
    "a key that comes twice": "{" + '"a": 1, ' * 100_000 + ", ".join(f'"k{n}": 1' for n in range(50_000)) + "}",
    "a name of 10 MB": '{"' + "n" * 10_000_000 + '": 1}',
    "a name of 1 MB": '{"' + "n" * 1_000_000 + '": 1}',
    "a name of 1 MB in TOML": TOML + "n" * 1_000_000 + " = 1",
    "a name of many parts": TOML + ".".join("n" * 400_000) + " = 1",
    "a name of many parts apart": TOML + " . ".join("n" * 200_000) + " = 1",
    "a name twice in TOML": TOML + ("n" * 400_000 + " = 1\n") * 2,
    "a name with line breaks": json.dumps({"a\nb\tc" * 100: 1}),
    "a million digits": '{"total_frames": ' + "9" * 1_000_000 + "}",
    "a million digits in TOML": TOML + "total_frames = " + "9" * 1_000_000,
    "a million hexadecimal digits": TOML + "total_frames = 0x" + "f" * 1_000_000,
    "many huge numbers": '{"stages": [' + ", ".join(["9" * 4000] * 400) + "]}",
    "deep nesting": '{"title": ' + NESTED + "}",
    "deep nesting in TOML": TOML + "title = " + "[" * 100_000,
    "a schema of 1 MB": json.dumps({"schema": "s" * 1_000_000}),
    "a schema that is a table": '{"schema": ' + NESTED + "}",
    "a picture with a name of 1 MB": json.dumps({"stages": [{"prompt": "a", "start_image": "p" * 1_000_000}]}),
    "a hundred thousand stages": json.dumps({"stages": [{"prompt": "a"}] * 100_000}),
    "a hundred thousand prompts": "a boat\n" * 99_000,
    "a hundred thousand LoRAs": json.dumps({"stages": [{"prompt": "a", "loras": [{"high": "x"}] * 100_000}]}),
    "a word of 1 MB": TOML + "'" + "a" * 1_000_000,
}


@pytest.mark.parametrize("document", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_document_that_is_far_too_much_is_refused_at_once_in_a_line(document: str) -> None:
    started = time.perf_counter()
    said = answer(document)
    # The slowest takes 0.5 s; what grew with the square of a document's length took minutes.
    assert time.perf_counter() - started < 5
    assert len(said) <= 300
    assert said.isprintable()


@pytest.mark.parametrize(
    "document",
    [
        TOML + "\n" * 50_000 + '[[stages]]\nprompt = "a boat"\n',
        ("\n" + " " * 20) * 50_000 + "a boat",
        ("\n" + " " * 20) * 50_000 + "[stages",
    ],
)
def test_blank_lines_cost_nothing(document: str) -> None:
    started = time.perf_counter()
    read = parse(document)
    assert time.perf_counter() - started < 2
    assert len(read.stages) == 1


def test_a_name_may_be_written_with_either_slash() -> None:
    for name in ("boats/one.png", "boats\\one.png"):
        stage = {"prompt": "a", "start_image": name, "loras": [{"high": name}], "soundtrack": name}
        [entry] = parse(json.dumps({"stages": [stage]})).stages
        assert (entry.start_image, entry.soundtrack) == ("boats/one.png", "boats/one.png")
        assert entry.loras[0].high == os.path.join("boats", "one.png")
