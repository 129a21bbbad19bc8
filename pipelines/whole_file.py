"""Large files that appear under their name whole or not at all, and what killed processes left of such files.

A file is written beside its place under a hidden name of its own. As long as somebody writes it they hold a lock on it,
which the system takes away when their process ends, however it ends, so what nobody holds is nobody's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, which does not remove a file that is open
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.part")
# Seconds without a write. A lock that another computer holds is not seen through every network share.
ABANDONED = 3600


@contextlib.contextmanager
def whole_file(path: Path, lasting: bool = True) -> Iterator[Path]:
    """Give a name to write to; move it to `path` when all went well, remove it when not.

    What killed processes left in the folder an hour ago or more is removed first.

    Args:
        lasting: flush it to the disk first; what is in the temp folder can be made again.
    """
    clear_abandoned(path.parent)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with _held(unfinished):
            yield unfinished
            if lasting:
                with open(unfinished, "rb+") as file:
                    os.fsync(file.fileno())
            os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def clear_abandoned(folder: Path) -> None:
    """Remove unfinished files of processes that are gone."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if UNFINISHED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime < ABANDONED:
            return
        if fcntl is None:
            path.unlink()
        else:
            with open(path, "rb") as file:
                if _locked(file):
                    path.unlink()
        if not path.exists():
            log.info("Longtake: removed %s, which a process that is gone left unfinished", path)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    with open(path, "xb") as file:
        _locked(file)
        yield


def _locked(file: BinaryIO) -> bool:
    """Whether this process holds the file now: nobody else does, and the file system knows locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
