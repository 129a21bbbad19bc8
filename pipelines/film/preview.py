"""A small, playable copy of one clip, to look at while the next is rendered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..chain.chain import Chain
from ..chain.decode import kept_sound
from ..errors import Refusal
from ..media.codecs import Form
from ..media.encode import encode
from ..media.frames import Excerpt, FrameSource, bounds, in_8_bits
from ..media.sound import SoundExcerpt, Waveform
from ..media.swscale import ACCURATE, AREA, Converter
from ..takes.decoded import frames_file, read_frames
from ..timeline.clips import Join
from .soundtrack import soundtrack
from .stitch import Film

if TYPE_CHECKING:
    from pathlib import Path

    from ..chain.chain import Link
    from ..media.footage import FootageFrames
    from ..takes.take import Take

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
    heard = whole and SoundExcerpt.of_frames(whole, shown.first, shown.stop, chain.fps)
    encode(small, path, FORM, audio=heard, lasting=False)


def preview_at_hand(take: Take, first: int, stop: int) -> Path | None:
    """A playable copy of frames [first, stop) of a take, made of what has been decoded of it; None where that is not
    kept and its model would be needed.

    Raises:
        Refusal: the take has no such frames.
    """
    facts = take.facts()
    if not 0 <= first < stop <= facts["frames"]:
        raise Refusal(f"frames {first} to {stop} are asked for; the take has {facts['frames']}.", field="stop")
    path = take.preview_path(first, stop)
    if path.exists():
        return path
    at_hand = (read_frames(frames_file(take, tiled)) for tiled in (False, True))
    frames, sound = next((kept for kept in at_hand if kept is not None), None), kept_sound(take)
    if frames is None or (sound is None and take.audio() is not None):
        return None
    rate = Fraction(facts["fps"])
    heard = None
    if sound is not None:
        samples, sample_rate = sound
        whole = Waveform({"waveform": samples[None], "sample_rate": sample_rate})
        heard = SoundExcerpt.of_frames(whole, first, stop, rate)
    encode(Shrunk(Excerpt(Decoded(frames, rate), first, stop), WIDTH), path, FORM, audio=heard, lasting=False)
    return path


class Decoded:
    """Frames that were decoded, `[T, H, W, 3]` uint16, as a stream."""

    def __init__(self, decoded: np.ndarray, frame_rate: Fraction):
        self.decoded = decoded
        self.frame_rate = frame_rate
        self.frame_count, self.height, self.width, _ = decoded.shape

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for index in range(*bounds(start, stop, self.frame_count)):
            yield self.decoded[index]


class Shrunk:
    """Frames at an even size of at most `width` pixels, each pixel the mean of a square of the source's."""

    def __init__(self, source: FrameSource, width: int):
        self.source = source
        self.square = -(-source.width // width)
        self.width, self.height = (side // self.square // 2 * 2 for side in (source.width, source.height))
        self.frame_rate: Fraction = source.frame_rate
        self.frame_count = source.frame_count

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for frame in self.frames_8(start, stop):
            yield frame.astype(np.uint16) * 257

    def frames_8(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """The same in 8 bits, which is all that a preview shows."""
        import av

        shrink = Converter("rgb24", AREA | ACCURATE, width=self.width, height=self.height)
        height, width = self.height * self.square, self.width * self.square
        for frame in in_8_bits(self.source, start, stop):
            used = np.ascontiguousarray(frame[:height, :width])
            yield shrink(av.VideoFrame.from_ndarray(used, format="rgb24")).to_ndarray()
