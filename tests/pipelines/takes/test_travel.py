"""Takes on their way from one store to another."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.files.reading import Damaged
from longtake.pipelines.takes.numbers import numbered
from longtake.pipelines.takes.store import Store
from longtake.pipelines.takes.take import Take
from longtake.pipelines.takes.travel import Arriving, packed

KEY, PLACE = "a" * 64, "b" * 64


@pytest.fixture
def sent(tmp_path: Path) -> Take:
    facts = {"frames": 5, "place": PLACE, "take": 3}
    return Store(tmp_path / "from").write(KEY, {"latent": torch.arange(8.0).view(1, 1, 2, 2, 2)}, facts)


def bytes_of(take: Take) -> bytes:
    size, chunks = packed(take)
    content = b"".join(chunks)
    assert len(content) == size
    return content


def arrive(store: Store, content: bytes, key: str = KEY, size: int | None = None) -> Take:
    with Arriving(store, key, len(content) if size is None else size) as arriving:
        for start in range(0, len(content), 100):
            arriving.add(content[start : start + 100])
        return arriving.keep()


def files_in(store: Store) -> list[str]:
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())


def test_a_take_arrives_as_it_was_sent_with_a_number_of_its_stage(sent: Take, tmp_path: Path) -> None:
    store = Store(tmp_path / "to")
    take = arrive(store, bytes_of(sent))
    assert take.record() == sent.record()
    assert torch.equal(take.latent(), sent.latent())
    assert numbered(store, PLACE) == {1: take}
    assert arrive(store, bytes_of(sent)) == take, "a second time changes nothing"
    assert numbered(store, PLACE) == {1: take}
    assert not [name for name in files_in(store) if name.startswith("partial/")]


@pytest.mark.parametrize("at", [0, 9, 200, -1])
def test_what_changed_on_its_way_is_no_take_and_leaves_nothing(sent: Take, tmp_path: Path, at: int) -> None:
    content = bytearray(bytes_of(sent))
    content[at] ^= 1
    store = Store(tmp_path / "to")
    with pytest.raises(Damaged):
        arrive(store, bytes(content))
    assert files_in(store) == []


def test_what_is_cut_short_or_too_long_or_another_take_is_refused(sent: Take, tmp_path: Path) -> None:
    content, store = bytes_of(sent), Store(tmp_path / "to")
    with pytest.raises(Damaged):
        arrive(store, content[:-5])
    with pytest.raises(Refusal, match="more than"):
        arrive(store, content, size=len(content) - 1)
    with pytest.raises(Damaged, match="another take"):
        arrive(store, content, key="c" * 64)
    with pytest.raises(Damaged):
        arrive(store, b"")
    assert files_in(store) == []


def test_nothing_is_taken_in_where_the_disk_would_be_full(
    sent: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40 - 2**30, 2**30))
    store = Store(tmp_path / "to")
    with pytest.raises(Refusal, match="free some space"):
        arrive(store, bytes_of(sent))
    assert files_in(store) == []
