"""Kinds of damage, each with the outcome that is right for it: healed, put aside, or an error that keeps the take."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.files import reading
from longtake.pipelines.files.reading import Unreadable
from longtake.pipelines.files.sealed import sealed
from longtake.pipelines.takes import chains, decoded, housekeeping, numbers, temp
from longtake.pipelines.takes.chains import Entry, StoredChain
from longtake.pipelines.takes.store import Store
from longtake.pipelines.takes.take import Take
from longtake.pipelines.timeline.clips import Clip, Join

KEY = "ab" * 32
LATENT = {"latent": torch.arange(24.0).reshape(1, 2, 3, 2, 2)}
DEEP = b"[" * 100_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "longtake")
    store.write(KEY, LATENT, {"prompt": "a fox", "place": "cd" * 32, "take": 1})
    return store


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def a_folder(path: Path) -> None:
    removed(path)
    path.mkdir()


def a_file(path: Path) -> None:
    removed(path)
    path.write_text("what is this?")


def a_link_to_nowhere(path: Path) -> None:
    removed(path)
    path.symlink_to(path.with_name("nowhere"))


def a_link_to_itself(path: Path) -> None:
    removed(path)
    path.symlink_to(path)


def holding(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def with_number(text: bytes) -> Callable[[Path], None]:
    """In place of the time it was made at."""

    def harm(path: Path) -> None:
        document = json.loads(path.read_bytes())
        path.write_bytes(json.dumps({**document, "created": 0.25}).encode().replace(b"0.25", text))

    return harm


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "tensors: a flipped bit": ("tensors.safetensors", flipped),
    "tensors: truncated": ("tensors.safetensors", truncated),
    "tensors: emptied": ("tensors.safetensors", emptied),
    "tensors: longer": ("tensors.safetensors", longer),
    "tensors: missing": ("tensors.safetensors", removed),
    "tensors: a folder": ("tensors.safetensors", a_folder),
    "tensors: a link to nowhere": ("tensors.safetensors", a_link_to_nowhere),
    "tensors: a link to itself": ("tensors.safetensors", a_link_to_itself),
    "facts: a flipped bit": ("take.json", flipped),
    "facts: truncated": ("take.json", truncated),
    "facts: emptied": ("take.json", emptied),
    "facts: missing": ("take.json", removed),
    "facts: a folder": ("take.json", a_folder),
    "facts: a link to nowhere": ("take.json", a_link_to_nowhere),
    "facts: no object": ("take.json", holding(b"[]")),
    "facts: no seal": ("take.json", holding(b"{}")),
    "facts: nested deeply": ("take.json", holding(DEEP)),
    "facts: nested deeply in an object": (
        "take.json",
        holding(b'{"check": "", "a": ' + b"[" * 900 + b"]" * 900 + b"}"),
    ),
    "facts: no text": ("take.json", holding(b"\xff\xfe")),
    "facts: NaN": ("take.json", with_number(b"NaN")),
    "facts: 1e999": ("take.json", with_number(b"1e999")),
    "facts: a number of 5,000 digits": ("take.json", with_number(b"9" * 5000)),
    "the take: a file": ("", a_file),
    "the take: an empty folder": ("", a_folder),
    "the take: a link to nowhere": ("", a_link_to_nowhere),
    "the take: a link to itself": ("", a_link_to_itself),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_take_is_put_aside_said_once_and_rendered_again(
    store: Store, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    name, harm = DAMAGE[kind]
    harm(store.root / "takes" / KEY / name)
    before = store.deletions()
    assert len(list(housekeeping.verify(store))) == (1 if store.take(KEY) or "the take" in kind else 0)
    assert [store.find(KEY) for _ in range(3)] == [None] * 3
    assert store.deletions() != before, "whoever holds it is asked anew"
    assert len(list((store.root / "damaged").iterdir())) == 1
    assert sum("is rendered again" in record.message for record in caplog.records) == 1
    store.write(KEY, LATENT, {})
    assert torch.equal(store.find(KEY).latent(), LATENT["latent"])


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_stage_that_was_rendered_is_kept_though_damage_lies_in_its_place(store: Store, kind: str) -> None:
    name, harm = DAMAGE[kind]
    harm(store.root / "takes" / KEY / name)
    assert torch.equal(store.write(KEY, LATENT, {}).latent(), LATENT["latent"])
    assert list((store.root / "partial").iterdir()) == []


@contextlib.contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, number: int, name: str) -> Iterator[None]:
    """Opening a file of this name fails."""

    def fails(path: Path, *args: object) -> object:
        if Path(path).name == name:
            raise OSError(number, os.strerror(number))
        return open(path, *args)

    with monkeypatch.context() as border:
        border.setattr(reading, "open", fails, raising=False)
        yield


@contextlib.contextmanager
def no_handle_left(*_: object) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)


@contextlib.contextmanager
def no_right(*_: object) -> Iterator[None]:
    """What root may not be denied is asked for as nobody, who may not enter the test's folder."""
    if not hasattr(os, "seteuid") or os.geteuid() != 0:
        pytest.skip("needs root, to become nobody")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


PASSING = {
    "no file handle left": no_handle_left,
    "no right to the folder": no_right,
    "tensors: an I/O error": lambda patch: failing(patch, errno.EIO, "tensors.safetensors"),
    "tensors: too many open files": lambda patch: failing(patch, errno.EMFILE, "tensors.safetensors"),
    "tensors: locked by a scanner": lambda patch: failing(patch, errno.EACCES, "tensors.safetensors"),
    "facts: a stale handle of a share": lambda patch: failing(patch, errno.ESTALE, "take.json"),
    "facts: a share that does not answer": lambda patch: failing(patch, errno.ETIMEDOUT, "take.json"),
    "facts: no memory": lambda patch: failing(patch, errno.ENOMEM, "take.json"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_take_that_cannot_be_read_now_is_an_error_and_stays(
    store: Store, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.deletions()
    with PASSING[kind](monkeypatch), pytest.raises(Unreadable, match=r"cannot be read now \(.+\). It stays as it is"):
        store.find(KEY)
    assert not (store.root / "damaged").exists()
    assert store.deletions() == before
    assert torch.equal(store.find(KEY).latent(), LATENT["latent"])


def test_a_take_of_a_later_format_is_an_error_and_stays(store: Store) -> None:
    path = store.root / "takes" / KEY / "take.json"
    record = json.loads(path.read_bytes())
    del record["check"]
    path.write_bytes(sealed({**record, "format": "longtake.take.v99"}))
    with pytest.raises(Unreadable, match=r"longtake\.take\.v99, and this version reads"):
        store.find(KEY)
    assert path.exists()


@pytest.mark.parametrize("name", ["", "takes", "partial", "numbers", "chains", "servers", "noted", "damaged"])
@pytest.mark.parametrize("harm", [removed, a_file])
def test_a_store_whose_folders_are_gone_or_no_folders_heals(store: Store, name: str, harm: Callable) -> None:
    path = store.root / name
    path.mkdir(exist_ok=True)
    harm(path)
    store.check_writable()
    numbers.claim(store, "cd" * 32, KEY)
    take = store.write(KEY, LATENT, {})
    take.note(name="the fox")
    chains.rename(store, chain_of(KEY), "film")
    assert store.find(KEY) == take
    assert store.named("the fox") == take
    assert chains.find(store, "film") == chain_of(KEY, "film")
    flipped(take.path / "take.json")
    assert store.find(KEY) is None
    housekeeping.sweep(store)


def test_a_held_take_whose_store_was_deleted_is_asked_for_anew(store: Store) -> None:
    take, before = store.find(KEY), store.deletions()
    shutil.rmtree(store.root)
    assert store.deletions() != before
    with pytest.raises(Refusal, match="Queue again"):
        take.latent()
    store.write(KEY, LATENT, {})
    assert store.deletions() not in (0, before)
    assert torch.equal(take.latent(), LATENT["latent"])


def chain_of(key: str, name: str = "") -> StoredChain:
    return StoredChain("wan22", 96, 64, Fraction(16), (Entry(key, Clip(5, Join(), 5)),), name)


@pytest.mark.parametrize(
    "harm",
    [flipped, emptied, a_folder, a_link_to_nowhere, with_number(b"NaN"), with_number(b"1e999"), holding(DEEP)],
    ids=["a flipped bit", "emptied", "a folder", "a link to nowhere", "NaN", "1e999", "nested deeply"],
)
def test_a_damaged_chain_is_put_aside_said_once_and_stops_nothing(
    store: Store, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    chains.rename(store, chain_of(KEY), "film")
    [path] = (store.root / "chains").iterdir()
    harm(path)
    assert [chains.list_chains(store) for _ in range(3)] == [[]] * 3
    assert sum("cannot be used" in record.message for record in caplog.records) == 1
    chains.rename(store, chain_of(KEY), "film")
    assert chains.find(store, "film") == chain_of(KEY, "film")


@pytest.mark.parametrize(
    "harm",
    [
        holding(b'{"bytes": NaN}'),
        holding(b'{"bytes": 1e999}'),
        holding(b'{"bytes": -1}'),
        holding(b'{"bytes": true}'),
        holding(b'{"bytes": "7"}'),
        holding(b"[]"),
        holding(DEEP),
        emptied,
        a_folder,
    ],
)
def test_a_limit_that_is_none_is_put_aside_and_can_be_set_again(store: Store, harm: Callable[[Path], None]) -> None:
    housekeeping.set_limit(store, 1000)
    harm(store.root / "limit.json")
    housekeeping.keep_to_limit(store)
    assert housekeeping.limit(store) is None
    assert store.find(KEY) is not None
    housekeeping.set_limit(store, 2000)
    assert housekeeping.limit(store) == 2000


@pytest.mark.parametrize("harm", [flipped, a_folder, holding(DEEP), with_number(b"NaN")])
def test_damaged_notes_cost_a_name_and_no_take(store: Store, harm: Callable[[Path], None]) -> None:
    take = store.find(KEY)
    take.note(name="the fox")
    harm(take.path / "notes.json")
    assert take.notes() == {"name": "", "keep": False, "approved": False}
    take.note(keep=True)
    assert take.notes()["keep"] is True
    assert store.find(KEY) == take


def test_a_keep_mark_that_cannot_be_read_now_is_believed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.take(KEY).note(keep=True)
    with failing(monkeypatch, errno.EIO, "notes.json"):
        assert housekeeping.prune(store, 0).removed == ()


@pytest.mark.parametrize("harm", [truncated, emptied, a_folder, holding(b"no array")])
def test_decoded_frames_that_are_not_whole_are_decoded_again(
    store: Store, harm: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temp, "temp_folder", lambda: tmp_path)
    take = Take(store.root / "takes" / KEY)
    for _ in range(2):
        decoded.write_frames(take.frames_path, (4, 8, 8, 3), lambda frames: frames.fill(7))
        assert decoded.read_frames(take.frames_path) is not None
        harm(take.frames_path)
        assert decoded.read_frames(take.frames_path) is None
