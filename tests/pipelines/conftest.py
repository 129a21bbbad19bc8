"""What the tests of the store share."""

from __future__ import annotations

import builtins
import io
import os
import threading
from collections import Counter
from typing import Any

import pytest


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
