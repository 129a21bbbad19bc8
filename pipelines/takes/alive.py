"""Files by which processes that share a store, on one computer or many, see that another is alive.

Whoever holds such a file writes to it every few seconds. How long it has been silent is read off the clock of the file
system that holds it, because the computers that share a store need not agree on the time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from pathlib import Path
from types import TracebackType

EVERY = 5.0  # seconds between two beats
SILENT = 60.0  # seconds without a beat after which a holder counts as gone


class Beat:
    """A file that is kept alive until it is let go of; a context manager.

    It holds a line of its own, by which its holder sees whether another has taken its place, and then `content`.

    Args:
        path: of a file that is not there yet; its folder is made.
        content: for others to read with `content_of`.
        every: seconds between two beats.

    Raises:
        FileExistsError: somebody holds it, or held it and has died; see `silent_for`.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, content: bytes = b"", every: float = EVERY):
        self.path = path
        self._token = uuid.uuid4().hex.encode() + b"\n"
        self._every = every
        self._done = threading.Event()
        self._lost = False
        self._one_at_a_time = threading.Lock()  # Windows replaces no file that is open
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as file:
            file.write(self._token + content)
        threading.Thread(target=self._keep, name=f"longtake-{path.name}", daemon=True).start()

    @property
    def lost(self) -> bool:
        """Whether the file is gone or another's by now: this process was silent for too long."""
        return self._lost

    def write(self, content: bytes) -> None:
        """Put other content into the file; whoever reads it meanwhile reads the old or the new one."""
        partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(self._token + content)
            with self._one_at_a_time:
                os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)

    def stop(self) -> None:
        """Let go of the file, which is removed unless it is another's."""
        self._done.set()
        with contextlib.suppress(OSError):
            if not self._lost and self.path.read_bytes().startswith(self._token):
                self.path.unlink()

    def __enter__(self) -> Beat:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _keep(self) -> None:
        while not self._done.wait(self._every):
            try:
                self._beat()
            except FileNotFoundError:
                self._lost = True
            except OSError:
                continue  # a share that hiccups; if it lasts, others see the silence
            if self._lost:
                return

    def _beat(self) -> None:
        with self._one_at_a_time, open(self.path, "rb+") as file:
            if file.read(len(self._token)) != self._token:
                self._lost = True
                return
            # Written rather than touched: on some shares a touch sets the time of this computer, not of the server.
            file.seek(0)
            file.write(self._token)


def content_of(path: Path) -> bytes:
    """What the holder of a file has put into it; raises `OSError` where it cannot be read."""
    return path.read_bytes().partition(b"\n")[2]


def silent_for(path: Path, now: float | None = None) -> float:
    """Seconds since the last beat.

    Args:
        now: of the `clock` of its folder, where many files are asked for.

    Raises:
        FileNotFoundError: it is not there; nobody holds it.
        OSError: it cannot be read, or its folder cannot be written.
    """
    # Opened, because a network share answers for a file that is not open from what it remembers.
    with open(path, "rb") as file:
        beat = os.fstat(file.fileno()).st_mtime
    return (clock(path.parent) if now is None else now) - beat


def clock(folder: Path) -> float:
    """The time as the file system of a folder has it, in seconds since 1970; raises `OSError` where it is read-only."""
    probe = folder / f".clock.{uuid.uuid4().hex}.partial"
    try:
        probe.write_bytes(b"\n")
        return probe.stat().st_mtime
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
