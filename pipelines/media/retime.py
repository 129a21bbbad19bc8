"""Footage of any frame rate and size, read at a film's."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Protocol, cast

import numpy as np

from .frames import FrameSource, bounds, from_float


class Timed(FrameSource, Protocol):
    """Frames that know when each is shown, so that a variable rate keeps its pace."""

    @property
    def times(self) -> list[Fraction]:
        """Seconds from the first frame, rising."""


class Retimed:
    """Frames at another rate: each frame of the film shows what the source shows nearest to its time.

    At the source's own constant rate every frame is shown once. It lasts as long as the source, rounded to whole
    frames; the source's last frame counts as long as its frames are on average.
    """

    def __init__(self, source: Timed, frame_rate: Fraction):
        self.source = source
        self.frame_rate = frame_rate
        self.width, self.height = source.width, source.height
        times = source.times
        mean = times[-1] / (len(times) - 1) if len(times) > 1 else 1 / frame_rate
        self.frame_count = max(1, round((times[-1] + mean) * frame_rate))
        self._shown = [
            max(0, bisect_left(times, (number + Fraction(1, 2)) / frame_rate) - 1) for number in range(self.frame_count)
        ]

    @property
    def identity(self) -> list[Any]:
        return [self.source, self.frame_rate]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        start, stop = bounds(start, stop, self.frame_count)
        if start == stop:
            return
        first, last = self._shown[start], self._shown[stop - 1]
        reading = enumerate(self.source.frames(first, last + 1), start=first)
        index, frame = next(reading)
        for number in self._shown[start:stop]:
            while index < number:
                index, frame = next(reading)
            yield frame


class Steady:
    """Frames at their constant rate, with the time of each."""

    def __init__(self, source: FrameSource):
        self.source = source
        self.width, self.height = source.width, source.height
        self.frame_rate, self.frame_count = source.frame_rate, source.frame_count
        self.frames = source.frames

    @property
    def identity(self) -> list[Any]:
        return [self.source]

    @property
    def times(self) -> list[Fraction]:
        return [number / self.frame_rate for number in range(self.frame_count)]


def at_rate(source: FrameSource, frame_rate: Fraction) -> FrameSource:
    """Any frames at a film's rate; those of a file by the time each is shown, which need not be steady."""
    timed = cast(Timed, source) if hasattr(source, "times") else Steady(source)
    return Retimed(timed, frame_rate)


class Fitted:
    """Frames at another size: scaled to cover it, cropped evenly, left alone where they fit."""

    def __init__(self, source: FrameSource, width: int, height: int):
        self.source = source
        self.width, self.height = width, height
        self.frame_rate, self.frame_count = source.frame_rate, source.frame_count

    @property
    def identity(self) -> list[Any]:
        return [self.source, self.width, self.height]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        if (self.source.width, self.source.height) == (self.width, self.height):
            yield from self.source.frames(start, stop)
            return
        import torch

        from .pictures import fit_film

        for frame in self.source.frames(start, stop):
            image = torch.from_numpy(np.divide(frame, np.float32(65535)))[None]
            yield from_float(fit_film(image, self.width, self.height)[0].numpy())
