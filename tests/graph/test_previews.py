"""A preview that cannot be written is said on the node, and the stage behind it stays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.timeline.clips import Clip, Join


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
    key = "a" * 64

    def __init__(self, folder: Path):
        self.folder = folder
        self.frames_path = folder / "take.frames.npy"
        self.frames_path.touch()

    def preview_path(self, first: int, stop: int) -> Path:
        return self.folder / f"take.{first}-{stop}.mp4"


def preview_that_raises(error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, list[str]]:
    """What a node shows, and what it says, where writing the preview raises `error`."""
    from longtake.host import previews
    from longtake.pipelines.film import preview

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(preview, "write_preview", fail)
    link = Link(Clip(9, Join(), 9), StoredTake(folder), None)
    told = Told()
    return previews.preview_of(Chain("wan22", 64, 32, Fraction(16), (link,)), told), told.said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (Refusal("the sound is of another kind."), "the sound is of another kind."),
        (
            RuntimeError("the VAE decoded 5 frames where 9 were rendered"),
            "the VAE decoded 5 frames where 9 were rendered",
        ),
        (av.codec.codec.UnknownCodecError("libx264"), "libx264"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "there is not enough memory"),
        (MemoryError(), "there is not enough memory"),
        (NotImplementedError(), "NotImplementedError"),
    ],
)
def test_a_stage_is_no_worse_for_a_preview_that_cannot_be_written(
    comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    assert preview_that_raises(error, tmp_path, monkeypatch) == (None, [f"rendered; no preview: {said}"])


def test_a_cancel_of_a_preview_stays_a_cancel(comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfy.model_management import InterruptProcessingException

    with pytest.raises(InterruptProcessingException):
        preview_that_raises(InterruptProcessingException(), tmp_path, monkeypatch)
