"""What rendering a chain would take: which stages are stored, and the time and room the others need."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from ..takes.claim import held_keys
from ..takes.numbers import numbered
from .approval import stops_at
from .keys import Planned, look_up
from .stage import Ready

if TYPE_CHECKING:
    from ..takes.store import Store

LEARNED_FROM = 500  # takes, the newest
Takes = list[dict[str, Any]]


def forecast(
    store: Store, ready: Sequence[Ready], chosen: Collection[int] | None = None, approve: bool = False
) -> dict[str, Any]:
    """For each stage whether it is stored, and what the others take, as JSON values. Nothing is loaded.

    A stored stage says the `number` of its take; one that is not, `older`: the newest take of the same stage with other
    words, seed, sampling or model, and whether some server is `rendering` it now.

    Times and sizes are those of the newest stored takes of the same variant, scaled by pixels, frames and steps; null
    where there is none to learn from.

    Args:
        chosen: numbers of the stages to render; one of the others that is not stored is `left`. None renders all.
        approve: whether a run stops behind a stage until that is approved. One that is stored and is not yet `waits`,
            and those behind it, or behind the next to be rendered, are `held`.
    """
    past = [record for _, record in store.newest(0, LEARNED_FROM)[1]]
    rendering = held_keys(store.root)
    looked_up = look_up(store, ready)
    stages = [_stage(store, planned, past, rendering) for planned in looked_up]
    chosen = {stage["stage"] for stage in stages} if chosen is None else chosen
    stop = stops_at(looked_up, chosen) if approve else None
    for stage in stages:
        is_new, number = stage["status"] == "new", stage["stage"]
        if is_new and number not in chosen:
            stage["status"] = "left"
        elif is_new and stop is not None and number > stop:
            stage["status"] = "held"
        elif approve:
            stage["waits"] = number == stop and not is_new
    new = [stage for stage in stages if stage["status"] == "new"]
    return {
        "takes": stages,
        "stages_to_render": len(new),
        "rendering_seconds": _sum([stage["rendering_seconds"] for stage in new]),
        "disk_bytes": _sum([stage["disk_bytes"] for stage in new]),
    }


def _stage(store: Store, planned: Planned, past: Takes, rendering: Collection[str]) -> dict[str, Any]:
    ready, take = planned.ready, planned.take
    volume = ready.clip.frames * ready.width * ready.height
    alike = [record for record in past if record["facts"].get("variant") == ready.model.variant.name]
    stored = {"stage": ready.number, "status": "new" if take is None else "stored", "take": None}
    stored["place"] = planned.identity.place
    numbers = numbered(store, planned.identity.place)
    if take is not None:
        number = next((number for number, other in numbers.items() if other.key == take.key), None)
        return {**stored, "take": take.key, "number": number, "rendering_seconds": 0, "disk_bytes": 0}
    if not planned.identity.unidentified:
        stored["take"] = planned.identity.key
    times = [
        record["facts"]["rendering_seconds"] / (_volume(record) * record["facts"]["steps"])
        for record in alike
        if {"rendering_seconds", "steps", "width", "height", "frames"} <= record["facts"].keys()
    ]
    sizes = [sum(file["size"] for file in record["files"].values()) / _volume(record) for record in alike]
    return {
        **stored,
        "older": numbers[max(numbers)].key if numbers else None,
        "unidentified": planned.identity.unidentified,
        "rendering": planned.identity.key in rendering,
        "rendering_seconds": round(median(times) * volume * ready.sampling.steps, 1) if times else None,
        "disk_bytes": round(median(sizes) * volume) if sizes else None,
    }


def _volume(record: dict[str, Any]) -> int:
    facts = record["facts"]
    return facts["frames"] * facts["width"] * facts["height"]


def _sum(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return sum(measured) if len(measured) == len(values) else None
