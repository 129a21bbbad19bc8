"""Claims: of all processes that share a store one renders a stage, and one that is gone stands in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from longtake.pipelines.takes import claim
from longtake.pipelines.takes.alive import SILENT
from longtake.pipelines.takes.claim import claimed, held_keys

KEY = "a" * 64
CODE = """
import contextlib, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import run; run.name_packages()
from longtake.pipelines.takes.claim import claimed
with claimed(Path({root!r}), {key!r}) as held:
    print("none" if held is None else held(), flush=True)
    time.sleep(60)
"""


def holder(root: Path) -> subprocess.Popen[str]:
    """A process of its own that tries to claim the stage and then sleeps."""
    code = CODE.format(tests=str(Path(__file__).parents[2]), root=str(root), key=KEY)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def grow_old(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_one_process_holds_a_stage_and_lets_go_of_it(tmp_path: Path) -> None:
    with claimed(tmp_path, KEY) as held:
        assert held is not None and held()
        with claimed(tmp_path, KEY) as second, claimed(tmp_path, "b" * 64) as other:
            assert second is None
            assert other is not None
        with holder(tmp_path) as process:
            assert said(process) == "none"
            process.kill()
    assert list((tmp_path / "claims").iterdir()) == []
    with claimed(tmp_path, KEY) as held:
        assert held is not None


def test_a_killed_process_of_this_computer_stands_in_nobodys_way(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert said(process) == "True"
        with claimed(tmp_path, KEY) as held:
            assert held is None
        process.kill()
    with claimed(tmp_path, KEY) as held:
        assert held is not None and held()
    assert list((tmp_path / "claims").iterdir()) == []


def test_a_holder_elsewhere_is_passed_by_after_a_minute_of_silence(tmp_path: Path) -> None:
    path = tmp_path / "claims" / f"{KEY}.1"
    path.parent.mkdir()
    path.write_bytes(b'token\n{"computer": "another", "pid": 1}')
    grow_old(path, SILENT - 10)
    with claimed(tmp_path, KEY) as held:
        assert held is None
    grow_old(path, SILENT + 10)
    with claimed(tmp_path, KEY) as held:
        assert held is not None
        assert [one.name for one in path.parent.iterdir()] == [f"{KEY}.2"]


def test_who_slept_and_was_passed_by_knows_that_its_claim_is_lost(tmp_path: Path) -> None:
    with claimed(tmp_path, KEY) as slept:
        assert slept is not None
        path = tmp_path / "claims" / f"{KEY}.1"
        path.write_bytes(b"token\n{}")
        grow_old(path, SILENT + 10)
        with claimed(tmp_path, KEY) as held:
            assert held is not None and held()
            assert not slept()


def test_of_many_that_find_a_silent_claim_one_holds_the_stage(tmp_path: Path) -> None:
    for turn in range(20):
        root = tmp_path / str(turn)
        (root / "claims").mkdir(parents=True)
        (root / "claims" / f"{KEY}.1").write_bytes(b"token\n{}")
        grow_old(root / "claims" / f"{KEY}.1", SILENT + 10)
        holding, most, rendered = [0], [0], []
        start = threading.Barrier(6)

        def try_until_rendered(root=root, holding=holding, most=most, rendered=rendered, start=start) -> None:
            start.wait()
            while not rendered:
                with claimed(root, KEY) as held:
                    if held is not None and not rendered:
                        holding[0] += 1
                        most[0] = max(most[0], holding[0])
                        time.sleep(0.01)
                        rendered.append(1)
                        holding[0] -= 1

        threads = [threading.Thread(target=try_until_rendered) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(rendered), most) == (1, [1])


def test_a_store_that_takes_no_claims_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / claim.FOLDER).write_text("no folder")
    with claimed(tmp_path, KEY) as held:
        assert held is not None and held()


def test_what_is_rendered_now_is_known_to_all_who_share_the_store(tmp_path: Path) -> None:
    assert held_keys(tmp_path) == set()
    with claimed(tmp_path, "a" * 64):
        assert held_keys(tmp_path) == {"a" * 64}
    assert held_keys(tmp_path) == set()
