"""The command ltx-2-mlx: where it is, its version, and what it offers, which is asked of its own help."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ..errors import Refusal
from .leashed import run
from .process import MlxFailed

NAME = "ltx-2-mlx"
VARIABLE = "LONGTAKE_LTX2_MLX"
USED = ("generate", "a2v", "extend", "retake")
# Read in its published sources (dgrauet/ltx-2-mlx): from 0.14.0, where a frame rate became needed to save a video,
# extend and retake save theirs without, which is an error once all is rendered. About 0.15.4 (commit 022714f) they give
# the rate of the video they read; what lies between was not read.
CANNOT_SAVE = ("extend", "retake")
FIRST_THAT_CANNOT, LAST_THAT_CANNOT = (0, 14, 0), (0, 14, 19)

_HOW = f"install {NAME} (docs/apple.md), on PATH or where {VARIABLE} says."


@dataclass(frozen=True)
class Command:
    """An installed command.

    Args:
        version: of its package; empty where it does not tell.
        offers: subcommand -> its long options.
    """

    path: str = field(compare=False)
    version: str
    offers: Mapping[str, frozenset[str]]

    def check(self, subcommand: str, options: Iterable[str]) -> None:
        """Raise `Refusal` for what it does not offer, naming what it does."""
        called = f"{NAME} {self.version}".strip()
        if subcommand not in self.offers:
            raise Refusal(f"{called} has no {subcommand}; it has {_listed(self.offers)}.", field="task")
        lacking = [option for option in options if option not in self.offers[subcommand]]
        if lacking:
            raise Refusal(
                f"{_listed(lacking)} is needed for this, which {subcommand} of {called} has not; it has "
                f"{_listed(self.offers[subcommand])}.",
                field="task",
            )
        if subcommand in CANNOT_SAVE and FIRST_THAT_CANNOT <= _numbers(self.version) <= LAST_THAT_CANNOT:
            raise Refusal(
                f"{subcommand} of {called} renders and then cannot save, by its published sources: it lacks the frame "
                "rate there. Go on from the video's last frame instead, or use another version.",
                field="task",
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def installed() -> Command:
    """The command that is there now; raises `Refusal` where there is none, or it does not answer."""
    named = os.path.expanduser(os.environ.get(VARIABLE, ""))
    path = shutil.which(named or NAME)
    if path is None:
        where = f"{VARIABLE} is {named}, which is no program" if named else f"there is no {NAME} on PATH"
        raise Refusal(f"{where}: {_HOW}", field="task")
    place = os.path.realpath(path)
    return _asked(path, version_beside(place), os.stat(place).st_mtime_ns)


def version_beside(program: str) -> str:
    """The version of the package that a program was installed with, from the environment it lies in, or nothing."""
    packages = Path(program).parent.parent.glob("lib/python*/site-packages/ltx_pipelines_mlx-*.dist-info")
    return next((path.name.split("-")[1].removesuffix(".dist") for path in packages), "")


# A program that was changed is asked again.
@lru_cache(4)
def _asked(path: str, version: str, changed: int) -> Command:
    try:
        offered = subcommands_in(_help(path))
        return Command(path, version, {name: options_in(_help(path, name)) for name in USED if name in offered})
    except (OSError, MlxFailed) as error:
        raise Refusal(f"{path} does not tell what it can ({error}): {_HOW}", field="task") from None


def _help(path: str, *subcommand: str) -> str:
    plain = {"COLUMNS": "120", "NO_COLOR": "1", **OFFLINE}
    return "\n".join(run([path, *subcommand, "--help"], plain, lambda line: None))


# Weights come from ComfyUI's folders, and nothing is downloaded behind a person's back.
OFFLINE = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def subcommands_in(text: str) -> frozenset[str]:
    """What stands between braces in a help, as Python's argparse lists subcommands."""
    listed = re.search(r"\{([^}]*)\}", text)
    return frozenset(re.findall(r"[\w-]+", listed[1])) if listed else frozenset()


def options_in(text: str) -> frozenset[str]:
    """The long options that a help of Python's argparse describes."""
    heads = (re.split(r"\s{2,}", line.strip())[0] for line in text.splitlines() if re.match(r" {1,4}-", line))
    return frozenset(option for head in heads for option in re.findall(r"(?<!\S)--[a-z][\w-]*", head))
