"""Files that appear whole or not at all: what a killed process leaves goes, what somebody still writes stays."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from longtake.pipelines.errors import Refusal
from longtake.pipelines.files import whole
from longtake.pipelines.files.whole import ABANDONED, CountedName, clear_abandoned, whole_file, write_whole

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and kill -9")


def in_another_process(path: Path, then: Callable[[], None]) -> int:
    """Writes half of a file in a process of its own, and returns its id once that is done."""
    child = os.fork()
    if child == 0:
        try:
            with whole_file(path) as unfinished:
                unfinished.write_text("half")
                then()
            os._exit(0)
        except BaseException:
            os._exit(1)
    while not any(part.read_text() for part in parts(path.parent)):
        time.sleep(0.01)
    return child


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


def aged(path: Path, seconds: float = ABANDONED + 1) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def killed(tmp_path: Path) -> Path:
    """What a process leaves that was killed while it wrote."""
    child = in_another_process(tmp_path / "film.mp4", lambda: time.sleep(60))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    [left] = parts(tmp_path)
    return left


def test_what_a_killed_process_of_another_computer_left_goes_with_the_next_file_after_an_hour(tmp_path: Path) -> None:
    left = killed(tmp_path).rename(tmp_path / ".film.mp4.00000000.00000000.part")
    with whole_file(tmp_path / "other.mp4") as unfinished:
        unfinished.write_text("whole")
    assert parts(tmp_path) == [left], "it may be somebody's who still writes"
    aged(left)
    with whole_file(tmp_path / "other.mp4") as unfinished:
        unfinished.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.mp4"]


def test_what_another_process_still_writes_stays_however_long_it_pauses(tmp_path: Path) -> None:
    go_on = tmp_path / "go on"

    def pause() -> None:
        while not go_on.exists():
            time.sleep(0.01)

    child = in_another_process(tmp_path / "film.mp4", pause)
    [written] = parts(tmp_path)
    aged(written)
    clear_abandoned(tmp_path)
    assert written.exists()
    go_on.touch()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "film.mp4").read_text() == "half"
    assert parts(tmp_path) == []


def test_hidden_files_of_others_stay(tmp_path: Path) -> None:
    others = [".film.mp4.part", ".film.0123abcd.partial", "film.0123abcd.part", ".0123abcd.part"]
    for name in others:
        (tmp_path / name).touch()
        aged(tmp_path / name)
    (tmp_path / ".folder.0123abcd.part").mkdir()
    clear_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, ".folder.0123abcd.part"])


def test_a_failed_writer_leaves_nothing_and_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "film.mp4") as unfinished:
        unfinished.write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "film.mp4").read_text() == "old"
    assert parts(tmp_path) == []


def test_what_a_killed_process_of_this_computer_left_goes_with_the_next_file(tmp_path: Path) -> None:
    killed(tmp_path)
    with whole_file(tmp_path / "film.mp4") as unfinished:
        unfinished.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("lasting", [True, False])
def test_a_full_disk_is_said_in_plain_words_and_leaves_what_was_there(tmp_path: Path, lasting: bool) -> None:
    film = tmp_path / "film.mp4"
    film.write_text("before")

    def write(unfinished: Path) -> None:
        unfinished.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Refusal, match="is full, so this cannot be kept"):
        write_whole(film, write, lasting)
    with pytest.raises(Refusal, match="is full, so this cannot be kept"), whole_file(film, lasting) as unfinished:
        write(unfinished)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"film.mp4": "before"}


@pytest.mark.skipif(whole.fcntl is None, reason="this system has no such locks")
def test_a_file_that_is_swept_before_it_is_held_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = whole.fcntl.flock
    swept = []

    def sweep_first(file: object, operation: int) -> None:
        if not swept:
            swept.append(True)
            whole.clear_abandoned(tmp_path)
        flock(file, operation)

    monkeypatch.setattr(whole.fcntl, "flock", sweep_first)
    with whole_file(tmp_path / "film.mp4") as unfinished:
        whole.clear_abandoned(tmp_path)
        with open(unfinished, "r+") as file:  # it is there still
            file.write("a film")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"film.mp4": "a film"}


@pytest.mark.parametrize("links", [True, False], ids=["with links", "a file system without links"])
def test_files_that_are_written_at_once_under_one_counted_name_are_all_kept(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    children = []
    for process in range(4):
        child = os.fork()
        if child == 0:
            try:
                for film in range(25):
                    name = CountedName(tmp_path, "film_", "_.mp4", 1)
                    with whole_file(name) as unfinished:
                        unfinished.write_text(f"{process} {film}")
                    if name.path is None or name.path.read_text() != f"{process} {film}":
                        os._exit(2)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"film_{number:05}_.mp4" for number in range(1, 101)]
    written = {path.read_text() for path in tmp_path.iterdir()}
    assert written == {f"{process} {film}" for process in range(4) for film in range(25)}
