"""What rendering a chain would take: which stages are stored, and the time and room the others need."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from ..takes import store
from .keys import Planned, look_up
from .stage import Ready

LEARNED_FROM = 500  # takes, the newest
Takes = list[dict[str, Any]]


def forecast(ready: Sequence[Ready]) -> dict[str, Any]:
    """For each stage whether it is stored, and what the others take, as JSON values. Nothing is loaded.

    Times and sizes are those of the newest stored takes of the same variant, scaled by pixels, frames and steps; null
    where there is none to learn from.
    """
    past = [record for _, record in store.here().newest(0, LEARNED_FROM)[1]]
    stages = [_stage(one, past) for one in look_up(ready)]
    new = [stage for stage in stages if stage["status"] == "new"]
    return {
        "takes": stages,
        "stages_to_render": len(new),
        "rendering_seconds": _sum([stage["rendering_seconds"] for stage in new]),
        "disk_bytes": _sum([stage["disk_bytes"] for stage in new]),
    }


def _stage(one: Planned, past: Takes) -> dict[str, Any]:
    asked = one.ready
    volume = asked.clip.frames * asked.width * asked.height
    alike = [record for record in past if record["facts"].get("variant") == asked.model.variant.name]
    stored = {"stage": asked.number, "status": "new" if one.take is None else "stored", "take": None}
    if one.take is not None:
        return {**stored, "take": one.take.key, "rendering_seconds": 0, "disk_bytes": 0}
    if not one.identity.unidentified:
        stored["take"] = one.identity.key
    times = [
        record["facts"]["rendering_seconds"] / (_volume(record) * record["facts"]["steps"])
        for record in alike
        if {"rendering_seconds", "steps", "width", "height", "frames"} <= record["facts"].keys()
    ]
    sizes = [sum(file["size"] for file in record["files"].values()) / _volume(record) for record in alike]
    return {
        **stored,
        "unidentified": one.identity.unidentified,
        "rendering_seconds": round(median(times) * volume * asked.sampling.steps, 1) if times else None,
        "disk_bytes": round(median(sizes) * volume) if sizes else None,
    }


def _volume(record: dict[str, Any]) -> int:
    facts = record["facts"]
    return facts["frames"] * facts["width"] * facts["height"]


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
