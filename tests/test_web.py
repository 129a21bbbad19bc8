"""The browser side, as far as it can be told without a page: tests/web/, by Node's own test runner."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from .run import ROOT

OLDEST = (20, 19)  # the first that takes a .js file with imports for a module


def test_the_javascript_tests_pass() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not here, so tests/web/ does not run; install it, on Debian: apt-get install nodejs")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        pytest.skip(f"Node.js {version.strip()} is here; tests/web/ needs 20.19 or newer")
    files = sorted(map(str, (ROOT / "tests" / "web").glob("*.test.mjs")))
    assert files
    done = subprocess.run([node, "--test", *files], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
