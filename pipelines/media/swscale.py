"""Colour conversion through one swscale context, asked alike in every PyAV that ComfyUI accepts (16 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av

# libswscale/swscale.h, as numbers because PyAV has names for the last three only since 18
BICUBIC = 0x4
AREA = 0x20
FULL_CHROMA_OUT = 0x2000
FULL_CHROMA_IN = 0x4000
ACCURATE = 0x40000


class Converter:
    """Converts av.VideoFrames to one pixel format. Keeps its context: core's frame.reformat makes one a frame.

    Args:
        format: pixel format to convert to.
        flags: scaler and precision, of the constants above.
        options: further arguments of VideoReformatter.reformat (colour matrix and range of either side).
    """

    def __init__(self, format: str, flags: int, **options: Any):
        import av
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._options = {"format": format, "interpolation": flags, **options}
        if int(av.__version__.split(".")[0]) >= 17:
            self._options["threads"] = 1  # by default a pool that costs more than it gains; 16 has none

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        return self._reformatter.reformat(frame, **self._options)
