"""A name of a folder, by which processes on one computer or many see that they share it."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

NAME = "name"


def name_of(folder: Path) -> str:
    """The same for all who share a folder; given to it by the first who asks.

    Raises:
        OSError: it cannot be read, or has none and cannot be written.
    """
    path = folder / NAME
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".{NAME}.{uuid.uuid4().hex}.partial"
        unfinished.write_text(uuid.uuid4().hex, encoding="ascii")
        with contextlib.suppress(FileExistsError):
            _made(unfinished, path)
        unfinished.unlink(missing_ok=True)
    return path.read_text(encoding="ascii")


def _made(unfinished: Path, path: Path) -> None:
    """Let a finished file have its name, unless another has it."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        path.open("x").close()
        unfinished.replace(path)
