"""Files that are whole or absent, and a line that says how far a long task is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a temporary file, and put that in the place of `path`."""
    temporary = path.with_name(f".{path.name}.part")
    write(temporary)
    os.replace(temporary, path)


def progress(task: str, total: int, done: int = 0) -> Callable[..., None]:
    """A function that is told how much is done and draws a bar: each second on a terminal, each minute in a file."""
    began, began_at, last = time.monotonic(), done, 0.0
    terminal = sys.stdout.isatty()

    def say(now: int, note: str = "") -> None:
        nonlocal last
        elapsed = time.monotonic() - began
        if now < total and elapsed - last < (1 if terminal else 60):
            return
        last = elapsed
        left = elapsed / max(1, now - began_at) * (total - now)
        bar = "#" * (30 * now // total)
        line = f"{task} [{bar:<30}] {now} of {total}, {left / 60:.1f} min left  {note}"
        print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal and now < total else "\n", flush=True)

    return say
