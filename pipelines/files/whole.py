"""Files that exist wholly or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import Refusal

FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, flush it to the disk and rename it.

    Raises:
        Refusal: the disk is full; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with room_for(path):
            write(partial)
            flush(partial)
            os.replace(partial, path)
            flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Say in plain words that the disk is full, where that is why writing failed."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Refusal(
            f"the disk that holds {path.parent} is full, so this cannot be kept. What was stored before is whole; "
            "free some space and queue again."
        ) from error


def forget_oldest(paths: Iterable[Path], limit: int) -> None:
    """Remove the files that were not used for longest, until at most `limit` bytes are kept; the newest stays."""
    times: dict[Path, os.stat_result] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            times[path] = path.stat()
    kept = sorted(times, key=lambda path: times[path].st_mtime_ns, reverse=True)
    total = 0
    for path in kept:
        total += times[path].st_size
        if total > limit and path != kept[0]:
            with contextlib.suppress(OSError):
                path.unlink()


def flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Make names in a folder last; where a system cannot open folders (Windows) it does so by itself."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
