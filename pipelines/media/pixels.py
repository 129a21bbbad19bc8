"""Frames as encoders take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import swscale
from .frames import to_uint8

if TYPE_CHECKING:
    import av

# without the last two chroma is off by up to a code value; they cost nothing
PRECISE = swscale.AREA | swscale.ACCURATE | swscale.FULL_CHROMA_IN


class ToPixels(Protocol):
    """Converts frames `[H, W, 3]` uint16; each picture is independent of the next call."""

    def __call__(self, frame: np.ndarray) -> av.VideoFrame: ...


def to_pixels(format: str, width: int, height: int) -> ToPixels:
    """What converts frames to one of FFmpeg's pixel formats: RGB, or YUV in BT.709 and limited range."""
    if format in ("rgb24", "rgb48be", "bgr0", "bgra", "gbrp16le"):
        return _Rgb(format)
    return _Yuv10(format) if "10" in format else Yuv8(format, width, height)


class Yuv8:
    """RGB frames to 8 bits in BT.709, limited range, through one buffer."""

    def __init__(self, format: str, width: int, height: int):
        self._convert = swscale.Converter(format, PRECISE, **_bt709())
        # swscale's vector code may read a little past the last pixel
        self._rgb = np.empty(height * width * 3 + 64, np.uint8)[: height * width * 3].reshape(height, width, 3)

    def __call__(self, frame: np.ndarray) -> av.VideoFrame:
        import av

        np.copyto(self._rgb, to_uint8(frame))
        return self._convert(av.VideoFrame.from_numpy_buffer(self._rgb, format="rgb24"))


class _Yuv10:
    """RGB frames to 10 bits of their 16, in BT.709, limited range."""

    def __init__(self, format: str):
        self._convert = swscale.Converter(format, PRECISE, **_bt709())

    def __call__(self, frame: np.ndarray) -> av.VideoFrame:
        import av

        # swscale takes 255 << 8 for white: x * 65280 / 65535 is x - x / 257
        scaled = frame - to_uint8(frame).astype(np.uint16)
        return self._convert(av.VideoFrame.from_ndarray(np.ascontiguousarray(scaled), format="rgb48le"))


class _Rgb:
    """RGB frames to RGB of 8 or 16 bits, in whatever order an encoder wants it."""

    def __init__(self, format: str):
        self._deep = "16" in format or "48" in format
        self._convert = swscale.Converter(format, PRECISE)

    def __call__(self, frame: np.ndarray) -> av.VideoFrame:
        import av

        if self._deep:
            return self._convert(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb48le"))
        return self._convert(av.VideoFrame.from_ndarray(to_uint8(frame), format="rgb24"))


def _bt709() -> dict[str, Any]:
    from av.video.reformatter import ColorRange, Colorspace

    return {
        "dst_colorspace": Colorspace.ITU709,
        "src_color_range": ColorRange.JPEG,
        "dst_color_range": ColorRange.MPEG,
    }
