"""A Python with MLX-Gen in the cache folder, made when a test first asks for it."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.host.place import Place

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SYSTEMS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")}  # that MLX is built for


def python_of(place: Place) -> Path:
    """Where the Python of the environment is or would be."""
    system = platform.system(), platform.machine()
    wanted = [REQUIREMENTS.read_text(), platform.python_implementation(), *sys.version_info[:2], *system]
    folder = place.cache / f"mlx-{hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:10]}"
    return folder / "bin" / "python"


def mlx_python(place: Place) -> Path:
    """The Python of an environment with MLX-Gen; skips the test where there can be none."""
    system = platform.system(), platform.machine()
    if system not in SYSTEMS:
        pytest.skip(f"MLX is not built for {' '.join(system)}")
    python = python_of(place)
    folder = python.parents[1]
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            _install(folder, python)
    return python


def _install(folder: Path, python: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    pip = [*("-m", "pip", "install", "--no-deps", "--no-input", "--disable-pip-version-check"), f"-r{REQUIREMENTS}"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [str(python), *pip]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            pytest.skip(f"MLX-Gen cannot be installed here: {' '.join(said)}")
    (folder / "complete").write_text(f"{time.monotonic() - started:.1f} s\n")
