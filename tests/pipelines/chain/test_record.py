<<<<<<< HEAD
"""Chains kept and opened again: the same clips there and back, a part as a film of its own, a lost take by number."""
=======
"""Chains kept and opened again: the same clips there and back, a part as a film of its own, a lost take named."""
>>>>>>> tests2

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from longtake.pipelines.chain import record
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.takes import chains
from longtake.pipelines.takes.store import Store
from longtake.pipelines.timeline.clips import Clip, Join, Transition

from tests.pipelines.stage.test_endings import WAN_5B, WAN_14B, bundle

MODEL = bundle(WAN_14B)
SMOOTH, FADE = Join(Transition.SMOOTH, overlap=5), Join(Transition.FADE, fade_frames=4)
CLIPS = (Clip(9, Join(), 9), Clip(13, SMOOTH, 17), Clip(9, FADE, 22))


@pytest.fixture
def store(comfyui: Path, tmp_path: Path) -> Store:
    return Store(tmp_path / "longtake")


@pytest.fixture
def chain(store: Store) -> Chain:
    """Three stored stages: one alone, one that goes on from it, one that fades in."""
    facts = {"family": "wan22", "fps": "16", "frames": 9}
    takes = [store.write(f"{number:064x}", {"latent": torch.zeros(1)}, facts) for number in range(3)]
    links = tuple(Link(clip, take, MODEL) for clip, take in zip(CLIPS, takes, strict=True))
    return Chain("wan22", 96, 64, Fraction(16), links)


def opened(store: Store, chain: Chain, first: int, last: int) -> Chain:
    kept = chains.find(store, record.id_of(chain))
    assert kept is not None
    return record.opened(store, kept, MODEL, first, last)


def test_a_chain_that_is_remembered_opens_as_it_was(store: Store, chain: Chain) -> None:
    record.remember(store, chain)
    assert opened(store, chain, 1, 3) == chain


def test_a_part_begins_its_own_film_with_a_cut_at_frame_0(store: Store, chain: Chain) -> None:
    record.remember(store, chain)
    part = opened(store, chain, 2, 3)
    assert part.clips == (Clip(13, Join(), 13), Clip(9, FADE, 18))
    assert [link.take for link in part.links] == [link.take for link in chain.links[1:]]


def test_a_stage_without_its_take_is_named_and_what_opens_without_it(store: Store, chain: Chain) -> None:
    record.remember(store, chain)
    shutil.rmtree(chain.links[1].rendered.path)
    with pytest.raises(Refusal, match=r"^stage 2: its take is missing .* Give last_stage 1 to open"):
        opened(store, chain, 1, 3)
    with pytest.raises(Refusal, match=r"^stage 2: [^.]*\.$"):
        opened(store, chain, 2, 3)
    assert opened(store, chain, 1, 1).links == chain.links[:1]


def test_a_chain_is_opened_by_models_of_its_rate_alone(store: Store, chain: Chain) -> None:
    record.remember(store, chain)
    kept = chains.find(store, "")
    assert kept is not None
    with pytest.raises(Refusal, match="runs at 24 frames a second, the chain so far at 16"):
        record.opened(store, kept, bundle(WAN_5B), 1, 3)


def test_a_single_take_is_shown_as_long_as_it_was_asked_for(store: Store) -> None:
    facts = {"family": "wan22", "fps": "16", "frames": 9, "shown": 7, "width": 96, "height": 64}
    take = store.write("f" * 64, {"latent": torch.zeros(1)}, facts)
    chain = record.single(store, take, MODEL)
    assert (chain.clips, chain.frames) == ((Clip(9, Join(), 7),), 7)
    shutil.rmtree(take.path)
    with pytest.raises(Refusal, match=r"^take: it is damaged"):
        record.single(store, take, MODEL)


def test_the_id_is_of_the_takes_and_their_joins(chain: Chain) -> None:
    other = replace(chain.links[1], clip=replace(CLIPS[1], join=Join()))
    assert record.id_of(replace(chain, links=(chain.links[0], other))) != record.id_of(
        replace(chain, links=chain.links[:2])
    )
    assert record.id_of(Chain("wan22", 96, 64, Fraction(16))) == ""
