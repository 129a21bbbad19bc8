"""Numbers of takes: in the order they were rendered, for ever, and never one twice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from longtake.pipelines.takes.numbers import claim, numbered
from longtake.pipelines.takes.store import Store
from longtake.pipelines.takes.take import Take

PLACE, ELSEWHERE = "aa" * 32, "bb" * 32
LATENT = {"latent": torch.zeros(2)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "longtake")


def key(number: int) -> str:
    return f"{number:064x}"


def written(store: Store, number: int, **facts: object) -> Take:
    return store.write(key(number), LATENT, facts)


def keys_by_number(store: Store, place: str = PLACE) -> dict[int, int]:
    return {number: int(take.key, 16) for number, take in numbered(store, place).items()}


def test_takes_of_a_stage_count_from_one_and_keep_their_numbers(store: Store) -> None:
    assert numbered(store, PLACE) == {}
    assert [claim(store, PLACE, key(take)) for take in (7, 8, 7, 9, 8)] == [1, 2, 1, 3, 2]
    assert claim(store, ELSEWHERE, key(10)) == 1
    assert keys_by_number(store) == {}, "none of them is stored yet"
    for take in (7, 8, 9, 10):
        written(store, take)
    assert keys_by_number(store) == {1: 7, 2: 8, 3: 9}
    assert keys_by_number(store, ELSEWHERE) == {1: 10}


def test_the_number_of_a_deleted_take_is_given_to_no_other(store: Store) -> None:
    for take in (7, 8):
        claim(store, PLACE, key(take))
        written(store, take)
    store.delete(Take(store.root / "takes" / key(8)))
    assert keys_by_number(store) == {1: 7}
    assert claim(store, PLACE, key(9)) == 3
    assert claim(store, PLACE, key(8)) == 2


def test_takes_of_a_store_without_numbers_keep_those_they_name(store: Store) -> None:
    written(store, 7, place=PLACE, take=1)
    written(store, 8, place=PLACE, take=4)
    written(store, 9, place=ELSEWHERE, take=1)
    # Two processes once rendered at the same time.
    written(store, 10, place=PLACE, take=4)
    written(store, 11, prompt="a take without a place")
    written(store, 12, place="../../elsewhere", take=1)
    assert keys_by_number(store) == {1: 7, 4: 8, 5: 10}
    assert keys_by_number(store, ELSEWHERE) == {1: 9}
    assert claim(store, PLACE, key(13)) == 6
    assert claim(store, PLACE, key(8)) == 4
    assert list((store.root / "partial").iterdir()) == []


def test_a_read_only_store_without_numbers_is_read(small_disk: Path) -> None:
    store = Store(small_disk / "longtake")
    written(store, 7, place=PLACE, take=1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert keys_by_number(store) == {1: 7}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("old", [False, True], ids=["a new store", "a store without numbers"])
def test_two_processes_at_once_never_take_one_number(store: Store, tmp_path: Path, old: bool) -> None:
    if old:
        written(store, 1, place=PLACE, take=1)
    children = []
    for process in range(2):
        child = os.fork()
        if child == 0:
            try:
                mine = [claim(store, PLACE, key(1000 * (process + 1) + take)) for take in range(200)]
                (tmp_path / f"process {process}").write_text(" ".join(map(str, mine)))
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    first, second = ([*map(int, (tmp_path / f"process {one}").read_text().split())] for one in range(2))
    assert sorted(first + second) == list(range(1 + old, 401 + old))
    # They were at it at the same time: neither has all numbers before the other's.
    assert min(first) < max(second)
    assert min(second) < max(first)
