"""Pruning, verifying and deleting: what may go, what never goes, what is reported."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.takes import chains, housekeeping
from longtake.pipelines.takes.chains import Entry, StoredChain
from longtake.pipelines.takes.store import Store
from longtake.pipelines.timeline.clips import Clip, Join


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Takes 0..5 of equal size, take 0 used longest ago, all before ComfyUI started."""
    store = Store(tmp_path / "longtake")
    for number in range(6):
        take = store.write(f"{number:064x}", {"latent": torch.zeros(1000)}, {"n": number})
        os.utime(take.path / "take.json", (1000 + number, 1000 + number))
    return store


def numbers(store: Store) -> list[int]:
    return sorted(int(take.key, 16) for take in store.takes())


def chain_of(store: Store, *takes: int, name: str = "") -> StoredChain:
    entries = tuple(Entry(f"{take:064x}", Clip(5, Join(), 5 * (index + 1))) for index, take in enumerate(takes))
    chain = StoredChain("wan22", 96, 64, Fraction(16), entries)
    return chains.rename(store, chain, name)


def test_pruning_removes_what_was_used_longest_ago(store: Store) -> None:
    size = store.take(f"{0:064x}").size()
    done = housekeeping.prune(store, 9 * size // 2)
    assert numbers(store) == [2, 3, 4, 5]
    assert done.removed == (f"{0:064x}", f"{1:064x}")
    assert done.size == sum(take.size() for take in store.takes())


def test_looking_at_what_pruning_would_remove_removes_nothing(store: Store) -> None:
    size = store.take(f"{0:064x}").size()
    would = housekeeping.prune(store, 9 * size // 2, only_look=True)
    assert numbers(store) == [0, 1, 2, 3, 4, 5]
    assert housekeeping.prune(store, 9 * size // 2) == would


def test_pruning_never_removes_what_a_named_chain_needs_or_what_is_kept(store: Store) -> None:
    chain_of(store, 0, 3, name="film")
    chain_of(store, 1, 4)
    store.take(f"{2:064x}").note(keep=True)
    housekeeping.prune(store, 0)
    assert numbers(store) == [0, 2, 3]


def test_pruning_never_removes_what_is_in_use_and_removes_it_once_it_is_not(store: Store) -> None:
    used = store.find(f"{1:064x}")
    assert used is not None
    housekeeping.prune(store, 0)
    assert numbers(store) == [1]
    del used
    housekeeping.prune(store, 0)
    assert numbers(store) == []


def test_a_limit_is_kept_and_taken_away(store: Store) -> None:
    assert housekeeping.limit(store) is None
    housekeeping.set_limit(store, 0)
    housekeeping.keep_to_limit(store)
    assert numbers(store) == []
    housekeeping.set_limit(store, None)
    assert housekeeping.limit(store) is None


def test_half_written_takes_of_killed_processes_go_after_a_day(store: Store) -> None:
    for name, age in (("old", 25 * 3600), ("new", 3600)):
        path = store.root / "partial" / name
        path.mkdir()
        then = time.time() - age
        os.utime(path, (then, then))
    housekeeping.sweep(store)
    assert [path.name for path in (store.root / "partial").iterdir()] == ["new"]


def test_checkpoints_that_nobody_went_on_with_go_before_they_fill_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, name in enumerate("abcd"):
        path = store.checkpoint_path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1000))
        os.utime(path, (age, age))
    monkeypatch.setattr(housekeeping, "CHECKPOINTS", 2500)
    housekeeping.forget_checkpoints(store)
    assert sorted(path.name for path in (store.root / "checkpoints").iterdir()) == ["c.tape", "d.tape"]


def test_verify_names_every_damaged_take_and_chain_and_changes_nothing(store: Store) -> None:
    chain = chain_of(store, 0)
    (store.root / "chains" / f"{chain.id}.json").write_text("{}")
    (store.root / "takes" / f"{4:064x}" / "tensors.safetensors").unlink()
    problems = {next(iter(entry.values())): entry["problem"] for entry in housekeeping.verify(store)}
    assert set(problems) == {f"{4:064x}", f"{chain.id}.json"}
    assert numbers(store) == [0, 1, 2, 3, 4, 5]
    assert chains.list_chains(store) == []


def test_a_take_that_a_named_chain_needs_is_not_deleted(store: Store) -> None:
    chain = chain_of(store, 0, name="film")
    take = store.take(f"{0:064x}")
    with pytest.raises(Refusal, match="the chain 'film' needs this take"):
        housekeeping.delete(store, take)
    chains.forget(store, chain)
    housekeeping.delete(store, take)
    assert numbers(store) == [1, 2, 3, 4, 5]


def test_two_chains_cannot_have_one_name(store: Store) -> None:
    chain_of(store, 0, name="film")
    with pytest.raises(Refusal, match="has this name already"):
        chain_of(store, 1, name="film")
    for bad in ("x" * 121, "two\nlines", "\0"):
        with pytest.raises(Refusal, match="1 to 120 characters"):
            chain_of(store, 2, name=bad)


def test_a_chain_of_another_format_is_left_alone(store: Store) -> None:
    from longtake.pipelines.files.sealed import sealed

    chain = chain_of(store, 0)
    path = store.root / "chains" / f"{chain.id}.json"
    path.write_bytes(sealed({**chain.as_json(), "format": "longtake.chain.v9"}))
    assert chains.find(store, chain.id) is None
    assert "longtake.chain.v9" in next(iter(housekeeping.verify(store)))["problem"]


def test_no_take_that_is_known_is_looked_at_again(tmp_path: Path, asked: Counter[str]) -> None:
    def work(takes: int) -> dict[str, Counter[str]]:
        """What each act asks of the file system in a store of so many takes that the process has seen."""
        store = Store(tmp_path / str(takes))
        for number in range(takes):
            key = f"{number * 2**224:064x}"
            take = store.write(key, {"latent": torch.zeros(1)}, {})
            os.utime(take.path / "take.json", (1000 + number, 1000 + number))
            del take
        assert list(store.noted()) == []
        size = housekeeping.prune(store, 10**9).size
        each = size // takes
        done = {}

        def count(name: str, act: Callable[[], object]) -> None:
            asked.clear()
            act()
            done[name] = Counter(asked)

        count("under the limit", lambda: housekeeping.prune(store, size))
        count("the newest", lambda: store.newest(0, 1))
        count("a key's first digits", lambda: store.named(f"{(takes - 1) * 2**224:064x}"[:8]))
        count("one too many", lambda: housekeeping.prune(store, size - each // 2))
        count("the keys", store.keys)
        assert numbers(store) == [number * 2**224 for number in range(1, takes)]
        return done

    few, many = work(10), work(100)
    assert many == few
    for name in ("a key's first digits", "the keys"):
        assert many[name] == {"listdir": 1}, name
    assert many["under the limit"] == {"listdir": 2}
    assert many["one too many"].total() < 40
