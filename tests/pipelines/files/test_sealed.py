"""A sealed document is read as it was written, or not at all."""

from __future__ import annotations

import json

import pytest
from longtake.pipelines.files.reading import Damaged, Unreadable
from longtake.pipelines.files.sealed import parsed, sealed, unsealed

DOCUMENT = {"format": "f.v1", "name": "a fox", "seconds": 0.30000000000000004, "nested": {"b": [1, None], "a": True}}


def test_what_is_sealed_comes_back():
    assert unsealed(sealed(DOCUMENT), ("f.v0", "f.v1")) == DOCUMENT


def test_any_changed_byte_is_damage():
    data = sealed(DOCUMENT)
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1
        with pytest.raises(Damaged):
            unsealed(bytes(changed), ("f.v1",))


def test_a_number_written_another_way_is_damage():
    data = sealed(DOCUMENT)
    longer = data.replace(b"0.30000000000000004", b"0.300000000000000041")
    assert longer != data and json.loads(longer) == json.loads(data)
    with pytest.raises(Damaged, match="has changed"):
        unsealed(longer, ("f.v1",))


def test_another_versions_format_is_unreadable_and_says_both():
    with pytest.raises(Unreadable, match=r"f\.v1, and this version reads f\.v2"):
        unsealed(sealed(DOCUMENT), ("f.v2",))


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000], ids=lambda data: data[:9])
def test_what_is_no_json_object_is_damage(data):
    with pytest.raises(Damaged):
        parsed(data)


def test_a_number_that_json_has_not_is_not_written():
    with pytest.raises(ValueError):
        sealed({"format": "f.v1", "seconds": float("nan")})
