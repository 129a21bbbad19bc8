"""LoRA files as somebody chose them, on a node or in a storyboard."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .. import document as doc
from ..errors import Refusal

NONE = "none"
AUTO = "auto"  # the other half of the pair, found by its name


class Passes(str, Enum):
    """Which passes of a bundle that renders in two are changed."""

    BOTH = "both"
    FIRST = "first"
    SECOND = "second"


@dataclass(frozen=True)
class LoraChoice:
    """Names in ComfyUI's loras folder, `NONE` or `AUTO`.

    Args:
        high: for the high-noise expert, or for the only diffusion model.
        low: for the low-noise expert.
        strength_high, strength_low: factor of the change; 0 leaves the expert as it is.
    """

    high: str = NONE
    low: str = AUTO
    strength_high: float = 1.0
    strength_low: float = 1.0
    passes: Passes = Passes.BOTH

    def as_json(self) -> dict[str, Any]:
        return {
            "high": self.high,
            "low": self.low,
            "strength_high": self.strength_high,
            "strength_low": self.strength_low,
            "passes": self.passes.value,
        }


def read_loras(value: Any) -> tuple[LoraChoice, ...]:
    """The `loras` of a storyboard: a list of tables, in the order they are applied.

    A half that is left out is found by the name of the other.

    Raises:
        Refusal: naming the entry and the field.
    """
    return tuple(_choice(table, f"loras[{index}]") for index, table in enumerate(doc.tables(value)))


def _choice(table: Any, place: str) -> LoraChoice:
    fields = doc.read_fields(table, _FIELDS, inside=place)
    if not {fields.get("high", NONE), fields.get("low", NONE)} - {NONE, AUTO}:
        raise Refusal("no file is named; give high, low or both", field=place)
    passes = Passes(fields.pop("passes", Passes.BOTH))
    return LoraChoice(**{"high": AUTO, "low": AUTO, **fields}, passes=passes)


def _lora_name(value: Any) -> str:
    # As ComfyUI lists it on this system.
    return doc.file_name(value, "a LoRA", "loras folder").replace("/", os.sep)


_FIELDS: dict[str, doc.Check] = {
    "high": _lora_name,
    "low": _lora_name,
    "strength_high": doc.number,
    "strength_low": doc.number,
    "passes": doc.one_of(*(passes.value for passes in Passes)),
}
