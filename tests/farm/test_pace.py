"""Which server of a film is slow, by what has been heard of them."""

from __future__ import annotations

from typing import Any

from farm.pace import Pace, lengths_of


def heard(*events: tuple[float, str, str, int]) -> Pace:
    """A pace of three stages, the last twice as long, after events at a time of a kind, server and stage."""
    pace = Pace({1: 10.0, 2: 10.0, 3: 20.0})
    for now, kind, server, stage in events:
        pace.hear({"event": kind, "server": server, "stage": stage}, now)
    return pace


def test_a_server_is_slow_that_takes_more_than_twice_as_long_as_the_others() -> None:
    pace = heard(
        (0, "stage_begun", "slow", 1),
        (0, "stage_begun", "fast", 2),
        (10, "longtake.stage_done", "fast", 2),
        (10, "stage_begun", "fast", 3),
    )
    assert pace.overdue(20) == set()
    assert pace.overdue(21) == {"slow"}
    assert pace.overdue(40) == {"slow"}, "the fast one is at a longer stage, and its own pace says nothing of it"


def test_nobody_is_slow_whom_there_is_nothing_to_hold_against() -> None:
    pace = heard((0, "stage_begun", "only", 1), (5, "longtake.stage_done", "only", 1), (5, "stage_begun", "only", 2))
    assert pace.overdue(1000) == set()


def test_what_is_stored_or_has_ended_says_nothing() -> None:
    pace = heard(
        (0, "stage_begun", "one", 1),
        (1, "longtake.stored_hit", "one", 1),
        (1, "finished", "one", 1),
        (0, "stage_begun", "two", 2),
        (5, "failed", "two", 2),
    )
    assert pace.overdue(1000) == set()


def test_lengths_are_seconds_where_all_are_known_and_else_frames() -> None:
    def lengths(*seconds: float | None) -> dict[int, float]:
        takes: list[Any] = [{"status": "new", "rendering_seconds": each} for each in seconds]
        stages = [{"stage": number, "rendered_frames": 81} for number in range(1, len(takes) + 1)]
        return lengths_of({"stages": stages, "takes": takes})

    assert lengths(60.0, 90.0) == {1: 60.0, 2: 90.0}
    assert lengths(60.0, None) == {1: 81.0, 2: 81.0}
