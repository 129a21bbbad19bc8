"""Streams of frames.

Every source here yields frames `[H, W, 3]`, uint16 RGB, 0..65535, one at a time, and holds no more than the few it is
working on, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import Refusal

if TYPE_CHECKING:
    import torch


ROWS = 16  # of a frame, worked on at a time


class FrameSource(Protocol):
    """Frames that can be read from any point of the film, in order."""

    width: int
    height: int
    frame_rate: Fraction
    frame_count: int

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Yield frames [start, stop), each `[H, W, 3]` uint16 RGB; read them before asking for the next."""


class Images:
    """A batch of images `[T, H, W, 3]`, float 0..1 (ComfyUI's IMAGE), as a stream of frames.

    Raises:
        Refusal: another shape; while reading, an image with values that are not finite numbers.
    """

    def __init__(self, images: torch.Tensor, frame_rate: Fraction):
        if images.ndim != 4 or images.shape[-1] != 3:
            raise Refusal(
                f"images of shape {list(images.shape)} are given; RGB images [frames, height, width, 3] are needed "
                "(an alpha channel has to be split off first)",
                field="images",
            )
        self.images = images
        self.frame_rate = frame_rate
        self.frame_count, self.height, self.width, _ = images.shape

    @cached_property
    def identity(self) -> str:
        return frames_digest(self)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for index in range(*bounds(start, stop, self.frame_count)):
            image = self.images[index].detach().cpu().float().numpy()
            if not np.isfinite(image).all():
                raise Refusal(
                    f"image {index} holds values that are not finite numbers (NaN or infinity)", field="images"
                )
            yield from_float(image)


class Excerpt:
    """Frames [start, stop) of another source."""

    def __init__(self, source: FrameSource, start: int, stop: int):
        self.source = source
        self.start, self.stop = bounds(start, stop, source.frame_count)
        self.width = source.width
        self.height = source.height
        self.frame_rate = source.frame_rate
        self.frame_count = self.stop - self.start

    @property
    def identity(self) -> list[Any]:
        return [self.source, self.start, self.stop]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        start, stop = bounds(start, stop, self.frame_count)
        return self.source.frames(self.start + start, self.start + stop)


def frames_digest(source: FrameSource) -> str:
    """Hash of every frame, for those that no file stands behind. It reads all of them, with a bar on the node that
    runs, until that is cancelled.
    """
    import comfy.model_management
    import comfy.utils
    from blake3 import blake3

    bar = comfy.utils.ProgressBar(source.frame_count)
    key = blake3(f"{source.width}x{source.height}, {source.frame_rate} a second".encode())
    for number, frame in enumerate(source.frames(), start=1):
        key.update(np.ascontiguousarray(frame).view(np.uint8).data)
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(number)
    return key.hexdigest()


def to_uint8(frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Bring uint16 values to 8 bits, rounded to nearest: round(x / 257), exactly.

    Args:
        out: where to, `frame`'s shape and uint8; a new array without it.
    """
    out = np.empty(frame.shape, np.uint8) if out is None else out
    for rows in rows_of(frame):
        values = frame[rows]
        # x = 256 h + l; x / 257 is h, and one more or less where l - h is past 128 or -128. All fits into 16 bits.
        high = values >> 8
        rounded = values - high
        high >>= 7
        rounded += high
        rounded += 127
        rounded >>= 8
        out[rows] = rounded
    return out


def rows_of(frame: np.ndarray) -> Iterator[slice]:
    """A frame in a few rows at a time, which stay in the processor's cache from one step to the next."""
    return (slice(first, first + ROWS) for first in range(0, len(frame), ROWS))


class Shallow(Protocol):
    """Frames that can be had in 8 bits too, where that costs less than to make them of 16."""

    def frames_8(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Yield frames [start, stop), each `[H, W, 3]` uint8; read them before asking for the next."""


def in_8_bits(source: FrameSource, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
    """Frames [start, stop) `[H, W, 3]`, uint8; read them before asking for the next."""
    own = getattr(source, "frames_8", None)
    if own is not None:
        yield from own(start, stop)
        return
    buffer = buffer_8(source.height, source.width)
    for frame in source.frames(start, stop):
        yield to_uint8(frame, buffer)


def buffer_8(height: int, width: int) -> np.ndarray:
    """Room for a frame `[H, W, 3]` uint8, which an encoder may take as it is."""
    # swscale's vector code may read a little past the last pixel
    return np.empty(height * width * 3 + 64, np.uint8)[: height * width * 3].reshape(height, width, 3)


def from_float(images: np.ndarray) -> np.ndarray:
    """Bring float values 0..1 to uint16 0..65535, rounded to nearest; values outside are clipped."""
    scaled = np.multiply(images, np.float32(65535), dtype=np.float32)
    np.clip(scaled, 0, 65535, out=scaled)
    np.rint(scaled, out=scaled)
    return scaled.astype(np.uint16)


def as_images(source: FrameSource, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Read frames [start, stop) into one IMAGE batch `[T, H, W, 3]` float32 0..1: all of them in memory at once."""
    import torch

    start, stop = bounds(start, stop, source.frame_count)
    images = np.empty((stop - start, source.height, source.width, 3), np.float32)
    for image, frame in zip(images, source.frames(start, stop), strict=True):
        np.divide(frame, np.float32(65535), out=image)
    return torch.from_numpy(images)


def bounds(start: int, stop: int | None, count: int) -> tuple[int, int]:
    """Where [start, stop) lies in `count` frames; a stop of None is the end. Refuses what lies outside."""
    stop = count if stop is None else stop
    if not 0 <= start <= stop <= count:
        raise Refusal(f"frames {start} to {stop} are asked of a film that has {count}")
    return start, stop
