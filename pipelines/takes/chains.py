"""Chains on disk: which takes, joined how. They are written stage by stage, so that a chain that failed opens too.

    chains/<id>.json   sealed with a hash of itself; the id is a hash of the takes and their joins

Only the longest record of a chain is kept: when a stage is added, the record without it goes, unless it has a name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..chain import Chain, Clip, Join, Link, Transition, starts
from ..errors import Refusal
from .disk import READ_ONLY, Damaged, sealed, unsealed, write_whole
from .store import Store
from .take import Take

if TYPE_CHECKING:
    from ..bundle.model import VideoModel

log = logging.getLogger(__name__)

CHAIN_FORMAT = "longtake.chain.v1"
ID = re.compile(r"[0-9a-f]{16}")
NAME = re.compile(r"[^\x00-\x1f\x7f]{1,120}")


@dataclass(frozen=True)
class Entry:
    """A stored stage of a chain: a take by its key, and the clip it is in the film."""

    key: str
    clip: Clip

    def as_json(self) -> dict[str, Any]:
        join = self.clip.join
        return {
            "take": self.key,
            "frames": self.clip.frames,
            "asked_end": self.clip.asked_end,
            "transition": join.transition.value,
            "overlap": join.overlap,
            "fade_frames": join.fade_frames,
        }

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Entry:
        join = Join(Transition(entry["transition"]), int(entry["overlap"]), int(entry["fade_frames"]))
        return cls(str(entry["take"]), Clip(int(entry["frames"]), join, int(entry["asked_end"])))


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
        document = [[self.family, self.width, self.height, str(self.fps)], [entry.as_json() for entry in self.entries]]
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]

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
            found = cls(
                family=str(document["family"]),
                width=int(document["width"]),
                height=int(document["height"]),
                fps=Fraction(document["fps"]),
                entries=tuple(Entry.read(entry) for entry in document["stages"]),
                name=str(document["name"]),
                created=float(document["created"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"not a chain ({error})") from None
        if not found.entries:
            raise Damaged("a chain of no stage")
        return found


def stored(chain: Chain) -> StoredChain | None:
    """A rendered chain as it is kept, without the video it may begin with, which is not the store's.

    None where it is nothing but that video.
    """
    first = next((index for index, link in enumerate(chain.links) if link.footage is None), None)
    if first is None:
        return None
    links = chain.links[first:]
    clips = film_of(chain.clips, first)
    entries = tuple(Entry(link.rendered.key, clip) for link, clip in zip(links, clips, strict=True))
    return StoredChain(chain.family, chain.width, chain.height, chain.fps, entries, created=time.time())


def id_of(chain: Chain) -> str:
    """The id of a rendered chain; empty where nothing of it is stored."""
    kept = stored(chain)
    return "" if kept is None else kept.id


def remember(store: Store, chain: Chain) -> None:
    """Keep a rendered chain, in place of the same chain without its last stages."""
    now = stored(chain)
    if now is None:
        return
    if find(store, now.id) is None:
        _write(store, now)
    for count in range(1, len(now.entries)):
        found = find(store, replace(now, entries=now.entries[:count]).id)
        if found is not None and not found.name:
            forget(store, found)


def rename(store: Store, chain: StoredChain, name: str) -> StoredChain:
    """Give a chain a name, or none with an empty one; its takes are then safe from pruning.

    Raises:
        Refusal: the name is too long, holds control characters, or is another chain's.
    """
    if name and not NAME.fullmatch(name):
        raise Refusal("a name has 1 to 120 characters and no line breaks.", field="name")
    other = next((one for one in list_chains(store) if name and one.name == name and one.id != chain.id), None)
    if other is not None:
        raise Refusal(f"chain {other.id} has this name already.", field="name")
    named = replace(chain, name=name)
    _write(store, named)
    return named


def forget(store: Store, chain: StoredChain) -> None:
    """Remove a chain's record; its takes stay."""
    for root in store.roots:
        with contextlib.suppress(OSError):
            (root / "chains" / f"{chain.id}.json").unlink(missing_ok=True)


def list_chains(store: Store) -> list[StoredChain]:
    """Every readable chain, the newest first; what cannot be read is reported."""
    found = {chain.id: chain for chain in _read_all(store)}
    return sorted(found.values(), key=lambda chain: chain.created, reverse=True)


def damaged(store: Store) -> Iterator[tuple[str, str]]:
    """File name and problem of every chain that cannot be read."""
    for root in store.roots:
        for path in (root / "chains").glob("*.json"):
            try:
                _read(path)
            except (Damaged, OSError) as error:
                yield path.name, str(error)


def find(store: Store, id_or_name: str) -> StoredChain | None:
    """A chain by its id or name; the newest one for an empty text."""
    if ID.fullmatch(id_or_name):
        for root in store.roots:
            with contextlib.suppress(FileNotFoundError, Damaged):
                return _read(root / "chains" / f"{id_or_name}.json")
    return next((one for one in list_chains(store) if not id_or_name or one.name == id_or_name), None)


def opened(store: Store, chain: StoredChain, model: VideoModel, first: int, last: int) -> Chain:
    """A stored chain, or the stages `first` to `last` of it, with every take found and checked.

    Args:
        model: decodes it, and renders what is put behind it.
        first, last: numbers of stages, counted from 1.

    Raises:
        Refusal: a take is missing or damaged, or the model is of another family.
    """
    if model.family.name != chain.family:
        raise Refusal(f"the chain is one of {chain.family}; connect a bundle of that family.", field="model")
    if model.fps != chain.fps:
        raise Refusal(
            f"the chain runs at {chain.fps} frames a second, the bundle at {model.fps}; connect the bundle it was "
            "rendered with.",
            field="model",
        )
    entries = chain.entries[:last]
    clips = film_of([entry.clip for entry in entries], first - 1)
    links = []
    for number, (entry, clip) in enumerate(zip(entries[first - 1 :], clips, strict=True), start=first):
        take = store.find(entry.key)
        if take is None:
            before = f" Give last_stage {number - 1} to open what lies before it." if number > first else ""
            raise Refusal(f"its take is missing or damaged; queue what rendered it again.{before}", stage=number)
        links.append(Link(clip, take, model))
    return Chain(chain.family, chain.width, chain.height, chain.fps, tuple(links))


def single(store: Store, take: Take, model: VideoModel) -> Chain:
    """One take as a chain of one stage, shown whole."""
    if store.find(take.key) is None:
        raise Refusal("it is damaged and has been put aside; queue what rendered it again.", field="take")
    facts = take.facts()
    entry = Entry(take.key, Clip(facts["frames"], Join(), facts["frames"]))
    fps = Fraction(facts["fps"])
    chain = StoredChain(facts["family"], facts["width"], facts["height"], fps, (entry,))
    return opened(store, chain, model, 1, 1)


def film_of(clips: Sequence[Clip], first: int) -> tuple[Clip, ...]:
    """The clips from index `first` on as a film of their own, shown from that clip's first frame."""
    shift = starts(clips)[first]
    moved = [replace(clip, asked_end=clip.asked_end - shift) for clip in clips[first:]]
    return (replace(moved[0], join=Join()), *moved[1:])


def _write(store: Store, chain: StoredChain) -> None:
    data = sealed({"format": CHAIN_FORMAT, **chain.as_json()})
    for root in store.roots:
        path = root / "chains" / f"{chain.id}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda partial: partial.write_bytes(data))
            return
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise


def _read_all(store: Store) -> Iterator[StoredChain]:
    for root in store.roots:
        for path in (root / "chains").glob("*.json"):
            try:
                yield _read(path)
            except FileNotFoundError:
                continue
            except (Damaged, OSError) as error:
                log.warning("Longtake: chain %s cannot be read: %s", path.name, error)


def _read(path: Path) -> StoredChain:
    return StoredChain.read(unsealed(path.read_bytes(), (CHAIN_FORMAT,)))
