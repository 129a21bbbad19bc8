"""Files by which processes see that another is alive."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from longtake.pipelines.takes import alive
from longtake.pipelines.takes.alive import Beat, content_of, silent_for

SOON = 0.02  # seconds


def until(happened, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not happened():
        time.sleep(SOON)
    return happened()


def grow_old(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_file_that_is_held_is_never_silent(tmp_path: Path) -> None:
    with Beat(tmp_path / "a", every=SOON) as beat:
        grow_old(beat.path, 1000)
        assert until(lambda: silent_for(beat.path) < 5)
        assert not beat.lost


def test_it_is_gone_when_it_is_let_go_of(tmp_path: Path) -> None:
    with Beat(tmp_path / "folder" / "a") as beat:
        pass
    assert list(beat.path.parent.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        silent_for(beat.path)


def test_only_one_can_hold_it(tmp_path: Path) -> None:
    with Beat(tmp_path / "a"), pytest.raises(FileExistsError):
        Beat(tmp_path / "a")


def test_silence_is_told_by_the_clock_of_the_disk(tmp_path: Path, monkeypatch) -> None:
    with Beat(tmp_path / "a") as beat:
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert abs(silent_for(beat.path)) < 5
        grow_old(beat.path, 100)
        assert 95 < silent_for(beat.path) < 105


def test_a_killed_process_falls_silent(tmp_path: Path) -> None:
    code = (
        f"import sys, time; sys.path.insert(0, {str(Path(alive.__file__).parent)!r}); import alive, pathlib; "
        f"alive.Beat(pathlib.Path({str(tmp_path / 'a')!r}), every=0.02); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"held"
        process.kill()
    before = silent_for(tmp_path / "a")
    time.sleep(0.2)
    assert silent_for(tmp_path / "a") >= before + 0.1


def test_whoever_lost_its_file_says_so_and_leaves_that_of_another_alone(tmp_path: Path) -> None:
    first = Beat(tmp_path / "a", b"first", every=SOON)
    first.path.unlink()
    assert until(lambda: first.lost)
    with Beat(tmp_path / "a", b"second") as second:
        first.stop()
        assert content_of(second.path) == b"second"

    third = Beat(tmp_path / "b", every=SOON)
    third.path.write_bytes(b"of another\n")
    assert until(lambda: third.lost)
    third.stop()
    assert third.path.read_bytes() == b"of another\n"


def test_its_content_is_whole_and_can_change(tmp_path: Path) -> None:
    with Beat(tmp_path / "a", b"one\ntwo", every=SOON) as beat:
        assert content_of(beat.path) == b"one\ntwo"
        beat.write(b"three")
        assert content_of(beat.path) == b"three"
        grow_old(beat.path, 1000)
        assert until(lambda: silent_for(beat.path) < 5)
        assert content_of(beat.path) == b"three" and not beat.lost
