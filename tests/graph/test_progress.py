"""What is said of the time that is left."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


@pytest.fixture
def left_after(comfyui: Path, monkeypatch: pytest.MonkeyPatch):
    """What is said after the last of some steps, told at these seconds."""
    from longtake.host.progress import Pace

    def say(seconds: list[float], total: int, first: int = 1) -> str:
        pace, said = Pace(), ""
        for done, now in enumerate(seconds, start=first):
            monkeypatch.setattr(time, "monotonic", lambda now=now: now)
            said = pace.left(done, total)
        return said

    return say


def test_nothing_is_said_after_the_first_step_which_loads_the_model(left_after) -> None:
    assert left_after([100.0], 20) == ""


def test_what_is_left_is_told_by_the_steps_that_are_done(left_after) -> None:
    assert left_after([100.0, 103.0], 20) == ", about 54 s left"
    assert left_after([100.0, 120.0, 140.0], 20) == ", about 6 min left"
    assert left_after([0.0, 600.0], 20) == ", about 3 h 0 min left"


def test_nothing_is_said_of_less_than_a_second_and_at_the_end(left_after) -> None:
    assert left_after([0.0, 0.1, 0.2], 10) == ""
    assert left_after([float(second) for second in range(10)], 10) == ""


def test_steps_that_were_kept_and_take_no_time_are_soon_forgotten(left_after) -> None:
    kept = [0.0] * 10
    assert left_after([*kept, *(10.0 * step for step in range(1, 10))], 20) == ", about 10 s left"
