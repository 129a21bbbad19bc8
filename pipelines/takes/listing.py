"""What is remembered of every take, so that lists and limits do not read them all each time.

What a take says does not change, so it is read when it is first seen, and forgotten when the take is gone.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path

from ..files.reading import Damaged, Unreadable, names_in
from .take import KEY, Take


@dataclass(frozen=True)
class Row:
    """A take as lists sort and filter it.

    Args:
        created: seconds since 1970.
        place: of its stage, or None.
        size: bytes on disk when it was first seen.
        used: when it was last used before it was first seen, in seconds since 1970.
    """

    take: Take
    created: float
    place: str | None
    size: int
    used: float


_lock = threading.Lock()
_rows: dict[Path, dict[str, Row]] = {}
_newest: dict[Path, list[Row]] = {}


def rows(root: Path) -> list[Row]:
    """All readable takes of a store, the newest first.

    Raises:
        Unreadable: the folder of takes cannot be read now.
    """
    keys = {name for name in names_in(root / "takes") if KEY.fullmatch(name)}
    with _lock:
        known = _rows.setdefault(root, {})
        gone, new = known.keys() - keys, keys - known.keys()
        for key in gone:
            del known[key]
        for key in new:
            with contextlib.suppress(Damaged, Unreadable):
                known[key] = _row(Take(root / "takes" / key))
        if gone or new or root not in _newest:
            _newest[root] = sorted(known.values(), key=lambda row: row.created, reverse=True)
        return _newest[root]


def _row(take: Take) -> Row:
    record = take.glance()
    return Row(take, float(record["created"]), record["facts"].get("place"), take.size(), take.used)
