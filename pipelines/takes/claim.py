"""Claims: of all processes that share a store, one renders a stage and writes its checkpoint.

    claims/<key>.<number>    held by a process while it renders the take of this key, see alive.py

The highest number holds the stage. A holder that was silent for a minute, or whose process is gone from this computer,
is passed by: whoever comes next makes the file of the next number, which can be made but once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from .alive import SILENT, Beat, content_of, silent_for

log = logging.getLogger(__name__)

FOLDER = "claims"


@contextlib.contextmanager
def claimed(root: Path, key: str) -> Iterator[Callable[[], bool] | None]:
    """Hold the stage whose take is called `key`, or give None where another process holds it.

    Gives a function that says whether the claim still holds: a process that slept for over a minute may have lost it. A
    store that takes no claims (its disk is full or read-only) holds nobody up.

    Args:
        root: of the store.
    """
    folder = root / FOLDER
    others = _claims(folder, key)
    number = max(others, default=0) + 1
    if not all(_gone(path) for path in others.values()):
        yield None
        return
    try:
        beat = _made(folder / f"{key}.{number}")
    except OSError as error:
        log.warning("Longtake: no claim can be made in %s (%s); another server may render the same", folder, error)
        yield lambda: True
        return
    if beat is None:
        yield None
        return
    with beat:
        if _claims(folder, key).keys() - others.keys() - {number}:
            # Somebody came at the same moment, by another number; both step back.
            yield None
            return
        for path in others.values():
            with contextlib.suppress(OSError):
                path.unlink()
        yield lambda: not beat.lost and max(_claims(folder, key), default=0) == number


def held_keys(root: Path) -> set[str]:
    """The keys of all takes that some process renders now.

    Args:
        root: of the store.
    """
    with contextlib.suppress(OSError):
        paths = [path for path in (root / FOLDER).iterdir() if path.suffix[1:].isdecimal()]
        return {path.stem for path in paths if not _gone(path)}
    return set()


def _made(path: Path) -> Beat | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Beat(path, _this_process())
    except FileExistsError:
        return None


def _claims(folder: Path, key: str) -> dict[int, Path]:
    paths = (path for path in folder.glob(f"{key}.*") if path.suffix[1:].isdecimal())
    return {int(path.suffix[1:]): path for path in paths}


def _gone(path: Path) -> bool:
    """Whether nobody holds a claim any more."""
    try:
        return _ended(content_of(path)) or silent_for(path) > SILENT
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _this_process() -> bytes:
    return json.dumps({"computer": _computer(), "pid": os.getpid()}).encode()


def _ended(holder: bytes) -> bool:
    """Whether a process is known to be gone, so that a server started again need not wait for the silence."""
    try:
        process = json.loads(holder)
        if process["computer"] != _computer():
            return False
        pid = int(process["pid"])
    except (ValueError, TypeError, KeyError):
        return False
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _computer() -> str:
    """Tells computers apart, and containers of one computer, which number their processes each for itself."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {uuid.getnode():x} {space}"
