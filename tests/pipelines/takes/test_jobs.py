"""Prompts of renders that have not ended."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from longtake.pipelines.files.reading import Damaged
from longtake.pipelines.takes import jobs
from longtake.pipelines.takes.store import Store

FOX = {"1": {"class_type": "LongtakeChainStage", "inputs": {"prompt": "a fox"}}}
HARE = {"1": {"class_type": "LongtakeChainStage", "inputs": {"prompt": "a hare"}}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "longtake")


def test_a_prompt_is_unfinished_from_its_beginning_to_its_end(store: Store) -> None:
    fox, hare = jobs.begin(store, FOX), jobs.begin(store, HARE)
    assert [job.id for job in jobs.unfinished(store)] == [hare, fox]
    assert jobs.find(store, fox).prompt == FOX
    jobs.end(store, hare)
    assert [job.prompt for job in jobs.unfinished(store)] == [FOX]
    jobs.end(store, hare)  # twice, as two servers may


def test_the_same_prompt_begun_again_is_the_same_job(store: Store) -> None:
    assert jobs.begin(store, FOX) == jobs.begin(store, FOX)
    assert len(jobs.unfinished(store)) == 1


def test_the_oldest_go_where_there_are_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = jobs.begin(store, FOX)
    size = (store.root / "jobs" / f"{first}.json").stat().st_size
    monkeypatch.setattr(jobs, "LIMIT", 4 * size)
    later = [jobs.begin(store, {"1": {"inputs": {"prompt": f"hare {number}"}}}) for number in range(20)]
    left = [job.id for job in jobs.unfinished(store)]
    assert later[-1] == left[0]
    assert first not in left and 3 <= len(left) < 20


def test_a_full_disk_fails_no_render(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(jobs, "write_whole", full)
    jobs.begin(store, FOX)
    assert "not kept" in caplog.text
    assert jobs.unfinished(store) == []


def test_what_was_changed_is_not_handed_out(store: Store) -> None:
    fox = jobs.begin(store, FOX)
    path = store.root / "jobs" / f"{fox}.json"
    path.write_bytes(path.read_bytes().replace(b"a fox", b"a cat"))
    with pytest.raises(Damaged):
        jobs.find(store, fox)
    assert jobs.unfinished(store) == []


@pytest.mark.parametrize("id", ["", "../../secret", "0" * 15, "0" * 16])
def test_an_id_that_is_none_finds_nothing(store: Store, id: str) -> None:
    assert jobs.find(store, id) is None
