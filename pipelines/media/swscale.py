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


class ToYuv:
    """Converts RGB frames to YUV in BT.709 and limited range, its chroma where MPEG has it.

    Chroma that is kept for two pixels side by side lies on the left one (ISO/IEC 14496-10, figure E-1), which is what
    players take it for. swscale by itself puts it between them, half a pixel off; FFmpeg's filter can be told.

    Args:
        source, format: pixel formats of the frames, and of what they are converted to.
    """

    def __init__(self, source: str, format: str):
        self._source, self._format = source, format
        self._graph: Any = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._graph is None:
            self._graph = self._made_for(frame)
        frame.pts = 0
        self._graph.push(frame)
        return self._graph.pull()

    def _made_for(self, frame: av.VideoFrame) -> Any:
        from fractions import Fraction

        import av

        graph: Any = av.filter.Graph()
        if hasattr(graph, "threads"):
            graph.threads = 1  # a pool costs more than it gains; PyAV 16 has none
        size = {"width": frame.width, "height": frame.height}
        last = graph.add_buffer(**size, format=av.VideoFormat(self._source), time_base=Fraction(1))
        precise = "flags=area+accurate_rnd+full_chroma_inp"
        between_rows = "" if "422" in self._format else ":out_v_chr_pos=128"
        colours = f"in_range=pc:out_range=tv:out_color_matrix=bt709:out_h_chr_pos=0{between_rows}"
        for name, options in (("scale", f"{precise}:{colours}"), ("format", self._format), ("buffersink", None)):
            following = graph.add(name, options)
            last.link_to(following)
            last = following
        graph.configure()
        return graph
