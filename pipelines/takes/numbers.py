"""The numbers of takes: those of one stage count from 1, and no number is given twice.

    numbers/<place>/<number>    the key of the take

That such a file can be made but once is what keeps two processes from taking one number. It stays when its take is
deleted, so that "take 3" never means another one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from itertools import count
from pathlib import Path

from .disk import READ_ONLY, flush, flush_folder, room_for
from .store import Store
from .take import KEY, Take

FOLDER = "numbers"
_THERE_ALREADY = (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM)


def numbered(store: Store, place: str) -> dict[int, Take]:
    """The takes of one stage by their numbers.

    Args:
        place: 64 hex digits, the same for all takes of the stage.
    """
    takes: dict[int, Take] = {}
    for number, key in sorted(_keys(store, place).items()):
        take = store.take(key)
        if take is not None and take not in takes.values():
            takes[number] = take
    return takes


def claim(store: Store, place: str, key: str) -> int:
    """The number of a take: the one it was given before, or the next of its stage, from 1.

    Raises:
        Refusal: the disk is full.
    """
    *first, last = store.roots
    for root in first:
        try:
            return _claim(store, root, place, key)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
    return _claim(store, last, place, key)


def _claim(store: Store, root: Path, place: str, key: str) -> int:
    given = _keys(store, place)
    known = next((number for number, other in given.items() if other == key), None)
    if known is not None:
        return known
    folder = root / FOLDER / place
    with room_for(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return next(number for number in count(max(given, default=0) + 1) if _made(folder / str(number), key))


def _made(path: Path, key: str) -> bool:
    """Whether the number was free, and is this take's now."""
    try:
        with open(path, "x") as file:
            file.write(key)
    except FileExistsError:
        return False
    flush(path)
    flush_folder(path.parent)
    return True


def _keys(store: Store, place: str) -> dict[int, str]:
    """Keys of all takes of a place that have a number, those that are gone included.

    A file without a key is a number that somebody is just taking, or that a killed process has taken.
    """
    given: dict[int, str] = {}
    for root in store.roots:
        if not (root / FOLDER).is_dir() and (root / "takes").is_dir():
            given |= _number_old_takes(root).get(place, {})
            continue
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(root / FOLDER / place):
                if entry.name.isdecimal():
                    given[int(entry.name)] = Path(entry.path).read_text(errors="replace")
    return given


def _number_old_takes(root: Path) -> dict[str, dict[int, str]]:
    """Number the takes of a store that has no numbers yet, as the takes themselves say, once; returns them by place.

    Where two say the same the later one gets the next. A store that cannot be written stays as it is.
    """
    places: dict[str, dict[int, str]] = {}
    for take, record in sorted(Store(root).records(), key=lambda pair: pair[1]["created"]):
        place, number = record["facts"].get("place"), record["facts"].get("take")
        if isinstance(place, str) and KEY.fullmatch(place) and isinstance(number, int) and number > 0:
            given = places.setdefault(place, {})
            given[number if number not in given else max(given) + 1] = take.key
    partial = root / "partial" / uuid.uuid4().hex
    try:
        with room_for(root):
            partial.mkdir(parents=True)
            for place, given in places.items():
                (partial / place).mkdir()
                for number, key in given.items():
                    (partial / place / str(number)).write_text(key)
        os.rename(partial, root / FOLDER)
    except OSError as error:
        # Another process may have been faster; it has numbered the same takes.
        if error.errno not in (*READ_ONLY, *_THERE_ALREADY):
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return places
