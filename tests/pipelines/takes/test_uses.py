"""What servers use is pruned by none of them, whatever their clocks say; what dead ones used is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from longtake.pipelines.takes import housekeeping, listing, uses
from longtake.pipelines.takes.alive import SILENT
from longtake.pipelines.takes.store import Store

ROOT = Path(__file__).resolve().parents[3]
OTHER = """
import sys
sys.path.insert(0, {root!r})
from tests.run import name_packages
name_packages()
from pathlib import Path
from longtake.pipelines.takes.store import Store
held = Store(Path({store!r})).find({key!r})
print(held is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Takes 0..3, take 0 used longest ago."""
    store = Store(tmp_path / "longtake")
    for number in range(4):
        take = store.write(key(number), {"latent": torch.zeros(1000)}, {})
        os.utime(take.path / "take.json", (1000 + number, 1000 + number))
    return store


def key(number: int) -> str:
    return f"{number:064x}"


def left(store: Store) -> list[int]:
    return sorted(int(take.key, 16) for take in store.takes())


@pytest.mark.parametrize("minutes", [-10, 0, 10], ids=["behind", "equal", "ahead"])
def test_what_another_server_uses_stays_until_that_server_dies(
    store: Store, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = OTHER.format(root=str(ROOT), store=str(store.root), key=key(1))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        try:
            assert other.stdout.readline().strip() == b"True"
            os.utime(store.root / "takes" / key(1) / "take.json", (1, 1))
            there = time.time
            monkeypatch.setattr(time, "time", lambda: there() + 60 * minutes)
            housekeeping.prune(store, 0)
            assert left(store) == [1]
        finally:
            other.kill()
    for path in (store.root / uses.FOLDER).iterdir():
        beat = path.stat().st_mtime - SILENT - 1
        os.utime(path, (beat, beat))
    housekeeping.prune(store, 0)
    assert left(store) == []


def test_a_server_that_ends_takes_its_file_along(store: Store) -> None:
    code = OTHER.format(root=str(ROOT), store=str(store.root), key=key(1))
    before = set((store.root / uses.FOLDER).iterdir())
    done = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=True)
    assert done.stdout.strip() == b"True"
    assert set((store.root / uses.FOLDER).iterdir()) == before


def test_a_server_that_runs_for_weeks_keeps_its_limit(store: Store) -> None:
    size = store.take(key(0)).size()
    for number in range(4, 12):
        held = store.write(key(number), {"latent": torch.zeros(1000)}, {})
        housekeeping.set_limit(store, 3 * size + size // 2)
        housekeeping.keep_to_limit(store)
        assert held.key in {take.key for take in store.takes()}
        assert len(left(store)) == 3


def test_lists_limits_and_names_read_no_take_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "longtake")
    for number in range(20):
        store.write(key(number), {"latent": torch.zeros(10)}, {"place": "aa" * 32 if number % 2 else "bb" * 32})
    store.take(key(7)).note(name="seven")
    assert store.newest(0, 0)[0] == 20

    read: list[Path] = []
    monkeypatch.setattr(listing, "_row", lambda take: read.append(take))
    total, page = store.newest(1, 2)
    assert (total, [int(take.key, 16) for take, _ in page]) == (20, [18, 17])
    assert [int(take.key, 16) for take, _ in store.newest(0, 2, "bb" * 32)[1]] == [18, 16]
    assert store.named("seven").key == key(7)
    assert housekeeping.prune(store, 10**9).removed == ()
    assert read == []


def test_a_name_that_moves_and_one_of_an_older_store_are_found(store: Store) -> None:
    first, second = store.take(key(1)), store.take(key(2))
    first.note(name="fox")
    assert store.named("fox") == first
    first.note(name="")
    second.note(name="fox")
    assert store.named("fox") == second
    for path in (store.root / "noted").iterdir():
        path.unlink()
    (store.root / "noted").rmdir()
    assert store.named("fox") == second
    store.delete(second)
    assert list(store.noted()) == [first]


def test_old_files_are_swept_and_young_ones_stay(store: Store) -> None:
    old = time.time() - 40 * housekeeping.DAY
    for folder in ("partial", "damaged", "servers", "checkpoints"):
        (store.root / folder).mkdir(exist_ok=True)
        for name in ("old", "young"):
            (store.root / folder / name).touch()
        os.utime(store.root / folder / "old", (old, old))
    (store.root / ".limit.json.x.partial").touch()
    os.utime(store.root / ".limit.json.x.partial", (old, old))
    for place, age in (("aa" * 32, old), ("bb" * 32, time.time())):
        (store.root / "numbers" / place).mkdir(parents=True)
        (store.root / "numbers" / place / "1").write_text("cd" * 32)
        os.utime(store.root / "numbers" / place, (age, age))
    housekeeping.sweep(store)
    for folder in ("partial", "damaged", "servers", "checkpoints"):
        names = {path.name for path in (store.root / folder).iterdir()}
        assert "old" not in names and "young" in names, folder
    assert not (store.root / ".limit.json.x.partial").exists()
    assert [path.name for path in (store.root / "numbers").iterdir()] == ["bb" * 32]


def test_sweeping_goes_on_beside_rendering(store: Store) -> None:
    left_over = store.root / "partial" / "old"
    left_over.touch()
    os.utime(left_over, (1, 1))
    housekeeping.keep_to_limit(store)
    end = time.monotonic() + 10
    while left_over.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not left_over.exists()
