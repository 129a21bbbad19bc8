"""Chains kept in the store, and opened from it."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import Refusal
from ..takes.chains import Entry, StoredChain, film_of, keep
from ..takes.store import Store
from ..takes.take import Take
from ..timeline.clips import Clip, Join
from .chain import Chain, Link, check_same_film

if TYPE_CHECKING:
    from ..model.bundle import VideoModel


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
    """Keep a rendered chain, as `keep` does; a video that no stage follows yet is none."""
    record = stored(chain)
    if record is not None:
        keep(store, record)


def opened(store: Store, chain: StoredChain, model: VideoModel, first: int, last: int) -> Chain:
    """A stored chain, or the stages `first` to `last` of it, with every take found and checked.

    Args:
        model: decodes it, and renders what is put behind it.
        first, last: numbers of stages, counted from 1.

    Raises:
        Refusal: a take is missing or damaged, or the model is of another family or frame rate.
    """
    check_same_film(model, chain.family, chain.fps)
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
    # What a retake rendered beyond the video's end is a still; a stage's clip is whole.
    entry = Entry(take.key, Clip(facts["frames"], Join(), facts.get("shown", facts["frames"])))
    fps = Fraction(facts["fps"])
    chain = StoredChain(facts["family"], facts["width"], facts["height"], fps, (entry,))
    return opened(store, chain, model, 1, 1)
