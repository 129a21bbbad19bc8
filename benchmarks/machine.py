"""The machine that a benchmark runs on: how busy it is, and writing that does not wait for its disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import psutil


def busy() -> str:
    """A sentence for the page of a benchmark, true at the moment it is asked for: on a busy machine times are rough."""
    minutes = psutil.getloadavg()[2]
    return f"The machine has {os.cpu_count()} cores, and had a load of {minutes:.1f} over the last quarter of an hour."


@contextlib.contextmanager
def unflushed() -> Iterator[None]:
    """Let nothing that this process writes wait for the disk, where thousands of files are made to be measured."""
    flush = os.fsync
    os.fsync = lambda _: None
    try:
        yield
    finally:
        os.fsync = flush
