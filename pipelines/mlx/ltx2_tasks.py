"""What the command ltx-2-mlx is asked for, by the names that the canvas has for it."""

from __future__ import annotations

from enum import Enum


class Task(str, Enum):
    """What is rendered; the values finish "a clip ..."."""

    GENERATE = "from text or an image"
    SOUND = "to a sound"
    LAST_FRAME = "going on from a video's last frame"
    END = "going on from a video's end"
    RETAKE = "some seconds of a video anew"

    @property
    def subcommand(self) -> str:
        return {Task.SOUND: "a2v", Task.END: "extend", Task.RETAKE: "retake"}.get(self, "generate")


class Passes(str, Enum):
    """How `generate` takes its steps: option -> what it is called here."""

    TWO = "two passes"
    TWO_HQ = "two passes, high quality"
    ONE = "one pass"
    DISTILLED = "distilled"

    @property
    def option(self) -> str:
        return _OPTIONS[self]


_OPTIONS = {
    Passes.TWO: "--two-stage",
    Passes.TWO_HQ: "--two-stages-hq",
    Passes.ONE: "--one-stage",
    Passes.DISTILLED: "--distilled",
}
