"""A small, playable copy of one clip, to look at while the next is rendered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..chain.chain import Chain
from ..media.codecs import Form
from ..media.encode import encode
from ..media.frames import Excerpt, FrameSource
from ..media.sound import SoundExcerpt
from ..timeline.clips import Join
from .soundtrack import soundtrack
from .stitch import Film

if TYPE_CHECKING:
    from pathlib import Path

    from ..chain.chain import Link
    from ..media.footage import FootageFrames

WIDTH = 480  # pixels; nodes on the canvas are narrower
FORM = Form(quality=23, preset="ultrafast")


def write_preview(chain: Chain, decoded: Callable[[Link], np.ndarray | FootageFrames], path: Path) -> None:
    """Write what the last clip of a chain adds to the film, with its sound, to an mp4: without the overlap, which the
    clip before shows, as long as it was asked for, and where it fades in, not yet blended.

    Args:
        decoded: opens the pixels of one link, `[T, H, W, 3]` uint16.
    """
    link = chain.links[-1]
    alone = replace(chain, links=(replace(link, clip=replace(link.clip, join=Join(), asked_end=link.clip.frames)),))
    shown = chain.spans[-1]
    small = Shrunk(Excerpt(Film(alone, lambda _: decoded(link)), shown.first, shown.stop), WIDTH)
    whole = soundtrack(alone)
    heard = whole and SoundExcerpt(whole, whole.sample(shown.first), whole.sample(shown.stop))
    encode(small, path, FORM, audio=heard, lasting=False)


class Shrunk:
    """Frames at an even size of at most `width` pixels, each pixel the mean of a square of the source's."""

    def __init__(self, source: FrameSource, width: int):
        self.source = source
        self.square = -(-source.width // width)
        self.width, self.height = (side // self.square // 2 * 2 for side in (source.width, source.height))
        self.frame_rate: Fraction = source.frame_rate
        self.frame_count = source.frame_count

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        step, places = self.square, range(self.square)
        for frame in self.source.frames(start, stop):
            used = frame[: self.height * step, : self.width * step]
            total = sum(
                (used[row::step, column::step].astype(np.uint32) for row in places for column in places),
                np.zeros((self.height, self.width, 3), np.uint32),
            )
            yield (total // step**2).astype(np.uint16)
