"""A video that is already there, as the beginning of a chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import overload

import numpy as np

from .bundle.model import VideoModel
from .chain import Chain, Clip, Join, Link
from .errors import Refusal
from .film.frames import Excerpt, FrameSource
from .film.retime import Fitted, at_rate
from .film.sound import Sound, SoundExcerpt
from .pictures import best_size, check_size
from .takes.identity import Unidentified, digest


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
    def __getitem__(self, wanted: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, wanted: slice) -> np.ndarray: ...
    def __getitem__(self, wanted: int | slice) -> np.ndarray:
        if isinstance(wanted, slice):
            start, stop, _ = wanted.indices(self.shape[0])
            return np.stack([frame.copy() for frame in self.source.frames(start, stop)])
        if self._reading is None or wanted != self._place:
            self._reading = self.source.frames(wanted)
        self._place = wanted + 1
        return next(self._reading)


def begin_with(
    model: VideoModel, source: FrameSource, sound: Sound | None, width: int, height: int, keep_seconds: float
) -> Chain:
    """A chain of one link, the end of a video, for a stage of `model` to go on from.

    Args:
        source: frames of any rate and size; they are shown at the model's rate, scaled to cover the size and cropped
            evenly.
        width, height: pixels; 0 and 0 take the size nearest to the video's own that the model can render.
        keep_seconds: how much of the video's end the film begins with; 0 is all of it.

    Raises:
        Refusal: a size off the grid, or a time that is none.
    """
    if (width == 0) != (height == 0):
        raise Refusal(f"{width}x{height} given; give both, or 0 and 0 for the video's own size.", field="width")
    if not width:
        width, height = best_size(source.width, source.height, source.width * source.height, model.variant.size_step)
    check_size(width, height, model.variant)
    film = Fitted(at_rate(source, model.fps), width, height)
    if not 0 <= keep_seconds < float("inf"):
        raise Refusal(f"{keep_seconds} given; a time in seconds is needed, or 0 for the whole video.", field="keep")
    keep = round(Fraction(str(keep_seconds)) * model.fps) or film.frame_count
    if keep > film.frame_count:
        raise Refusal(
            f"{keep_seconds} s given; the video lasts {float(film.frame_count / model.fps):.2f} s.",
            field="keep",
        )
    first = film.frame_count - keep
    footage = Footage(Excerpt(film, first, film.frame_count), _sound_from(sound, first / model.fps, keep / model.fps))
    link = Link(Clip(keep, Join(), keep), None, model, footage)
    return Chain(model.family.name, width, height, model.fps, (link,))


def _sound_from(sound: Sound | None, start: Fraction, seconds: Fraction) -> Sound | None:
    if sound is None:
        return None
    begin = round(start * sound.sample_rate)
    return SoundExcerpt(sound, begin, begin + round(seconds * sound.sample_rate))
