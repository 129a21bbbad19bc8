"""A preview that cannot be written is said on the node, and the stage behind it stays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from longtake.pipelines.chain import Chain, Clip, Join, Link
from longtake.pipelines.errors import Refusal


class Told:
    """What a node would show."""

    rendered = True

    def __init__(self) -> None:
        self.said: list[str] = []

    def doing(self, text: str) -> None:
        self.said.append(text)

    def at_rest(self) -> None:
        self.said.append("rendered")


class StoredTake:
    def __init__(self, folder: Path):
        self.preview_path = folder / "take.preview.mp4"
        self.frames_path = folder / "take.frames.npy"
        self.frames_path.touch()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Refusal("the sound is of another kind.")])
def test_a_stage_is_no_worse_for_a_preview_that_cannot_be_written(
    comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from longtake.nodes import previews

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(previews, "write_preview", fail)
    link = Link(Clip(9, Join(), 9), StoredTake(tmp_path), None)
    told = Told()
    assert previews.preview_of(Chain("wan22", 64, 32, Fraction(16), (link,)), told) is None
    assert told.said == [f"rendered; no preview: {error}"]
