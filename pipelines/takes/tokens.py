"""Tokens of a store: one changes whenever a take goes, one whenever a take is approved.

What refers to takes, or waits for a yes to one, must then be asked for anew.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

DELETIONS, APPROVALS = "deletions", "approvals"


def token(root: Path, of: str) -> int:
    """A token of a store, which is another one when the store itself is deleted and made again; 0 without a store."""
    with contextlib.suppress(OSError, ValueError):
        return int((root / of).read_text(), 16)
    return 0


def change(root: Path, of: str) -> None:
    """Change a token. A store that cannot be written loses no takes."""
    with contextlib.suppress(OSError):
        (root / of).write_text(uuid.uuid4().hex)


def have_token(root: Path) -> None:
    """Give a new store its first token of deletions."""
    if token(root, DELETIONS) == 0:
        change(root, DELETIONS)
