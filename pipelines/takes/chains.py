"""Chains on disk: which takes, joined how. They are written stage by stage, so that a chain that failed opens too.

    chains/<id>.json   sealed with a hash of itself; the id is a hash of the takes and their joins

Only the longest record of a chain is kept: when a stage is added, the record without it goes, unless it has a name. A
chain that another goes on from has no record of its own, and is found in the longer one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import Refusal
from ..files.reading import Damaged, Unreadable, contents, is_there, make_folder, names_in, put_aside, warn_once
from ..files.sealed import sealed, unsealed
from ..files.whole import write_whole
from ..timeline.clips import Carry, Clip, Join, Transition, starts
from .store import Store
from .take import KEY

log = logging.getLogger(__name__)

FOLDER = "chains"
SETTLED = 3.0  # seconds; the clock of some file systems ticks every two
CHAIN_FORMAT = "longtake.chain.v1"
ID = re.compile(r"[0-9a-f]{16}")
NAME = re.compile(r"[^\x00-\x1f\x7f]{1,120}")
State = tuple[int, int, int]


@dataclass(frozen=True)
class Entry:
    """A stored stage of a chain: a take by its key, and the clip it is in the film."""

    key: str
    clip: Clip

    def as_json(self) -> dict[str, Any]:
        join = self.clip.join
        seldom = {"surplus": self.clip.surplus} if self.clip.surplus else {}
        if join.carry is not Carry.PIXELS:
            seldom["carry_over"] = join.carry.value
        return {
            "take": self.key,
            "frames": self.clip.frames,
            "asked_end": self.clip.asked_end,
            "transition": join.transition.value,
            "overlap": join.overlap,
            "fade_frames": join.fade_frames,
            **seldom,
        }

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Entry:
        if not KEY.fullmatch(entry["take"]):
            raise ValueError(f"{entry['take']!r} is no key of a take")
        carry = Carry(entry.get("carry_over", Carry.PIXELS))
        join = Join(Transition(entry["transition"]), int(entry["overlap"]), int(entry["fade_frames"]), carry)
        clip = Clip(int(entry["frames"]), join, int(entry["asked_end"]), int(entry.get("surplus", 0)))
        return cls(str(entry["take"]), clip)


@dataclass(frozen=True)
class StoredChain:
    """A chain as it lies on disk.

    Args:
        name: given by a person; what a named chain needs is never pruned.
        created: seconds since 1970.
    """

    family: str
    width: int
    height: int
    fps: Fraction
    entries: tuple[Entry, ...]
    name: str = ""
    created: float = 0.0

    @property
    def id(self) -> str:
        return self.ids[-1]

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the chain's first stage alone, of its first two, and so on to its own."""
        head = json.dumps([self.family, self.width, self.height, str(self.fps)])
        hashed, ids = hashlib.sha256(f"[{head}, [".encode()), []
        for index, entry in enumerate(self.entries):
            hashed.update(((", " if index else "") + json.dumps(entry.as_json(), sort_keys=True)).encode())
            whole = hashed.copy()
            whole.update(b"]]")
            ids.append(whole.hexdigest()[:16])
        return ids

    @property
    def frames(self) -> int:
        """Length of the film."""
        return self.entries[-1].clip.asked_end

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "created": self.created,
            "family": self.family,
            "width": self.width,
            "height": self.height,
            "fps": str(self.fps),
            "stages": [entry.as_json() for entry in self.entries],
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> StoredChain:
        try:
            chain = cls(
                family=str(document["family"]),
                width=int(document["width"]),
                height=int(document["height"]),
                fps=Fraction(document["fps"]),
                entries=tuple(Entry.read(entry) for entry in document["stages"]),
                name=str(document["name"]),
                created=float(document["created"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
            raise Damaged(f"not a chain ({error})") from None
        if not chain.entries:
            raise Damaged("a chain of no stage")
        return chain


@dataclass
class _Read:
    """What was read of one folder of records.

    Args:
        files: by name of the file: the file's state, and the chain in it; None for both where it could not be read.
        changed: when the folder had last changed before all of it was looked through, in ns; None where that says
            nothing.
        within: by the id of every chain that is recorded, or begins a recorded one: the longer one, and how many of
            its stages it has. A chain's own record goes before a longer one.
    """

    files: dict[str, tuple[State | None, StoredChain | None]] = field(default_factory=dict)
    changed: int | None = None
    within: dict[str, tuple[StoredChain, int]] = field(default_factory=dict)

    def chains(self) -> list[StoredChain]:
        return [chain for _, chain in self.files.values() if chain is not None]

    def recorded(self, id: str) -> StoredChain | None:
        """The chain of this id, where it has a record of its own."""
        chain, count = self.within.get(id, (None, 0))
        return chain if chain is not None and count == len(chain.entries) else None

    def add(self, chain: StoredChain) -> None:
        """Let a chain and its beginnings be found."""
        for count, id in enumerate(chain.ids, start=1):
            if count == len(chain.entries) or self.recorded(id) is None:
                self.within[id] = chain, count


_lock = threading.RLock()  # reading and changing records is one step
_read_of: dict[Path, _Read] = {}


def keep(store: Store, now: StoredChain) -> None:
    """Keep the record of a chain, in place of the same chain without its last stages.

    Nothing is written where it is recorded already, or begins a longer chain that is; what a kill has left of a shorter
    record goes then too. That a record cannot be written costs the film nothing, and is reported. The other records are
    not looked at, however many there are.
    """
    ids = now.ids
    try:
        with _lock:
            read = _refresh(store, known_too=False)
            if ids[-1] not in read.within:
                _write(store, now)
                read.files[_path(store, now).name] = _state(_path(store, now)), now
                read.add(now)
            longest, _ = read.within[ids[-1]]
            shorter = [chain for id in ids[:-1] if (chain := read.recorded(id)) is not None]
            for chain in shorter:
                _forget_unnamed(store, read, chain)
            if shorter:
                read.add(longest)
    except (OSError, Refusal) as error:
        log.warning("Longtake: the chain of %s stages is not recorded: %s", len(ids), error)


def _forget_unnamed(store: Store, read: _Read, chain: StoredChain) -> None:
    """Remove the record of a chain that a longer one takes the place of, unless somebody has given it a name."""
    path = _path(store, chain)
    state, _ = read.files[path.name]
    if not chain.name and _state(path) == state:
        forget(store, chain)
        del read.files[path.name], read.within[chain.id]


def rename(store: Store, chain: StoredChain, name: str) -> StoredChain:
    """Give a chain a name, or none with an empty one; its takes are then safe from pruning.

    Raises:
        Refusal: the name is too long, holds control characters, or is another chain's.
    """
    if name and not NAME.fullmatch(name):
        raise Refusal("a name has 1 to 120 characters and no line breaks.", field="name")
    with _lock:
        holder = next((stored for stored in list_chains(store) if name and stored.name == name), None)
        if holder is not None and holder.id != chain.id:
            raise Refusal(f"chain {holder.id} has this name already.", field="name")
        named = replace(chain, name=name)
        _write(store, named)
    return named


def forget(store: Store, chain: StoredChain) -> None:
    """Remove a chain's record; its takes stay."""
    with contextlib.suppress(OSError):
        _path(store, chain).unlink(missing_ok=True)


def list_chains(store: Store) -> list[StoredChain]:
    """Every readable chain, the newest first; what is damaged is put aside.

    Raises:
        Unreadable: their folder cannot be read now.
    """
    with _lock:
        return sorted(_refresh(store).chains(), key=lambda chain: chain.created, reverse=True)


def damaged(store: Store) -> Iterator[tuple[str, str]]:
    """File name and problem of every chain that cannot be read."""
    for name in names_in(store.root / FOLDER):
        if name.endswith(".json"):
            try:
                _read(store.root / FOLDER / name)
            except (Damaged, Refusal) as error:
                yield name, str(error)
            except FileNotFoundError:
                continue


def find(store: Store, id_or_name: str) -> StoredChain | None:
    """A chain by its id or name; the newest one for an empty text. An id may be that of the beginning of a chain."""
    with _lock:
        read = _refresh(store)
        if ID.fullmatch(id_or_name) and id_or_name in read.within:
            chain, count = read.within[id_or_name]
            return chain if count == len(chain.entries) else replace(chain, entries=chain.entries[:count], name="")
        chains = sorted(read.chains(), key=lambda chain: chain.created, reverse=True)
    return next((chain for chain in chains if not id_or_name or chain.name == id_or_name), None)


def forget_gone(store: Store, age: float) -> None:
    """Remove the records of unnamed chains whose last take is gone, if they are older than `age` seconds."""
    takes = set(store.keys())
    for chain in list_chains(store):
        if not chain.name and chain.entries[-1].key not in takes and time.time() - chain.created > age:
            forget(store, chain)


def film_of(clips: Sequence[Clip], first: int) -> tuple[Clip, ...]:
    """The clips from index `first` on as a film of their own, shown from that clip's first frame."""
    shift = starts(clips)[first]
    moved = [replace(clip, asked_end=clip.asked_end - shift) for clip in clips[first:]]
    return (replace(moved[0], join=Join()), *moved[1:])


def _path(store: Store, chain: StoredChain) -> Path:
    return store.root / FOLDER / f"{chain.id}.json"


def _write(store: Store, chain: StoredChain) -> None:
    path = _path(store, chain)
    make_folder(path.parent, store.root)
    if path.is_dir():
        put_aside(path, store.root, "it is not a file")
    data = sealed({"format": CHAIN_FORMAT, **chain.as_json()})
    write_whole(path, lambda partial: partial.write_bytes(data))


def _refresh(store: Store, known_too: bool = True) -> _Read:
    """What is recorded now. Only files that are new or have changed are read.

    Args:
        known_too: ask known files whether they have changed. Without it only those are looked at that have appeared,
            so a name that another process has given to a chain may not be seen.
    """
    read = _read_of.setdefault(store.root, _Read())
    folder = store.root / FOLDER
    changed = _changed(folder)
    if changed is not None and changed == read.changed:
        return read
    names = {name for name in names_in(folder) if name.endswith(".json")}
    known = read.files
    states = {name: _state(folder / name) for name in names if known_too or name not in known}
    read.files = {name: was for name, was in known.items() if name in names and states.get(name, was[0]) == was[0]}
    lost = len(read.files) < len(known)
    for name in states.keys() - read.files.keys():
        try:
            chain = _read(folder / name)
        except Damaged as error:
            put_aside(folder / name, store.root, f"the chain in it is lost, {error}")
        except FileNotFoundError:
            if is_there(folder / name):
                put_aside(folder / name, store.root, "it is a link to nothing")
        except Unreadable as error:
            warn_once(folder / name, f"chain {name}: {error}")
            read.files[name], changed = (None, None), None
        else:
            read.files[name] = states[name], chain
            read.add(chain)
    if lost:
        read.within = {}
        for chain in read.chains():
            read.add(chain)
    if known_too or not known:
        read.changed = changed
    return read


def _state(path: Path) -> State | None:
    """What changes when a file is written anew; None where there is none."""
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _changed(folder: Path) -> int | None:
    """When a folder last changed, in ns; None where it may have changed again since at what counts as the same time."""
    try:
        changed = os.stat(folder).st_mtime_ns
    except OSError:
        return None
    return changed if abs(time.time() - changed / 1e9) > SETTLED else None


def _read(path: Path) -> StoredChain:
    return StoredChain.read(unsealed(contents(path), (CHAIN_FORMAT,)))
