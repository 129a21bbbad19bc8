"""A tape gives back what was put on it, in order, and nothing that is torn, changed or of another question."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from longtake.pipelines.files.tape import Tape


def tensor(value: float) -> dict[str, torch.Tensor]:
    return {"x": torch.full((2, 3), value)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A tape of three records."""
    tape = Tape(tmp_path / "tape")
    tape.add("call", {"n": 1}, tensor(0.1))
    tape.add("span", {"n": 2}, tensor(0.2))
    tape.add("call", {"n": 3}, tensor(0.3))
    tape.close()
    return tape.path


def test_records_come_back_in_order_and_to_the_bit(path):
    tape = Tape(path)
    for kind, n in (("call", 1), ("span", 2), ("call", 3)):
        assert not tape.at_end
        tensors = tape.next(kind, {"n": n})
        assert tensors is not None and torch.equal(tensors["x"], tensor(n / 10)["x"])
    assert tape.at_end and tape.next("call", {"n": 3}) is None
    tape.close()


@pytest.mark.parametrize("kind, facts", [("span", {"n": 1}), ("call", {"n": 2}), ("call", {})])
def test_a_record_of_another_kind_or_question_is_not_given_and_stays_next(path, kind, facts):
    tape = Tape(path)
    assert tape.next(kind, facts) is None
    assert tape.next("call", {"n": 1}) is not None
    tape.close()


def test_the_last_of_a_kind_leaves_the_place_behind_it(path):
    tape = Tape(path)
    record = tape.last("span")
    assert record is not None and record.facts == {"n": 2}
    assert tape.next("call", {"n": 3}) is not None
    tape.close()


def test_none_of_a_kind_leaves_the_place_where_it_was(path):
    tape = Tape(path)
    assert tape.last("film") is None
    assert tape.next("call", {"n": 1}) is not None
    tape.close()


def test_a_torn_record_is_none_and_is_written_over(path):
    path.write_bytes(path.read_bytes()[:-1])
    tape = Tape(path)
    assert tape.next("call", {"n": 1}) is not None and tape.next("span", {"n": 2}) is not None
    assert tape.next("call", {"n": 3}) is None and not tape.at_end
    tape.add("call", {"n": 4}, tensor(0.4))
    assert tape.at_end
    tape.close()
    again = Tape(path)
    record = again.last("call")
    assert record is not None and record.facts == {"n": 4} and again.at_end
    again.close()


def test_a_record_with_a_changed_byte_is_none(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    tape = Tape(path)
    record = tape.last("call")
    assert record is not None and record.facts == {"n": 1}
    tape.close()


def test_an_empty_tape_leaves_no_file(tmp_path):
    tape = Tape(tmp_path / "tape")
    assert tape.path.exists() and tape.at_end
    tape.close()
    tape.close()
    assert not tape.path.exists()
