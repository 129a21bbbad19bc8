"""A token that changes whenever a take of a store goes: what refers to takes must then be asked for anew."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

FILE = "deletions"


def token(root: Path) -> int:
    """The token of a store, which is another one when the store itself is deleted and made again; 0 without a store."""
    with contextlib.suppress(OSError, ValueError):
        return int((root / FILE).read_text(), 16)
    return 0


def count_deletion(root: Path) -> None:
    """Change the token. A store that cannot be written loses no takes."""
    with contextlib.suppress(OSError):
        (root / FILE).write_text(uuid.uuid4().hex)


def have_token(root: Path) -> None:
    """Give a new store its first token."""
    if token(root) == 0:
        count_deletion(root)
