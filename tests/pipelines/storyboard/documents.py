"""Storyboards for tests, and the refusals they are met with."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from longtake.pipelines.errors import Refusal
from longtake.pipelines.storyboard.plan import plan
from longtake.pipelines.storyboard.storyboard import Storyboard
from longtake.pipelines.storyboard.text import parse
from longtake.pipelines.timeline.clips import Format, Grid

WAN = Format(Grid(4), Fraction(16), clip_frames=81, overlap=5)
LTX = Format(Grid(8), Fraction(24), clip_frames=97, overlap=17)


def board(**document: object) -> Storyboard:
    return parse(json.dumps(document))


def stages(*given: dict, **document: object) -> Storyboard:
    return board(stages=[{"prompt": "a boat", **stage} for stage in given], **document)


def answer(text: str, format: Format | None = None) -> str:
    """The refusal a document, or its plan, is met with."""
    with pytest.raises(Refusal) as caught:
        read = parse(text)
        if format:
            plan(read, format)
    return str(caught.value)


def refused(*given: dict, **document: object) -> str:
    """The refusal of a Wan plan for these stages."""
    return answer(json.dumps({"stages": [{"prompt": "a boat", **stage} for stage in given], **document}), WAN)
