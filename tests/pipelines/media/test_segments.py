"""A segment on disk: read back as it was kept, and never taken for another."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("av")

from longtake.pipelines.files.reading import Damaged
from longtake.pipelines.media.segments import Coded, Run, Segment, Segments, _read, _write
from longtake.pipelines.takes.derived import Derived
from longtake.pipelines.takes.store import Store

PACKETS = (Coded(0, -1, True, b"first"), Coded(2, 0, False, b"third"), Coded(1, 1, False, b""))
EXTRADATA = b"\x01decoder"


@pytest.mark.parametrize("behind", ["", "mark"])
def test_a_segment_is_read_back_as_it_was_written(tmp_path: Path, behind: str) -> None:
    _write(tmp_path / "segment", EXTRADATA, Segment(PACKETS, behind))
    segment = _read(tmp_path / "segment", EXTRADATA, behind)
    assert (tuple(segment.packets), segment.behind) == (PACKETS, behind)


def test_a_segment_with_any_byte_changed_or_cut_off_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    _write(path, EXTRADATA, Segment(PACKETS))
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Damaged):
            _read(path, EXTRADATA, "")
        path.write_bytes(whole[:at])
        with pytest.raises(Damaged):
            _read(path, EXTRADATA, "")


def test_a_segment_of_another_encoder_or_behind_another_run_is_not_taken(tmp_path: Path) -> None:
    _write(tmp_path / "segment", EXTRADATA, Segment(PACKETS, "mark"))
    with pytest.raises(Damaged, match="made by another encoder"):
        _read(tmp_path / "segment", b"another", "mark")
    with pytest.raises(Damaged, match="changed"):
        _read(tmp_path / "segment", EXTRADATA, "")


def test_a_mark_is_of_its_packets_and_of_all_they_look_behind_at() -> None:
    marks = {Segment(PACKETS).mark, Segment(PACKETS, "mark").mark, Segment(PACKETS[:1], "mark").mark}
    assert len(marks) == 3


def test_runs_share_a_key_frame_until_they_are_long_and_a_cut_has_its_own(tmp_path: Path) -> None:
    def key_frames(*runs: Run) -> list[int]:
        return sorted(Segments(runs, Derived(Store(tmp_path))).key_frames)

    even = [Run(start, start + 80, None, cut=False) for start in range(0, 480, 80)]
    assert key_frames(*even) == [0, 160, 320]
    assert key_frames(Run(0, 80, None), Run(80, 90, None), Run(90, 100, None, cut=False)) == [0, 80]
    assert key_frames(Run(0, 80, None), Run(80, 300, None, cut=False)) == [0, 80]
