"""What is remembered of every take, so that lists and limits do not read them all each time.

What a take says does not change, so it is read when it is first seen, and forgotten when the take is gone.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
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


@dataclass
class _Seen:
    """What was read of one store; `newest` is made when it is asked for."""

    rows: dict[str, Row] = field(default_factory=dict)
    newest: list[Row] | None = None


_lock = threading.Lock()
_seen: dict[Path, _Seen] = {}


def rows(root: Path) -> list[Row]:
    """All readable takes of a store, the newest first.

    Raises:
        Unreadable: the folder of takes cannot be read now.
    """
    with _lock:
        seen = _refreshed(root)
        if seen.newest is None:
            seen.newest = sorted(seen.rows.values(), key=lambda row: row.created, reverse=True)
        return seen.newest


def by_key(root: Path) -> dict[str, Row]:
    """All readable takes of a store by their keys; raises like `rows`."""
    with _lock:
        return dict(_refreshed(root).rows)


def _refreshed(root: Path) -> _Seen:
    names = set(names_in(root / "takes"))
    seen = _seen.setdefault(root, _Seen())
    gone = seen.rows.keys() - names
    for key in gone:
        del seen.rows[key]
    new = [name for name in names - seen.rows.keys() if KEY.fullmatch(name)]
    for key in new:
        with contextlib.suppress(Damaged, Unreadable):
            seen.rows[key] = _row(Take(root / "takes" / key))
    if gone or new:
        seen.newest = None
    return seen


def _row(take: Take) -> Row:
    record = take.glance()
    return Row(take, float(record["created"]), record["facts"].get("place"), take.size(), take.used)
