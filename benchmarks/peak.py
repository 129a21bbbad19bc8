"""The peak of a process's anonymous memory: pages of mapped files are the system's to take back, and do not count."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType


class Peak:
    """Samples RssAnon a hundred times a second while its block runs. Linux only.

    Args:
        process: its number; "self" is this one.

    Attributes:
        base, highest: bytes at the beginning, and at most.
    """

    def __init__(self, process: int | str = "self"):
        self._status = Path(f"/proc/{process}/status")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self.base = self.highest = self._now()
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if kind is None:
            self.highest = max(self.highest, self._now())

    @property
    def grown(self) -> int:
        return self.highest - self.base

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.highest = max(self.highest, self._now())

    def _now(self) -> int:
        for line in self._status.read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("this kernel does not tell RssAnon")
