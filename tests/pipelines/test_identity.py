"""Keys of takes: each ingredient changes them, nothing else does, and what is not known never gets an equal one."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
from enum import Enum
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from longtake.pipelines import identity as ids
from longtake.pipelines.identity import Source, Unidentified, digest, file_digest, identity


class Colour(str, Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    remark: str = dataclasses.field(default="", compare=False)


def safetensors_of(path: Path, tensors: dict[str, bytes]) -> Path:
    header, place = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [place, place + len(data)]}
        place += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))
    return path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1, "1"),
        (None, "null"),
        ("red", Colour.RED),
        ([1, 2], [[1], 2]),
        ({"a": 1}, [["a", 1]]),
        (0.1, 0.1 + 2**-56),
        (Fraction(1, 2), 0.5),
        (Point(0.0), Point(-0.0)),
        (torch.zeros(4), torch.zeros(2, 2)),
        (torch.zeros(4), torch.zeros(4, dtype=torch.float64)),
        (torch.zeros(4), torch.tensor([0.0, 0.0, 0.0, 1e-30])),
        (torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.float16)),
    ],
)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    assert digest(one) != digest(other)


def test_equal_values_have_equal_digests() -> None:
    assert digest({"a": 1, "b": Point(2.0, "x")}) == digest({"b": Point(2.0, "y"), "a": 1})
    assert digest((1, 2)) == digest([1, 2])
    assert digest(torch.arange(6).reshape(2, 3).T) == digest(torch.tensor([[0, 3], [1, 4], [2, 5]]))


def test_what_is_not_known_is_refused_and_gets_a_key_that_is_used_once() -> None:
    with pytest.raises(Unidentified, match="object cannot be identified"):
        digest(object())
    first, second = (identity({"model": object()}, {"frames": 17}) for _ in range(2))
    assert first.key != second.key
    assert first.place == second.place
    assert "object" in first.unidentified


def test_a_file_counts_by_its_content_not_its_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    (tmp_path / "c").write_bytes(b"samE")
    a, b, c = (digest(Source((str(tmp_path / name),))) for name in "abc")
    assert a == b
    assert a != c


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"one")
    first = file_digest(path)
    status = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert file_digest(path) != first


def test_a_missing_file_cannot_be_identified(tmp_path: Path) -> None:
    with pytest.raises(Unidentified, match="gone"):
        file_digest(tmp_path / "gone")


def test_one_changed_tensor_of_a_large_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "WHOLE", 1024)
    tensors = {f"block.{index}": bytes([index]) * 9000 for index in range(40)}
    plain = file_digest(safetensors_of(tmp_path / "plain", tensors))
    for name in tensors:
        changed = file_digest(safetensors_of(tmp_path / name, tensors | {name: b"\xff" * 9000}))
        assert changed != plain, name


def test_a_large_file_of_another_format_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "WHOLE", 1024)
    data = bytearray(os.urandom(3_000_000))
    (tmp_path / "a.gguf").write_bytes(data)
    first = file_digest(tmp_path / "a.gguf")
    (tmp_path / "b.gguf").write_bytes(data[::-1])
    assert file_digest(tmp_path / "b.gguf") != first
