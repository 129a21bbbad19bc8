"""Keeping a store in order: what lies in it, whether it is whole, and what can go when it grows too large."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import Refusal
from . import chains
from .disk import Damaged, forget_oldest, write_whole
from .store import Store
from .take import Take

STARTED = time.time()
DAY = 24 * 3600
ABANDONED = {"partial": DAY, "checkpoints": 7 * DAY}  # seconds after which what is half made is nobody's any more
CHECKPOINTS = 4 * 2**30  # bytes; two of the largest
LIMIT = "limit.json"


@dataclass(frozen=True)
class Pruned:
    """What pruning did.

    Args:
        removed: keys of takes that are gone.
        freed: bytes.
        size: bytes of the takes that are left.
    """

    removed: tuple[str, ...]
    freed: int
    size: int


def verify(store: Store) -> Iterator[dict[str, str]]:
    """Every take and chain that is not what was written, as `{"take" or "chain": ..., "problem": ...}`.

    Nothing is changed: what is damaged is put aside and rendered again when it is needed.
    """
    for take in store.takes():
        try:
            take.checked()
        except Damaged as error:
            yield {"take": take.key, "problem": str(error)}
    for name, problem in chains.damaged(store):
        yield {"chain": name, "problem": problem}


def prune(store: Store, limit: int) -> Pruned:
    """Remove the takes that were used longest ago until all of them together take no more than `limit` bytes.

    Never removed: what a named chain needs, what is marked to be kept, and what was used since ComfyUI started.
    """
    _sweep(store)
    needed = {entry.key for chain in chains.list_chains(store) if chain.name for entry in chain.entries}
    sizes = {take: take.size() for take in store.takes()}
    size, freed = sum(sizes.values()), 0
    removed = []
    for take in sorted(sizes, key=lambda take: take.used):
        if size - freed <= limit or take.used >= STARTED:
            break
        if take.key in needed or take.notes()["keep"]:
            continue
        store.delete(take)
        removed.append(take.key)
        freed += sizes[take]
    return Pruned(tuple(removed), freed, size - freed)


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
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return int(json.loads((store.root / LIMIT).read_bytes())["bytes"])
    return None


def set_limit(store: Store, limit: int | None) -> None:
    if limit is None:
        (store.root / LIMIT).unlink(missing_ok=True)
        return
    store.root.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": "longtake.limit.v1", "bytes": limit})
    write_whole(store.root / LIMIT, lambda partial: partial.write_text(text))


def keep_to_limit(store: Store) -> None:
    """Prune where a limit is set."""
    bytes_allowed = limit(store)
    if bytes_allowed is not None:
        prune(store, bytes_allowed)


def forget_checkpoints(store: Store) -> None:
    """Remove what stopped stages left that nobody went on with, the oldest first, beyond a few gigabytes."""
    forget_oldest((store.root / "checkpoints").glob("*"), CHECKPOINTS)


def summary(take: Take, record: dict[str, Any]) -> dict[str, Any]:
    """A take as a list shows it."""
    facts = record["facts"]
    return {
        "key": take.key,
        "created": record["created"],
        "used": take.used,
        "bytes": sum(file["size"] for file in record["files"].values()),
        **take.notes(),
        **facts,
    }


def _sweep(store: Store) -> None:
    """Remove what killed processes left half-written."""
    for root in store.roots:
        for folder, abandoned in ABANDONED.items():
            for path in (root / folder).glob("*"):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > abandoned:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
