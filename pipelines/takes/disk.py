"""Files that exist wholly or not at all, and that tell when they have been changed since.

Reading one has three outcomes besides its content, which are never mixed: it is not there (`FileNotFoundError`), it
cannot be read now and stays where it is (`Unreadable`), or it is not what was written (`Damaged`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import Refusal

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_FILE = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
SEAL = "check"
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


def sealed(document: Mapping[str, Any]) -> bytes:
    """JSON with a hash of itself in it; `unsealed` reads it.

    Raises:
        ValueError: it holds a number that JSON has not.
    """
    return json.dumps({**document, SEAL: _hash(document)}, allow_nan=False).encode()


def unsealed(data: bytes, formats: tuple[str, ...]) -> dict[str, Any]:
    """A document that `sealed` wrote, in one of the formats that can be read.

    Raises:
        Damaged: it is none, or has changed since.
        Unreadable: it is whole, and of another version's format.
    """
    document = parsed(data)
    if document.pop(SEAL, None) is None:
        raise Damaged("not a file that was written here")
    # Byte for byte, because the last digit of a long number can change without changing the number.
    try:
        whole = sealed(document) == data
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not what is written here ({error})") from None
    if not whole:
        raise Damaged("its content has changed since it was written")
    if document.get("format") not in formats:
        raise Unreadable(
            f"of the format {document.get('format')}, and this version reads {', '.join(formats)}. It stays as it is; "
            "use the version that wrote it, or remove it."
        )
    return document


def parsed(data: bytes) -> dict[str, Any]:
    """A JSON object; raises `Damaged` where it is none."""
    try:
        document = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not readable as JSON ({error})") from None
    if not isinstance(document, dict):
        raise Damaged("not a file that was written here")
    return document


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _hash(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
