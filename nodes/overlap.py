"""The overlap as a node is asked for it: a number of frames, or the word that leaves it to the model."""

from __future__ import annotations

from ..pipelines.bundle.model import VideoModel
from ..pipelines.errors import Refusal

AUTOMATIC = "automatic"


def overlap_of(given: str | int, model: VideoModel) -> int:
    """The frames that an overlap input asks for; raises `Refusal` for what is neither frames nor the word."""
    text = str(given).strip()
    if text == AUTOMATIC:
        return model.variant.overlap
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise Refusal(
            f"{text[:40]!r} given; a number of frames is needed, 0 for a plain join, or {AUTOMATIC}.", field="overlap"
        )
    return int(text)
