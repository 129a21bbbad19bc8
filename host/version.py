"""The version of this pack, as it was when ComfyUI loaded it."""

from __future__ import annotations

import re
from pathlib import Path


def _written() -> str:
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    return version[1] if version else "unknown"


VERSION = _written()
