"""Takes on disk: whole or not at all, never believed when damaged, kept when something goes wrong."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.files.reading import Damaged, Unreadable
from longtake.pipelines.files.sealed import sealed, unsealed
from longtake.pipelines.takes import decoded, temp
from longtake.pipelines.takes import store as stores
from longtake.pipelines.takes.store import Store
from longtake.pipelines.takes.take import Take

KEY = "ab" * 32
LATENT = torch.arange(24.0).reshape(1, 2, 3, 2, 2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "longtake")


def test_a_take_gives_back_what_was_written(store: Store) -> None:
    store.write(KEY, {"latent": LATENT, "audio": LATENT[0].bfloat16()}, {"prompt": "ein Füchslein \ud800", "seed": 7})
    take = store.find(KEY)
    assert take is not None
    assert torch.equal(take.latent(), LATENT)
    assert take.audio().dtype == torch.bfloat16
    assert take.facts() == {"prompt": "ein Füchslein \ud800", "seed": 7}
    assert sorted(path.name for path in take.path.iterdir()) == ["take.json", "tensors.safetensors"]


def test_another_key_is_not_found(store: Store) -> None:
    store.write(KEY, {"latent": LATENT}, {})
    assert store.find("cd" * 32) is None


def test_every_flipped_byte_of_every_file_is_noticed(store: Store) -> None:
    take = store.write(KEY, {"latent": LATENT}, {"prompt": "a fox"})
    for name in ("take.json", "tensors.safetensors"):
        path = take.path / name
        data = path.read_bytes()
        for place in range(len(data)):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(Damaged):
                take.checked()
        path.write_bytes(data)
    assert store.find(KEY) == take


@pytest.mark.parametrize("name", ["take.json", "tensors.safetensors"])
@pytest.mark.parametrize("harm", ["missing", "empty", "short"])
def test_a_take_that_is_not_whole_is_put_aside_and_can_be_written_again(store: Store, name: str, harm: str) -> None:
    path = store.write(KEY, {"latent": LATENT}, {}).path / name
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7] if harm == "short" else b"")
    assert store.find(KEY) is None
    assert len(list((store.root / "damaged").iterdir())) == 1
    store.write(KEY, {"latent": LATENT}, {})
    assert store.find(KEY) is not None


def test_a_foreign_file_under_a_takes_name_is_put_aside(store: Store) -> None:
    (store.root / "takes").mkdir(parents=True)
    (store.root / "takes" / KEY).write_text("not a take")
    assert store.find(KEY) is None
    assert store.write(KEY, {"latent": LATENT}, {}).checked()


def test_a_take_under_another_ones_name_is_not_believed(store: Store) -> None:
    take = store.write(KEY, {"latent": LATENT}, {})
    other = Take(take.path.with_name("cd" * 32))
    take.path.rename(other.path)
    assert store.find(other.key) is None


def test_a_take_of_another_format_is_reported_and_not_read(store: Store) -> None:
    take = store.write(KEY, {"latent": LATENT}, {})
    record = json.loads((take.path / "take.json").read_bytes())
    del record["check"]
    (take.path / "take.json").write_bytes(sealed({**record, "format": "longtake.take.v99"}))
    with pytest.raises(Unreadable, match=r"format longtake\.take\.v99, and this version reads longtake\.take\.v2"):
        store.find(KEY)
    assert take.path.exists()


def test_a_take_that_was_deleted_says_what_to_do(store: Store) -> None:
    take = store.write(KEY, {"latent": LATENT}, {})
    store.delete(take)
    assert list((store.root / "partial").iterdir()) == []
    with pytest.raises(Refusal, match=r"can no longer be used.*Queue again"):
        take.latent()


def test_the_second_of_two_writers_takes_the_firsts_take(store: Store) -> None:
    first = store.write(KEY, {"latent": LATENT}, {"writer": 1})
    second = store.write(KEY, {"latent": LATENT}, {"writer": 2})
    assert second == first
    assert first.facts() == {"writer": 1}
    assert list((store.root / "partial").iterdir()) == []


def test_a_name_and_a_keep_mark_stay_and_their_damage_costs_only_them(store: Store) -> None:
    take = store.write(KEY, {"latent": LATENT}, {})
    take.note(name="the good one")
    take.note(keep=True)
    assert take.notes()["name"] == "the good one"
    assert take.notes()["keep"] is True
    (take.path / "notes.json").write_text("{")
    assert take.notes() == {"name": "", "keep": False, "approved": False}
    assert store.find(KEY) == take


def test_seals_hold_for_nested_json_and_break_for_any_change() -> None:
    document = {"format": "f", "facts": {"a": [1, 2.5, None], "b": "ö"}}
    assert unsealed(sealed(document), ("f",)) == document
    for data in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, sealed(document).replace(b"2.5", b"2.6")):
        with pytest.raises(Damaged):
            unsealed(data, ("f",))


def test_a_take_that_cannot_be_written_whole_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stores, "flush", full)
    with pytest.raises(Refusal, match="is full"):
        store.write(KEY, {"latent": LATENT}, {})
    assert list((store.root / "partial").iterdir()) == []
    assert not (store.root / "takes" / KEY).exists()


def test_a_full_disk_is_a_clear_error_and_nothing_half_written(small_disk: Path, tmp_path: Path) -> None:
    store = Store(small_disk / "longtake")
    store.write(KEY, {"latent": torch.zeros(1000)}, {})
    with pytest.raises(Refusal, match=r"the disk that holds .* is full.*What was stored before is whole"):
        store.write("cd" * 32, {"latent": torch.zeros(200_000)}, {})
    assert [take.key for take in store.takes()] == [KEY]
    assert store.find(KEY) is not None
    assert list((store.root / "partial").iterdir()) == []


def test_decoded_frames_that_find_no_room_are_an_error_and_no_crash(
    small_disk: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temp, "temp_folder", lambda: small_disk)
    take = store.write(KEY, {"latent": LATENT}, {})
    with pytest.raises(Refusal, match="is full"):
        decoded.write_frames(take.frames_path, (100, 64, 64, 3), lambda frames: frames.fill(1))
    assert list(small_disk.iterdir()) == []


def test_a_read_only_store_is_read_and_nothing_is_rendered_that_it_could_not_keep(small_disk: Path) -> None:
    store = Store(small_disk / "longtake")
    store.check_writable()
    store.write(KEY, {"latent": LATENT}, {})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert store.find(KEY).latent().equal(LATENT)
    with pytest.raises(Refusal, match=r"cannot be written \(Read-only file system\).*--output-directory"):
        store.check_writable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_write_one_take_at_once(store: Store) -> None:
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            try:
                for index in range(20):
                    key = f"{index:064x}"
                    store.write(key, {"latent": LATENT}, {"writer": number})
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert all(store.find(f"{index:064x}") is not None for index in range(20))
    assert list((store.root / "partial").iterdir()) == []
    assert not (store.root / "damaged").exists()


def test_decoded_frames_are_forgotten_before_they_fill_the_disk(
    comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    takes = [Take(tmp_path / "takes" / (letter * 64)) for letter in "abc"]
    for age, take in enumerate(takes):
        decoded.write_frames(take.frames_path, (1, 8, 8, 3), lambda frames: frames.fill(7))
        os.utime(take.frames_path, (age, age))
    size = takes[0].frames_path.stat().st_size

    assert decoded.read_frames(takes[0].frames_path) is not None, "and with that it is the one used last"
    decoded.forget_frames(2 * size)

    assert [take.frames_path.exists() for take in takes] == [True, False, True]
    decoded.forget_frames(0)
    assert [take.frames_path.exists() for take in takes] == [True, False, False]
    assert decoded.read_frames(takes[1].frames_path) is None


def test_the_store_can_be_moved_for_many_servers_to_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_STORE", str(tmp_path / "shared"))
    assert stores.here().root == tmp_path / "shared"
    monkeypatch.setenv("LONGTAKE_STORE", "shared")
    with pytest.raises(Refusal, match="LONGTAKE_STORE is shared, which depends on where ComfyUI was started"):
        stores.here()
