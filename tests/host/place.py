"""Where the host under test is: ComfyUI, its Python, and the cache, as dev.py hands them on."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    comfyui: Path
    python: Path
    cache: Path

    @classmethod
    def here(cls) -> Place:
        """The host that dev.py named in the environment, else the one that this Python belongs to."""
        if comfyui := os.environ.get("LONGTAKE_COMFYUI"):
            python = Path(os.environ.get("LONGTAKE_PYTHON") or sys.executable)
            cache = Path(os.environ.get("LONGTAKE_CACHE") or ROOT / "build" / "cache")
            return cls(Path(comfyui), python, cache)
        host = Path(sys.prefix).parent
        if not (host / "ComfyUI" / "main.py").is_file():
            raise RuntimeError("there is no ComfyUI beside this Python; start with: python dev.py test")
        return cls(host / "ComfyUI", Path(sys.executable), host.parent)

    def environment(self) -> dict[str, str]:
        """Environment of programs on this host; one thread, because the tiny models' ops contend otherwise."""
        return {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "LONGTAKE_COMFYUI": str(self.comfyui),
            "LONGTAKE_PYTHON": str(self.python),
            "LONGTAKE_CACHE": str(self.cache),
        }
