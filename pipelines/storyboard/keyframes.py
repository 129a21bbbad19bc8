"""Keyframes as a storyboard names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import document as doc
from ..errors import Refusal


@dataclass(frozen=True)
class NamedKeyframe:
    """An image that a stage passes through.

    Args:
        image: name in ComfyUI's input folder.
        frame: of the clip as it is rendered, overlap included, counted from 0; negative counts from its end.
        strength: above 0, at most 1: how much it counts.
    """

    image: str
    frame: int
    strength: float = 1.0

    def as_json(self) -> dict[str, Any]:
        return {"image": self.image, "frame": self.frame, "strength": self.strength}


def read_keyframes(value: Any) -> tuple[NamedKeyframe, ...]:
    """The `keyframes` of a stage: a list of tables.

    Raises:
        Refusal: naming the entry and the field.
    """
    return tuple(_keyframe(table, f"keyframes[{index}]") for index, table in enumerate(doc.tables(value)))


def _keyframe(table: Any, place: str) -> NamedKeyframe:
    fields = doc.read_fields(table, _FIELDS, inside=place)
    for name in ("image", "frame"):
        if name not in fields:
            raise Refusal("it is missing; a keyframe has an image and a frame", field=f"{place}.{name}")
    return NamedKeyframe(**fields)


_FIELDS: dict[str, doc.Check] = {"image": doc.image_name, "frame": doc.frame, "strength": doc.strength}
