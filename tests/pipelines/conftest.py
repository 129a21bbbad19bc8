"""What the tests of the store share."""

from __future__ import annotations

import builtins
import io
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small file system cannot be mounted here ({error})")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the file system is asked for what, by this thread."""
    counted: Counter[str] = Counter()
    here = threading.get_ident()

    def count(module: Any, name: str) -> None:
        plain = getattr(module, name)

        def counting(*args: Any, **more: Any) -> Any:
            counted[name] += threading.get_ident() == here
            return plain(*args, **more)

        monkeypatch.setattr(module, name, counting)

    for name in ("stat", "lstat", "listdir", "scandir", "open"):
        count(os, name)
    count(io, "open")
    count(builtins, "open")
    return counted
