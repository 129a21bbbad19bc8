"""What lies on disk, read.

Reading a file has three outcomes besides its content, which are never mixed: it is not there (`FileNotFoundError`), it
cannot be read now and stays where it is (`Unreadable`), or it is not what was written (`Damaged`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from ..errors import Refusal

log = logging.getLogger(__name__)
NO_FILE = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
ASIDE = "damaged"

_warned: set[Path] = set()


class Damaged(Exception):
    """What lies on disk is not what was written there; the message says what is wrong with it."""


class Unreadable(Refusal):
    """What lies on disk may be good and cannot be read now: a share that is away, a right that is missing."""


def contents(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        FileNotFoundError: it is not there.
        Damaged: what is there is no file.
        Unreadable: it cannot be read now.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        # Windows calls a folder a file that may not be read.
        if error.errno in NO_FILE or os.path.isdir(path):
            raise Damaged(f"{path.name} is not a file") from None
        raise _unreadable(path, error) from error


def is_there(path: Path) -> bool:
    """Whether anything has this name, a link to nowhere included.

    Raises:
        Unreadable: its folder cannot be read now.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from error
    return True


def files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder, less those that are hidden, as unfinished ones are; raises `Unreadable` as `names_in`."""
    return (folder / name for name in names_in(folder) if not name.startswith("."))


def names_in(folder: Path) -> list[str]:
    """The names in a folder; none where it is no folder.

    Raises:
        Unreadable: it cannot be read now.
    """
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def make_folder(path: Path, root: Path) -> None:
    """Make a folder of a store; what lies in its place is put aside.

    Raises:
        Unreadable: the place is taken by a link to a folder that is not there now.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        for folder in [root, *(root / part for part in reversed(path.relative_to(root).parents[:-1])), path]:
            if folder.is_symlink() and not folder.exists():
                raise Unreadable(
                    f"{folder} is a link to {os.readlink(folder)}, which is not there. Connect what it leads to, or "
                    "remove the link, and queue again."
                ) from None
            if os.path.lexists(folder) and not folder.is_dir():
                put_aside(folder, root, "it is not a folder")
        path.mkdir(parents=True, exist_ok=True)


def put_aside(path: Path, root: Path, why: str) -> None:
    """Move what is not what it should be out of the way, without losing it, and say so."""
    aside = root / ASIDE
    moved = f"{path.name}.{uuid.uuid4().hex[:8]}"
    try:
        if path == root:
            os.rename(path, root.with_name(moved))
        elif path == aside:
            os.rename(path, root / moved)
        else:
            if aside.exists() and not aside.is_dir():
                os.rename(aside, root / f"{ASIDE}.{uuid.uuid4().hex[:8]}")
            aside.mkdir(exist_ok=True)
            with contextlib.suppress(OSError):
                os.utime(path)  # it is kept for a while from now on
            os.rename(path, aside / moved)
    except FileNotFoundError:
        return  # another process was faster
    except OSError as error:
        warn_once(path, f"{path} cannot be used: {why}. Nor can it be put aside ({error.strerror}).")
        return
    log.warning("Longtake: %s cannot be used: %s. It is kept in %s.", path, why, aside)


def warn_once(path: Path, text: str) -> None:
    """Log what is wrong with a file that is looked at again and again."""
    if path not in _warned:
        _warned.add(path)
        log.warning("Longtake: %s", text)


def _unreadable(path: Path, error: OSError) -> Unreadable:
    return Unreadable(
        f"{path} cannot be read now ({error.strerror or error}). It stays as it is; queue again when it can be read."
    )
