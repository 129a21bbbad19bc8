"""What a video that was there before is called: by what is seen and heard of it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")


class Tone:
    """A falling line of samples, handed over in blocks of a given size."""

    channels = 2

    def __init__(self, block: int, sample_rate: int = 8000, quiet: float = 1.0):
        self.block, self.sample_rate, self.quiet = block, sample_rate, quiet

    def blocks(self) -> Iterator[np.ndarray]:
        samples = np.tile(np.linspace(1, -1, 1000, dtype=np.float32) * np.float32(self.quiet), (2, 1))
        for first in range(0, 1000, self.block):
            yield samples[:, first : first + self.block]


def key(sound: Tone | None, bright: float = 0.5) -> str:
    from longtake.pipelines.existing import Footage
    from longtake.pipelines.film.frames import Images

    return Footage(Images(torch.full((3, 8, 8, 3), bright), Fraction(24)), sound).key()


def test_a_video_is_called_by_its_frames_and_its_sound() -> None:
    keys = {key(None), key(Tone(100)), key(Tone(100, quiet=0.5)), key(Tone(100, sample_rate=16000)), key(None, 0.6)}
    assert len(keys) == 5


def test_how_a_sound_is_cut_into_blocks_is_not_what_is_heard() -> None:
    assert key(Tone(100)) == key(Tone(333)) == key(Tone(1000))
