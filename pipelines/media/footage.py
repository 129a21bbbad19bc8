"""A video that is already there, as frames and sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from ..errors import Refusal
from ..identity import Unidentified, digest
from .frames import FrameSource
from .sound import Sound


@dataclass(frozen=True)
class Footage:
    """Frames and sound that stand where a rendered stage's take would.

    Args:
        source: the frames, at the film's rate and size.
        sound: what is heard with them at its own sample rate, or None.

    Both have an `identity` that tells them from others, as `takes.identity.canonical` reads it.
    """

    source: FrameSource
    sound: Sound | None

    def frames(self) -> FootageFrames:
        return FootageFrames(self.source)

    @cached_property
    def key(self) -> str:
        """What the video is called: by the content of its file and how that is shown, or by every frame and sample
        where no file stands behind it.

        Raises:
            Refusal: the file is gone, or cannot be read.
        """
        try:
            return digest([self.source, self.sound])
        except Unidentified as error:
            raise Refusal(f"{error}.", field="video") from error


class FootageFrames:
    """The frames of a video `[T, H, W, 3]` uint16 under their numbers, read as they are asked for.

    It keeps its place, so that reading in order decodes each frame once.
    """

    dtype = np.dtype(np.uint16)

    def __init__(self, source: FrameSource):
        self.source = source
        self.shape = (source.frame_count, source.height, source.width, 3)
        self._place = 0
        self._reading: Iterator[np.ndarray] | None = None

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> np.ndarray: ...
    def __getitem__(self, index: int | slice) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, _ = index.indices(self.shape[0])
            return np.stack([frame.copy() for frame in self.source.frames(start, stop)])
        if self._reading is None or index != self._place:
            self._reading = self.source.frames(index)
        self._place = index + 1
        return next(self._reading)
