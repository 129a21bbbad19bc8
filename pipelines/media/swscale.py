"""Colour conversion through one swscale context, asked alike in every PyAV that ComfyUI accepts (16 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .filters import in_a_row

if TYPE_CHECKING:
    import av

# libswscale/swscale.h, as numbers because PyAV has names for the last two only since 18
BICUBIC = 0x4
AREA = 0x20
FULL_CHROMA_OUT = 0x2000
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
        format: pixel format to convert to.
    """

    def __init__(self, format: str):
        self._format = format
        self._graph: Any = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._graph is None:
            colours = f"in_range=pc:out_range=tv:out_color_matrix=bt709:{chroma('out', self._format)}"
            scale = f"flags=area+accurate_rnd+full_chroma_inp:{colours}"
            self._graph = scaling(frame, scale, self._format)
        return through(self._graph, frame)


class FromMpeg:
    """Converts frames that were decoded to another pixel format, their chroma taken where MPEG has it.

    From PyAV 18 on swscale does so by itself.
    """

    def __init__(self, format: str):
        self._format = format
        self._graphs: dict[tuple[Any, ...], Any] = {}

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        name = frame.format.name
        full = name.startswith("yuvj") or frame.color_range == 2
        matrix = {1: "bt709", 7: "smpte240m", 9: "bt2020"}.get(int(frame.colorspace), "bt601")
        look = (name, frame.width, frame.height, full, matrix)
        if look not in self._graphs:
            colours = f"in_range={'pc' if full else 'tv'}:in_color_matrix={matrix}:{chroma('in', name)}"
            self._graphs[look] = scaling(frame, f"flags=bicubic+accurate_rnd+full_chroma_int:{colours}", self._format)
        return through(self._graphs[look], frame)


def has_mpeg_chroma(frame: av.VideoFrame) -> bool:
    """Whether swscale of this PyAV would take a frame's chroma half a pixel off; that of a JPEG lies between pixels."""
    import av

    components = frame.format.components
    paired = len(components) > 2 and not frame.format.is_rgb and components[1].width < components[0].width
    return paired and not frame.format.name.startswith("yuvj") and int(av.__version__.split(".")[0]) < 18


def chroma(side: str, format: str) -> str:
    """What tells the filter that chroma lies on the left one of two pixels, and between two rows that share one."""
    return f"{side}_h_chr_pos=0" + ("" if "422" in format else f":{side}_v_chr_pos=128")


def scaling(frame: av.VideoFrame, scale: str, format: str) -> Any:
    """FFmpeg's filter from frames like one to a pixel format."""
    return in_a_row(
        frame.format.name, frame.width, frame.height, [("scale", scale), ("format", format)], one_thread=True
    )


def through(graph: Any, frame: av.VideoFrame) -> av.VideoFrame:
    frame.pts = 0
    graph.push(frame)
    return graph.pull()
