"""Frames and sound of several sources behind one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np

from .frames import FrameSource, bounds
from .sound import BLOCK, Sound, SoundExcerpt, converted


class Joined:
    """Sources of one size and rate, the next where the last ends."""

    def __init__(self, sources: Sequence[FrameSource]):
        self.sources = tuple(sources)
        first = self.sources[0]
        self.width, self.height, self.frame_rate = first.width, first.height, first.frame_rate
        self.frame_count = sum(source.frame_count for source in self.sources)

    @property
    def identity(self) -> list[Any]:
        return list(self.sources)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        start, stop = bounds(start, stop, self.frame_count)
        at = 0
        for source in self.sources:
            first, last = max(start - at, 0), min(stop - at, source.frame_count)
            at += source.frame_count
            if first < last:
                yield from source.frames(first, last)


class JoinedSound:
    """What is heard with frames of several sources behind one another, at the rate of the first that is heard.

    Args:
        pieces: a sound, or None for silence, and how many frames of the film it is heard with; it is cut, or followed
            by silence, to the sample where these end.
    """

    def __init__(self, pieces: Sequence[tuple[Sound | None, int]], frame_rate: Fraction):
        self.pieces = tuple(pieces)
        self.frame_rate = frame_rate
        first = next(sound for sound, _ in self.pieces if sound is not None)
        self.sample_rate, self.channels = first.sample_rate, first.channels

    @property
    def identity(self) -> list[Any]:
        return [*(list(piece) for piece in self.pieces), self.frame_rate]

    def blocks(self) -> Iterator[np.ndarray]:
        ends = accumulate(frames for _, frames in self.pieces)
        at = 0
        for (sound, _), end in zip(self.pieces, ends, strict=True):
            stop = round(end * self.sample_rate / self.frame_rate)
            if sound is not None:
                for block in SoundExcerpt(self._alike(sound), 0, stop - at).blocks():
                    at += block.shape[1]
                    yield block
            for gap in range(at, stop, BLOCK):
                yield np.zeros((self.channels, min(BLOCK, stop - gap)), np.float32)
            at = stop

    def _alike(self, sound: Sound) -> Sound:
        """A sound at this one's rate and channels."""
        if (sound.sample_rate, sound.channels) == (self.sample_rate, self.channels):
            return sound
        samples = np.concatenate([np.empty((sound.channels, 0), np.float32), *sound.blocks()], axis=1)
        return converted(samples, sound.sample_rate, self.sample_rate, self.channels)
