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
import time
import uuid
from itertools import count
from pathlib import Path

from ..files.reading import Damaged, contents, is_there, make_folder, names_in
from ..files.whole import READ_ONLY, flush, flush_folder, room_for
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
    keys = _keys(store, place)
    own = next((number for number, other in keys.items() if other == key), None)
    if own is not None:
        return own
    folder = store.root / FOLDER / place
    with room_for(folder):
        return next(number for number in count(max(keys, default=0) + 1) if _taken(folder / str(number), key, store))


def forget_gone(store: Store, age: float) -> None:
    """Remove the numbers of stages that have no take any more, and that gave none for `age` seconds."""
    keys = set(store.keys())
    for place in names_in(store.root / FOLDER):
        folder = store.root / FOLDER / place
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime <= age or keys.intersection(_keys(store, place).values()):
                continue
            gone = store.root / "partial" / uuid.uuid4().hex
            make_folder(gone.parent, store.root)
            os.rename(folder, gone)
            shutil.rmtree(gone, ignore_errors=True)


def _taken(path: Path, key: str, store: Store) -> bool:
    """Whether the number was free, and is this take's now."""
    make_folder(path.parent, store.root)
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
    if not is_there(store.root / FOLDER) and is_there(store.root / "takes"):
        return _number_old_takes(store.root).get(place, {})
    keys: dict[int, str] = {}
    for name in names_in(store.root / FOLDER / place):
        if name.isdecimal():
            try:
                keys[int(name)] = contents(store.root / FOLDER / place / name).decode(errors="replace")
            except (Damaged, FileNotFoundError):
                keys[int(name)] = ""
    return keys


def _number_old_takes(root: Path) -> dict[str, dict[int, str]]:
    """Number the takes of a store that has no numbers yet, as the takes themselves say, once; returns them by place.

    Where two say the same the later one gets the next. A store that cannot be written stays as it is.
    """
    places: dict[str, dict[int, str]] = {}
    for take, record in sorted(Store(root).records(), key=lambda pair: pair[1]["created"]):
        place, number = record["facts"].get("place"), record["facts"].get("take")
        if isinstance(place, str) and KEY.fullmatch(place) and isinstance(number, int) and number > 0:
            keys = places.setdefault(place, {})
            keys[number if number not in keys else max(keys) + 1] = take.key
    partial = root / "partial" / uuid.uuid4().hex
    try:
        with room_for(root):
            make_folder(partial, root)
            for place, keys in places.items():
                (partial / place).mkdir()
                for number, key in keys.items():
                    (partial / place / str(number)).write_text(key)
        os.rename(partial, root / FOLDER)
    except OSError as error:
        # Another process may have been faster; it has numbered the same takes.
        if error.errno not in (*READ_ONLY, *_THERE_ALREADY):
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return places
