"""The JSON Schema for editors knows what the reader knows."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from longtake.pipelines.errors import Refusal
from longtake.pipelines.lora.choice import read_loras
from longtake.pipelines.storyboard.text import BOARD, DEFAULTS, STAGE, parse

from tests.storyboard_schema import FILE, WORDS, schema

SHIPPED = sorted((FILE.parents[1] / "workflows" / "api").glob("*storyboard*.json"))
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}


def fits(value: Any, rule: dict[str, Any]) -> bool:
    """Whether a value is what a rule allows, of the words of JSON Schema that the file uses."""
    if "anyOf" in rule:
        return any(fits(value, option) for option in rule["anyOf"])
    if "const" in rule or "enum" in rule:
        return value in rule.get("enum", [rule.get("const")])
    if not isinstance(value, TYPES[rule["type"]]) or isinstance(value, bool):
        return False
    if isinstance(value, dict):
        known = rule["properties"]
        return set(rule.get("required", ())) <= value.keys() <= known.keys() and all(
            fits(entry, known[name]) for name, entry in value.items()
        )
    if isinstance(value, list):
        return len(value) <= rule["maxItems"] and all(fits(entry, rule["items"]) for entry in value)
    if isinstance(value, str):
        long_enough = rule.get("minLength", 0) <= len(value) <= rule.get("maxLength", len(value))
        return long_enough and re.search(rule.get("pattern", ""), value) is not None
    least, most = rule.get("minimum", value), rule.get("maximum", value)
    return least <= value <= most and value > rule.get("exclusiveMinimum", value - 1)


def storyboard_in(workflow: Path) -> dict[str, Any]:
    [node] = [n for n in json.loads(workflow.read_text()).values() if n["class_type"] == "LongtakeRenderStoryboard"]
    document: dict[str, Any] = json.loads(node["inputs"]["storyboard"])
    return document


def test_the_file_is_what_the_reader_says_now():
    assert json.loads(FILE.read_text(encoding="utf-8")) == schema(), "python tests/run.py storyboard_schema"


def test_it_has_every_field_that_is_read():
    properties = schema()["properties"]
    assert properties.keys() == BOARD.keys()
    assert properties["defaults"]["properties"].keys() == DEFAULTS.keys()
    assert properties["stages"]["items"]["properties"].keys() == STAGE.keys()


def test_it_has_the_words_that_are_read():
    for name, words in WORDS.items():
        check = {**STAGE, **BOARD, "passes": lambda word: read_loras([{"high": "a", "passes": word}])}[name]
        for word in words:
            check(word)
        with pytest.raises(Refusal) as refusal:
            check("none of them")
        assert refusal.value.message.endswith(f"use {', '.join(words[:-1])} or {words[-1]}")


@pytest.mark.parametrize("workflow", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_storyboard_fits_and_a_misspelt_field_does_not(workflow):
    board = storyboard_in(workflow)
    assert fits(board, schema())
    board["stages"][0]["promt"] = "a boat"
    assert not fits(board, schema())


@pytest.mark.parametrize(
    "stage",
    [
        {"seed": -1},
        {"seed": 2**64},
        {"frames": 0},
        {"frames": 1.5},
        {"seconds": 0},
        {"seconds": "5"},
        {"overlap": "none"},
        {"transition": "wipe"},
        {"anchor_strength": 1.01},
        {"keyframes": [{"image": "a.png"}]},
        {"loras": [{"high": "a.safetensors", "strength_high": 101}]},
        {"start_image": ""},
        {"take": 0},
    ],
    ids=str,
)
def test_what_it_calls_wrong_is_refused_by_the_reader(stage):
    document = {"stages": [{"prompt": "a boat"}, {"prompt": "the sea", "transition": "cut", **stage}]}
    assert not fits(document, schema())
    with pytest.raises(Refusal):
        parse(json.dumps(document))


@pytest.mark.parametrize("name", sorted(STAGE))
def test_what_the_reader_takes_is_not_called_wrong(name):
    for value in ("automatic", "a.png", "smooth", "pixels", "start_image", 1, 0.5, [{"image": "a.png", "frame": -1}]):
        with suppress(Refusal, AttributeError):
            STAGE[name](value)
            assert fits({name: value}, schema()["properties"]["stages"]["items"]), value
