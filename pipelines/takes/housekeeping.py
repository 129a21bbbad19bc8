"""Keeping a store in order: what lies in it, whether it is whole, and what can go when it grows too large."""

from __future__ import annotations

import contextlib
import heapq
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Refusal
from ..files.reading import ASIDE, Damaged, Unreadable, contents, make_folder, put_aside
from ..files.sealed import parsed
from ..files.whole import forget_oldest, write_whole
from . import chains, claim, derived, jobs, listing, numbers, uses
from .store import Store
from .take import Take

log = logging.getLogger(__name__)

HOUR = 3600
DAY = 24 * HOUR
# Seconds after which what is half made is nobody's any more, and what was put aside has been looked at.
ABANDONED = {"partial": DAY, "checkpoints": 7 * DAY, uses.FOLDER: DAY, claim.FOLDER: DAY, ASIDE: 30 * DAY}
UNFINISHED = (
    ".",
    "chains",
    derived.FOLDER,
    uses.FOLDER,
    claim.FOLDER,
    jobs.FOLDER,
)  # folders in which killed processes leave files half-written
SWEEP_EVERY = HOUR
CHECKPOINTS = 4 * 2**30  # bytes; two of the largest
LIMIT = "limit.json"

_last_used: dict[Path, dict[str, float]] = {}  # by store and key, so that pruning looks at few takes
_swept: dict[Path, float] = {}


@dataclass(frozen=True)
class Pruned:
    """What pruning did, or would do.

    Args:
        removed: keys of takes that are gone.
        freed: bytes.
        size: bytes of what is left.
    """

    removed: tuple[str, ...]
    freed: int
    size: int


def verify(store: Store) -> Iterator[dict[str, str]]:
    """Every take and chain that is not what was written or cannot be read, as `{"take" or "chain", "problem"}`.

    Nothing is changed: what is damaged is put aside and rendered again when it is needed.
    """
    for take in store.takes():
        try:
            take.checked()
        except (Damaged, Unreadable) as error:
            yield {"take": take.key, "problem": str(error)}
    for name, problem in chains.damaged(store):
        yield {"chain": name, "problem": problem}


def prune(store: Store, limit: int, only_look: bool = False) -> Pruned:
    """Remove what was used longest ago until the store takes no more than `limit` bytes: first of what films made of
    takes, then takes.

    Never removed: what a named chain needs, what is marked to be kept, and what a running server uses, be it this one
    or another on the same store.

    Args:
        only_look: remove nothing, and say what would go.
    """
    rows = listing.by_key(store.root)
    size, freed, removed = sum(row.size for row in rows.values()), 0, []
    derived_size = derived.forget_down_to(store.root, max(0, limit - size), only_look)
    if size > limit:
        needed = {entry.key for chain in chains.list_chains(store) if chain.name for entry in chain.entries}
        kept = {take.key for take in store.noted() if _is_kept(take)}
        last_used = _last_used.setdefault(store.root, {})
        oldest = [(last_used.get(key, row.used), key) for key, row in rows.items()]
        heapq.heapify(oldest)
        while oldest and size - freed > limit:
            used, key = heapq.heappop(oldest)
            take = rows[key].take
            if key in needed or key in kept:
                continue
            now = last_used[key] = take.used
            if now > used:
                heapq.heappush(oldest, (now, key))
            # Asked anew for every take: another server may just have begun to use it.
            elif key not in uses.in_use(store.root):
                if not only_look:
                    store.delete(take)
                    del last_used[key]
                removed.append(key)
                freed += rows[key].size
    return Pruned(tuple(removed), freed, size - freed + derived_size)


def delete(store: Store, take: Take) -> None:
    """Remove a take that somebody no longer wants.

    Raises:
        Refusal: it is marked to be kept, or a named chain needs it.
    """
    if take.notes()["keep"]:
        raise Refusal("the take is marked to be kept; take the mark off first.", field="take")
    for chain in chains.list_chains(store):
        if chain.name and any(entry.key == take.key for entry in chain.entries):
            raise Refusal(f"the chain {chain.name!r} needs this take; unname or delete the chain first.", field="take")
    store.delete(take)


def limit(store: Store) -> int | None:
    """The size in bytes that the store is pruned to after each stage; None is no limit."""
    path = store.root / LIMIT
    try:
        document = parsed(contents(path))
        bytes_allowed = document.get("bytes")
        if type(bytes_allowed) is not int or bytes_allowed < 0:
            raise Damaged("it names no number of bytes")
        return bytes_allowed
    except FileNotFoundError:
        return None
    except Damaged as error:
        put_aside(path, store.root, f"there is no limit now, {error}")
        return None


def set_limit(store: Store, limit: int | None) -> None:
    if (store.root / LIMIT).is_dir():
        put_aside(store.root / LIMIT, store.root, "it is not a file")
    if limit is None:
        (store.root / LIMIT).unlink(missing_ok=True)
        return
    make_folder(store.root, store.root)
    text = json.dumps({"format": "longtake.limit.v1", "bytes": limit})
    write_whole(store.root / LIMIT, lambda partial: partial.write_text(text))


def keep_to_limit(store: Store) -> None:
    """Prune where a limit is set, and sweep from time to time. What goes wrong in it costs no stage."""
    try:
        bytes_allowed = limit(store)
        if bytes_allowed is not None:
            prune(store, bytes_allowed)
        if time.monotonic() >= _swept.get(store.root, -SWEEP_EVERY) + SWEEP_EVERY:
            _swept[store.root] = time.monotonic()
            threading.Thread(target=_sweep_quietly, args=(store,), name="longtake-sweep", daemon=True).start()
    except (OSError, Refusal) as error:
        log.warning("Longtake: %s is not kept in order now: %s", store.root, error)


def forget_checkpoints(store: Store) -> None:
    """Remove what stopped stages left that nobody went on with, the oldest first, beyond a few gigabytes."""
    forget_oldest((store.root / "checkpoints").glob("*"), CHECKPOINTS)


def summary(take: Take, record: dict[str, Any]) -> dict[str, Any]:
    """A take as a list shows it."""
    facts = record["facts"]
    notes: dict[str, Any] = {"name": "", "keep": False, "approved": False}
    with contextlib.suppress(Unreadable):
        notes = take.notes()
    return {
        "key": take.key,
        "created": record["created"],
        "used": take.used,
        "bytes": sum(file["size"] for file in record["files"].values()),
        **notes,
        **facts,
    }


def sweep(store: Store) -> None:
    """Remove what killed processes left half-written, what was put aside long ago, and records of takes that are gone.

    Raises:
        Unreadable: a folder of the store cannot be read now.
    """
    for folder, abandoned in ABANDONED.items():
        _remove_old((store.root / folder).glob("*"), abandoned)
    for folder in UNFINISHED:
        _remove_old((store.root / folder).glob(".*.part*"), DAY)
    chains.forget_gone(store, DAY)
    numbers.forget_gone(store, 30 * DAY)


def _sweep_quietly(store: Store) -> None:
    try:
        sweep(store)
    except (OSError, Refusal) as error:
        log.warning("Longtake: %s is not swept now: %s", store.root, error)


def _remove_old(paths: Iterator[Path], age: float) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > age:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _is_kept(take: Take) -> bool:
    try:
        return bool(take.notes()["keep"])
    except Unreadable:
        return True  # it may be
