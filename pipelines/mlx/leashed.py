"""A program run to its end, which ends with a cancel or with this process."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from .process import MlxFailed, last_words, until_ended

LEASH = Path(__file__).with_name("leash.py")
KEPT = 200  # lines of what a program says
# What ComfyUI's Python was started with, and a program of another Python must not be.
OURS = frozenset({"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"})
PATIENCE = 5  # seconds that the leash has to end what it holds


def run(command: Sequence[str], environment: Mapping[str, str], told: Callable[[str], None]) -> list[str]:
    """Run a program and return the last lines it said, on either output.

    Args:
        command: a program and its arguments; no shell reads them.
        environment: beside this process's own, without what is for its Python.
        told: each line as it is said; a bar that is drawn over itself is a line each time.

    Raises:
        MlxFailed: it ended with an error; the message holds what it said last.
    """
    process = subprocess.Popen(  # noqa: S603 - the program is the one that the user has installed
        [sys.executable, "-E", str(LEASH), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**{name: value for name, value in os.environ.items() if name not in OURS}, **environment},
    )
    said: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process, said), name="longtake-command", daemon=True).start()
    lines: list[str] = []
    try:
        for line in until_ended(said):
            lines = [*lines[1 - KEPT :], line]
            told(line)
    finally:
        _end(process)
    if process.returncode:
        name = Path(command[0]).name
        raise MlxFailed(f"{name} ended with code {process.returncode}: {last_words(lines)}")
    return lines


def _read(process: subprocess.Popen[bytes], said: queue.Queue[str | None]) -> None:
    stdout: IO[bytes] | None = process.stdout
    assert stdout is not None  # noqa: S101 - it is a pipe
    rest = b""
    try:
        while block := os.read(stdout.fileno(), 1 << 16):
            *lines, rest = re.split(rb"[\r\n]+", rest + block)
            for line in lines:
                _put(line, said)
        _put(rest, said)
        process.wait()
    finally:
        said.put(None)


def _put(line: bytes, said: queue.Queue[str | None]) -> None:
    text = line.decode(errors="replace").rstrip()
    if text:
        said.put(text)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.close()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
