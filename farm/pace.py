"""How fast servers render, and which of them is slow. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any

SLOW = 2.0  # times as long as the other servers
BEGUN = "stage_begun"
ENDED = ("finished", "handed_over", "failed", "gone", "unfit")


class Pace:
    """What the servers of a film take for its stages, as far as they have been heard.

    Args:
        lengths: of the stages by their number: seconds that they take, or frames, or anything in proportion.
    """

    def __init__(self, lengths: Mapping[int, float]):
        self._lengths = lengths
        self._paces: dict[str, list[float]] = defaultdict(list)
        self._under_way: dict[str, tuple[int, float]] = {}

    def hear(self, event: Mapping[str, Any], now: float) -> None:
        """Hear an event of the film at a time in seconds."""
        server, kind = event.get("server", ""), event["event"]
        if kind == BEGUN:
            self._under_way[server] = event["stage"], now
        elif kind == "longtake.stage_done" and server in self._under_way:
            stage, since = self._under_way.pop(server)
            self._paces[server].append((now - since) / self._lengths[stage])
        elif kind in ENDED:
            self._under_way.pop(server, None)

    def overdue(self, now: float) -> set[str]:
        """The servers that take much longer for a stage than others would."""
        slow = set()
        for server, (stage, since) in list(self._under_way.items()):
            others = [pace for other, paces in list(self._paces.items()) if other != server for pace in paces]
            if others and now - since > SLOW * median(others) * self._lengths[stage]:
                slow.add(server)
        return slow


def lengths_of(plan: Mapping[str, Any]) -> dict[int, float]:
    """The lengths of a plan's stages by their number: seconds where all are known, otherwise frames."""
    seconds = [take["rendering_seconds"] for take in plan["takes"]]
    frames = [stage["rendered_frames"] for stage in plan["stages"]]
    known = all(of for of, take in zip(seconds, plan["takes"], strict=True) if take["status"] == "new")
    return {
        stage["stage"]: float((known and of) or shown)
        for stage, of, shown in zip(plan["stages"], seconds, frames, strict=True)
    }
