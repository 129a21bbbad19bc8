"""Tokens of a store: one changes whenever a take goes, one whenever a take is approved.

What refers to takes, or waits for a yes to one, must then be asked for anew.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

DELETIONS, APPROVALS = "deletions", "approvals"


def token(root: Path, of: str = DELETIONS) -> int:
    """A token of a store, which is another one when the store itself is deleted and made again; 0 without a store."""
    with contextlib.suppress(OSError, ValueError):
        return int((root / of).read_text(), 16)
    return 0


def count_deletion(root: Path) -> None:
    """Change the token. A store that cannot be written loses no takes."""
    _change(root / DELETIONS)


def count_approval(root: Path) -> None:
    _change(root / APPROVALS)


def have_token(root: Path) -> None:
    """Give a new store its first token."""
    if token(root) == 0:
        count_deletion(root)


def _change(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.write_text(uuid.uuid4().hex)
