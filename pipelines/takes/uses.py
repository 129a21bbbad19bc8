"""Which takes are in use, so that no server prunes what another is working with.

A take is in use while a process holds it: a chain that ComfyUI keeps or renders refers to its takes. What a process
holds it writes into a file of its own in the store, which is kept alive, see alive.py.

    servers/<id>    the keys of the takes that a running server uses, one a line
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.reading import make_folder
from .alive import SILENT, Beat, clock, content_of, silent_for

if TYPE_CHECKING:
    from .take import Take

FOLDER = "servers"

_lock = threading.Lock()
_held: weakref.WeakValueDictionary[Path, Take] = weakref.WeakValueDictionary()
_beats: dict[Path, Beat] = {}


def held(take: Take) -> Take:
    """The take, in use as long as somebody holds what is returned."""
    with _lock:
        earlier = _held.get(take.path)
        if earlier is not None:
            return earlier
        _held[take.path] = take
        # A store that cannot be written is not pruned either.
        with contextlib.suppress(OSError, ValueError):
            _announce(take.root)
        return take


def in_use(root: Path) -> set[str]:
    """The keys of all takes of a store that a running server uses."""
    keys = _held_here(root)
    try:
        mine = _beats[root].path if root in _beats else None
        files = [path for path in (root / FOLDER).iterdir() if path != mine and not path.name.startswith(".")]
        now = clock(root / FOLDER) if files else 0.0
    except FileNotFoundError:
        return keys
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            if silent_for(path, now) < SILENT:
                keys |= set(content_of(path).decode().split())
    return keys


def _held_here(root: Path) -> set[str]:
    return {take.key for take in list(_held.values()) if take.root == root}


def _announce(root: Path) -> None:
    content = "\n".join(_held_here(root)).encode()
    beat = _beats.get(root)
    if beat is not None and not beat.lost and beat.path.exists():
        beat.write(content)
        return
    make_folder(root / FOLDER, root)
    _beats[root] = Beat(root / FOLDER / uuid.uuid4().hex, content)


@atexit.register
def _leave() -> None:
    for beat in _beats.values():
        beat.stop()
