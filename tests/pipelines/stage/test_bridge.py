"""How far a bridge's end is from what the next clip took over, measured on frames whose difference is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from longtake.pipelines.stage import bridge  # noqa: E402
from longtake.pipelines.stage.bridge import SeamError, seam_error  # noqa: E402


def clip(*steps: float) -> np.ndarray:
    """Grey frames, each of a value in 8-bit steps."""
    return np.stack([np.full((4, 6, 3), round(step * 257), np.uint16) for step in steps])


@pytest.fixture(autouse=True)
def _frames_stand_for_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "decoded", lambda frames: frames)


def test_a_clip_that_ends_on_the_next_ones_first_frames_has_no_error() -> None:
    assert seam_error(clip(10, 20, 30), clip(20, 30, 90), 2) == SeamError(2, math.inf, 0.0, 0.0)


def test_the_error_is_of_the_last_frames_against_the_first_whichever_is_brighter() -> None:
    error = seam_error(clip(200, 20, 30), clip(16, 36, 200), 2)
    assert (error.frames, error.mean, error.last) == (2, 5.0, 6.0)
    assert error.psnr == pytest.approx(10 * math.log10(255**2 / ((4**2 + 6**2) / 2)))
    assert str(error) == (
        "seam to the next stage: PSNR 34.0 dB, mean difference 5.00 of 255 over 2 frames, 6.00 at the seam"
    )


def test_the_farther_the_end_is_from_the_next_clip_the_greater_is_the_error() -> None:
    errors = [seam_error(clip(100, 100 + off), clip(100, 100), 2) for off in (1, 2, 8, 40, 155)]
    assert [error.psnr for error in errors] == sorted((error.psnr for error in errors), reverse=True)
    assert [error.mean for error in errors] == [0.5, 1, 4, 20, 77.5]
