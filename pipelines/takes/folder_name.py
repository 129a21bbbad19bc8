"""A name of a folder, by which processes on one computer or many see that they share it."""

from __future__ import annotations

import uuid
from pathlib import Path

from ..files.whole import moved_to_free, room_for

NAME = "name"


def name_of(folder: Path) -> str:
    """The same for all who share a folder; given to it by the first who asks.

    Raises:
        Refusal: the disk is full.
        OSError: it cannot be read, or has none and cannot be written.
    """
    path = folder / NAME
    if not path.exists():
        unfinished = folder / f".{NAME}.{uuid.uuid4().hex}.partial"
        with room_for(path):
            folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(uuid.uuid4().hex, encoding="ascii")
        if not moved_to_free(unfinished, path):
            unfinished.unlink()
    return path.read_text(encoding="ascii")
