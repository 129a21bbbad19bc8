"""Files that appear under their name whole or not at all, and what killed processes left of such files.

A file is written beside its place under a hidden name of its own. As long as somebody writes it they hold a lock on it,
which the system takes away when their process ends, however it ends, so what nobody holds is nobody's.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import os
import platform
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import Refusal

try:
    import fcntl
except ImportError:  # Windows, which does not remove a file that is open
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.part")
FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
# Seconds without a write. A lock that another computer holds is not seen through every network share.
ABANDONED = 3600


class CountedName:
    """A name like film_00001_.mp4 for a file still to be written: the first that is free when the file is whole.

    Two processes that write at once are never given the same one.

    Args:
        parent: the folder.
        before, after: what stands around the number.
        number: the first to try; then, as ComfyUI counts, the next.
    """

    def __init__(self, parent: Path, before: str, after: str, number: int):
        self.parent = parent
        self.before, self.after = before, after
        self.number = number
        self.path: Path | None = None  # the file, once it is whole

    @property
    def name(self) -> str:
        return f"{self.before}{self.number:05}{self.after}"

    def take(self, unfinished: Path) -> None:
        """Move a finished file to the first name that is free."""
        while not moved_to_free(unfinished, self.parent / self.name):
            self.number += 1
        self.path = self.parent / self.name


def write_whole(path: Path, write: Callable[[Path], object], lasting: bool = True) -> None:
    """Write a file of the store; what is left where the process is killed, housekeeping removes.

    Args:
        write: is given the name to write to.
        lasting: as of `whole_file`.

    Raises:
        Refusal: the disk is full, or the folder cannot be written; nothing is left behind.
    """
    with _appearing(path, lasting) as unfinished:
        write(unfinished)


@contextlib.contextmanager
def whole_file(target: Path | CountedName, lasting: bool = True) -> Iterator[Path]:
    """Give a name to write to; move it to `target` when all went well, remove it when not.

    What killed processes left in the folder is removed first: of this computer at once, of others after an hour.

    Args:
        lasting: flush it to the disk first; what is in the temp folder can be made again.

    Raises:
        Refusal: the disk is full, or the folder cannot be written; nothing is left behind.
    """
    clear_abandoned(target.parent)
    with _appearing(target, lasting) as unfinished:
        yield unfinished


@contextlib.contextmanager
def _appearing(target: Path | CountedName, lasting: bool) -> Iterator[Path]:
    unfinished = target.parent / f".{target.name}.{_this_computer()}.{uuid.uuid4().hex[:8]}.part"
    try:
        with room_for(target.parent / target.name), _held(unfinished):
            yield unfinished
            if lasting:
                flush(unfinished)
            if isinstance(target, CountedName):
                target.take(unfinished)
            else:
                os.replace(unfinished, target)
            if lasting:
                flush_folder(target.parent)
    except OSError as error:
        if error.errno not in READ_ONLY or os.fspath(error.filename or "") != os.fspath(unfinished):
            raise
        raise Refusal(
            f"the folder {target.parent} cannot be written ({error.strerror}); make it writable, or choose another."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def moved_to_free(unfinished: Path, path: Path) -> bool:
    """Move a file to a name that nobody has, or say that somebody has it."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        try:
            open(path, "xb").close()
        except FileExistsError:
            return False
        os.replace(unfinished, path)
        return True
    os.unlink(unfinished)
    return True


def clear_abandoned(folder: Path) -> None:
    """Remove unfinished files of processes that are gone."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if UNFINISHED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(path: Path) -> None:
    of_this_computer = f".{_this_computer()}." in path.name
    with contextlib.suppress(OSError):
        if not of_this_computer and time.time() - path.stat().st_mtime < ABANDONED:
            return
        if fcntl is None:
            path.unlink()
        else:
            with open(path, "rb") as file:
                if _locked(file):
                    path.unlink()
        if not path.exists():
            log.info("Longtake: removed %s, which a process that is gone left unfinished", path)


@functools.cache
def _this_computer() -> str:
    """8 hex digits that no other computer has, nor a container or this one after its next start where that is known."""
    parts = [platform.node(), hex(uuid.getnode())]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Make a file and hold it. Whoever sweeps the folder just then finds nobody's file and removes it: made again."""
    if fcntl is None:
        yield
        return
    while True:
        with open(path, "xb") as file:
            with contextlib.suppress(OSError):  # a file system that knows no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists():
                yield
                return


def _locked(file: BinaryIO) -> bool:
    """Whether this process holds the file now: nobody else does, and the file system knows locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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


def forget_oldest(paths: Iterable[Path], limit: int, spare_newest: bool = True, only_look: bool = False) -> int:
    """Remove the files that were not used for longest, until at most `limit` bytes are kept.

    Args:
        spare_newest: keep the newest file, however large it is.
        only_look: remove nothing.

    Returns:
        the bytes that are kept, or would be.
    """
    kept: dict[Path, os.stat_result] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            kept[path] = path.stat()
    total = sum(status.st_size for status in kept.values())
    oldest_first = sorted(kept, key=lambda path: kept[path].st_mtime_ns)
    for path in oldest_first[:-1] if spare_newest else oldest_first:
        if total <= limit:
            break
        with contextlib.suppress(OSError):
            if not only_look:
                path.unlink()
            total -= kept[path].st_size
    return total


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
