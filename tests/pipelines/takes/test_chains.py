"""Chains on disk: one record a film, kept without reading the history, found again, and never worth a stage."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from longtake.pipelines.chain import record
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.files import sealed
from longtake.pipelines.files.reading import Unreadable
from longtake.pipelines.takes import chains
from longtake.pipelines.takes.chains import Entry, StoredChain
from longtake.pipelines.takes.store import Store
from longtake.pipelines.takes.take import Take
from longtake.pipelines.timeline.clips import Clip, Join

STAGE_SECONDS = 0.03


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "longtake")


def film(store: Store, *takes: int) -> Chain:
    """A chain of takes, cut after cut, 5 frames each."""
    links = (
        Link(Clip(5, Join(), 5 * (index + 1)), Take(store.root / "takes" / f"{take:064x}"), None)
        for index, take in enumerate(takes)
    )
    return Chain("wan22", 96, 64, Fraction(16), tuple(links))


def records(store: Store) -> list[list[int]]:
    return [[int(entry.key, 16) for entry in chain.entries] for chain in chains.list_chains(store)]


def test_a_film_that_grows_has_one_record(store: Store) -> None:
    for count in range(1, 6):
        record.remember(store, film(store, *range(count)))
        assert records(store) == [[*range(count)]]


def test_what_a_kill_leaves_of_the_shorter_record_goes_when_the_film_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.remember(store, film(store, 1, 2))
    with monkeypatch.context() as killed:
        killed.setattr(chains, "forget", lambda *_: None)  # after the longer record was written
        record.remember(store, film(store, 1, 2, 3))
    chains._read_of.clear()  # as a process that starts anew
    assert sorted(records(store)) == [[1, 2], [1, 2, 3]]
    for count in (1, 2, 3):
        record.remember(store, film(store, *range(1, count + 1)))
    assert records(store) == [[1, 2, 3]]
    found = chains.find(store, record.id_of(film(store, 1, 2)))
    assert found is not None
    assert len(found.entries) == 2


def test_the_beginning_of_a_recorded_film_writes_nothing_and_is_found_by_its_id(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = film(store, 1, 2, 3)
    record.remember(store, whole)
    [path] = (store.root / "chains").iterdir()
    before = path.stat()
    for count in (1, 2, 3):
        begun = film(store, *range(1, count + 1))
        record.remember(store, begun)
        opened = chains.find(store, record.id_of(begun))
        assert opened is not None
        assert [int(entry.key, 16) for entry in opened.entries] == [*range(1, count + 1)]
        assert opened.id == record.id_of(begun)
    assert list((store.root / "chains").iterdir()) == [path]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert chains.find(store, "0" * 16) is None


def test_a_film_with_another_end_has_a_record_of_its_own_and_a_named_beginning_stays(store: Store) -> None:
    chains.rename(store, record.stored(film(store, 1, 2)), "begun")
    record.remember(store, film(store, 1, 2, 3))
    record.remember(store, film(store, 1, 2, 4))
    assert sorted(records(store)) == [[1, 2], [1, 2, 3], [1, 2, 4]]
    assert chains.find(store, "begun").id == record.id_of(film(store, 1, 2))


def test_a_full_disk_costs_a_record_and_no_film(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(small_disk / "longtake")
    record.remember(store, film(store, 1, 2, 3))
    with open(small_disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        while True:
            filler.write(bytes(4096))
    for count in (1, 2, 3):
        record.remember(store, film(store, *range(1, count + 1)))
    assert caplog.records == []
    record.remember(store, film(store, 1, 2, 3, *range(4, 400)))
    assert "is not recorded" in caplog.text
    assert records(store) == [[1, 2, 3]]


def test_another_process_s_records_are_seen(store: Store) -> None:
    record.remember(store, film(store, 1))
    assert records(store) == [[1]]
    other = StoredChain("wan22", 96, 64, Fraction(16), (Entry("ab" * 32, Clip(5, Join(), 5)),), "theirs", 7.0)
    data = sealed.sealed({"format": chains.CHAIN_FORMAT, **other.as_json()})
    (store.root / "chains" / f"{other.id}.json").write_bytes(data)
    assert chains.find(store, "theirs") == other
    with pytest.raises(Refusal, match="has this name already"):
        chains.rename(store, record.stored(film(store, 1)), "theirs")


def test_records_of_takes_that_are_gone_go_and_named_ones_stay(store: Store) -> None:
    import torch

    for take in (1, 2):
        store.write(f"{take:064x}", {"latent": torch.zeros(1)}, {})
    chains.rename(store, record.stored(film(store, 8, 9)), "named")
    for takes in ((1, 2), (1, 2, 7), (5, 6)):
        record.remember(store, film(store, *takes))
    chains.forget_gone(store, 3600)
    assert sorted(records(store)) == [[1, 2, 7], [5, 6], [8, 9]], "they may be a moment old"
    chains.forget_gone(store, -1)
    assert sorted(records(store)) == [[8, 9]]
    record.remember(store, film(store, 1, 2))
    chains.forget_gone(store, -1)
    assert sorted(records(store)) == [[1, 2], [8, 9]]


def add_history(store: Store, count: int) -> None:
    """Records of films that share nothing with any other."""
    for old in range(count):
        entries = tuple(Entry(f"{100 * old + n + 1000:064x}", Clip(5, Join(), 5 * (n + 1))) for n in range(12))
        chains._write(store, StoredChain("wan22", 96, 64, Fraction(16), entries))


@pytest.fixture
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.usefixtures("unflushed")
def test_no_stage_pays_for_the_history(tmp_path: Path, asked: Counter[str]) -> None:
    growing, stored = [], []
    for history in (10, 1000):
        store = Store(tmp_path / str(history))
        add_history(store, history)
        record.remember(store, film(store, 0))  # which reads what is there, once
        films = [film(store, *range(count)) for count in range(2, 101)]
        times = []
        for work in (growing, stored):
            asked.clear()
            for chain in films:
                started = time.process_time()
                record.remember(store, chain)
                times.append(time.process_time() - started)
            work.append(Counter(asked))
        assert sorted(times[:99])[50] < STAGE_SECONDS
        assert len(list((store.root / "chains").iterdir())) == history + 1
    assert growing[1] == growing[0]
    assert growing[1].total() <= 20 * 99
    assert stored[1] == stored[0]
    assert stored[1].total() <= 2 * 99


def test_a_name_that_another_process_gives_a_growing_film_is_not_lost(store: Store) -> None:
    record.remember(store, film(store, 1))
    theirs = replace(record.stored(film(store, 1)), name="theirs")
    path = store.root / "chains" / f"{theirs.id}.json"
    path.unlink()
    path.write_bytes(sealed.sealed({"format": chains.CHAIN_FORMAT, **theirs.as_json()}))
    record.remember(store, film(store, 1, 2))
    assert chains.find(store, "theirs").id == theirs.id
    assert sorted(records(store)) == [[1], [1, 2]]


def test_a_record_that_could_not_be_read_once_is_read_when_it_can_be(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.remember(store, film(store, 1))
    monkeypatch.setattr(chains, "_read_of", {})
    monkeypatch.setattr(chains, "_changed", lambda _: 1)

    def away(path: Path) -> bytes:
        raise Unreadable(f"{path} is away")

    with monkeypatch.context() as patch:
        patch.setattr(chains, "contents", away)
        assert records(store) == []
    assert records(store) == [[1]]
