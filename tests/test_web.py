"""The browser side, as far as it can be told without a page: tests/web/, by Node's own test runner."""

from __future__ import annotations

import json
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


def words_said() -> set[str]:
    """What web/ says, as its dictionary has it: t`stage ${number}` is "stage {0}"."""
    words: set[str] = set()
    for path in (ROOT / "web").rglob("*.js"):
        source = path.read_text(encoding="utf-8")
        for match in re.finditer(r"(?<![\w$])t`", source):
            said, at, count = "", match.end(), 0
            while source[at] != "`":
                if source.startswith("${", at):
                    at, said, count = closing(source, at + 2), f"{said}{{{count}}}", count + 1
                else:
                    at, said = at + 1, said + source[at]
            words.add(said)
    return words


def closing(source: str, at: int) -> int:
    """Where an expression in a template has ended, another template in it included."""
    depth = 1
    while depth:
        depth += {"{": 1, "}": -1}.get(source[at], 0)
        at += 1
    return at


def test_all_that_the_page_says_is_said_in_chinese_too() -> None:
    words = json.loads((ROOT / "locales" / "zh" / "main.json").read_text(encoding="utf-8"))["longtake"]
    said = words_said()
    assert len(said) > 90
    assert sorted(said - words.keys()) == []
    assert sorted(words.keys() - said) == []
    for english, chinese in words.items():
        assert re.findall(r"\{\d\}", english) == sorted(re.findall(r"\{\d\}", chinese)), english
