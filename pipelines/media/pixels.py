"""Frames as encoders take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import swscale
from .frames import FrameSource, in_8_bits, to_uint8

if TYPE_CHECKING:
    import av

MADE = 2  # raised by hand whenever the same frames would be converted otherwise than before
PRECISE = swscale.AREA | swscale.ACCURATE


class ToPixels(Protocol):
    """Converts frames `[H, W, 3]`; each picture is independent of the next call.

    Attributes:
        dtype: of the frames it takes: uint8 or uint16.
    """

    dtype: Any

    def __call__(self, frame: np.ndarray) -> av.VideoFrame: ...


def to_pixels(format: str) -> ToPixels:
    """What converts frames to one of FFmpeg's pixel formats: RGB, or YUV in BT.709 and limited range."""
    if format in ("rgb24", "rgb48be", "bgr0", "bgra", "gbrp16le"):
        return _Rgb(format)
    return _Yuv10(format) if "10" in format else _Yuv8(format)


class _Yuv8:
    """RGB frames to 8 bits in BT.709, limited range."""

    dtype = np.uint8

    def __init__(self, format: str):
        self._convert = swscale.ToYuv(format)

    def __call__(self, frame: np.ndarray) -> av.VideoFrame:
        import av

        return self._convert(av.VideoFrame.from_numpy_buffer(frame, format="rgb24"))


class _Yuv10:
    """RGB frames to 10 bits of their 16, in BT.709, limited range."""

    dtype = np.uint16

    def __init__(self, format: str):
        self._convert = swscale.ToYuv(format)

    def __call__(self, frame: np.ndarray) -> av.VideoFrame:
        import av

        # swscale takes 255 << 8 for white: x * 65280 / 65535 is x - x / 257
        scaled = frame - to_uint8(frame).astype(np.uint16)
        return self._convert(av.VideoFrame.from_ndarray(np.ascontiguousarray(scaled), format="rgb48le"))


class _Rgb:
    """RGB frames to RGB of 8 or 16 bits, in whatever order an encoder wants it."""

    def __init__(self, format: str):
        self.dtype = np.uint16 if "16" in format or "48" in format else np.uint8
        self._convert = swscale.Converter(format, PRECISE)

    def __call__(self, frame: np.ndarray) -> av.VideoFrame:
        import av

        format = "rgb48le" if self.dtype is np.uint16 else "rgb24"
        return self._convert(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=format))


def pictures(source: FrameSource, convert: ToPixels, start: int = 0, stop: int | None = None) -> Iterator[Any]:
    """Frames [start, stop) as an encoder takes them."""
    shallow = convert.dtype is np.uint8
    return map(convert, in_8_bits(source, start, stop) if shallow else source.frames(start, stop))
