"""Which takes have notes, so that a name is found and a mark is seen without asking every take.

noted/<key>    an empty file; made again from the takes where the folder is missing
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path

from ..files.reading import is_there, make_folder, names_in, put_aside

FOLDER, NOTES = "noted", "notes.json"


def mark(take: Path) -> None:
    """Count a take, by its folder, among those that have notes."""
    root = take.parents[1]
    _names(root)
    make_folder(root / FOLDER, root)
    (root / FOLDER / take.name).touch()


def noted(root: Path) -> list[Path]:
    """The folders of all takes that have notes; the mark of one that is gone goes too."""
    takes = []
    for name in _names(root):
        if is_there(root / "takes" / name):
            takes.append(root / "takes" / name)
        else:
            with contextlib.suppress(OSError):
                (root / FOLDER / name).unlink()
    return takes


def _names(root: Path) -> list[str]:
    if os.path.isdir(root / FOLDER):
        return names_in(root / FOLDER)
    names = [name for name in names_in(root / "takes") if os.path.lexists(root / "takes" / name / NOTES)]
    partial = root / "partial" / uuid.uuid4().hex
    # Another process may be faster, and a store that cannot be written is looked through each time.
    with contextlib.suppress(OSError):
        make_folder(partial, root)
        for name in names:
            (partial / name).touch()
        if is_there(root / FOLDER):
            put_aside(root / FOLDER, root, "it is not a folder")
        os.rename(partial, root / FOLDER)
    shutil.rmtree(partial, ignore_errors=True)
    return names
