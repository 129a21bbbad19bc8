"""What a film says of its parts: chapters that players list, and subtitles that say what each was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from .frames import FrameSource
from .segments import packet_of

if TYPE_CHECKING:
    import av

CHAPTERED = ("mp4", "mov", "mkv", "webm")
SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "mkv": "subrip", "webm": "webvtt"}
TICK = Fraction(1, 1000)
LONGEST = 65535  # bytes of a text in an mp4
# What mov_text is made from, in the words of Advanced SubStation Alpha.
STYLE = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, OutlineColour, BackColour, BorderStyle, Outline, Alignment
Style: Default,Arial,16,&Hffffff,&H0,&H0,1,1,2

[Events]
Format: Layer, Start, End, Style, Text
"""


@dataclass(frozen=True)
class Chapter:
    """Frames [start, stop) of a film: a stage.

    Args:
        title: what players list.
        text: what was asked for; empty where nothing was, or it is not known.
    """

    start: int
    stop: int
    title: str
    text: str = ""


def chapters_of(source: FrameSource) -> Sequence[Chapter]:
    """The chapters of a film; none of other frames."""
    return getattr(source, "chapters", ())


def write_chapters(container: av.container.OutputContainer, chapters: Sequence[Chapter], frame_rate: Fraction) -> None:
    """Write chapters; before anything else of the file."""
    container.set_chapters(
        [
            {
                "id": number,
                "start": round(chapter.start / frame_rate / TICK),
                "end": round(chapter.stop / frame_rate / TICK),
                "time_base": TICK,
                "metadata": {"title": chapter.title},
            }
            for number, chapter in enumerate(chapters, start=1)
        ]
    )


def check_subtitles(container: str, chapters: Sequence[Chapter]) -> None:
    """Raise `Refusal` where no subtitles can be written."""
    from av.subtitles.codeccontext import SubtitleCodecContext

    if container not in SUBTITLES:
        raise Refusal(f"{container} holds none; {', '.join(SUBTITLES)} do", field="subtitles")
    if not any(chapter.text for chapter in chapters):
        raise Refusal(
            "nothing is known of what the video was asked for; connect the video of Stitch Chain", field="subtitles"
        )
    if not hasattr(SubtitleCodecContext, "subtitle_header"):
        raise Refusal("the PyAV of this ComfyUI writes none; version 17 or newer does", field="subtitles")


class Subtitles:
    """The text of each chapter, shown as long as it lasts."""

    def __init__(
        self, container: av.container.OutputContainer, form: str, chapters: Sequence[Chapter], frame_rate: Fraction
    ):
        self._container = container
        self._kind = SUBTITLES[form]
        self._waiting = [chapter for chapter in chapters if chapter.text]
        self._frame_rate = frame_rate
        self._stream: Any = container.add_stream(self._kind)
        codec: Any = self._stream.codec_context
        codec.subtitle_header = STYLE.encode()
        self._stream.time_base = TICK

    def reach(self, frame: int) -> None:
        """Write what begins before a frame of the film."""
        while self._waiting and self._waiting[0].start < frame:
            self._write(self._waiting.pop(0))

    def _write(self, chapter: Chapter) -> None:
        text = " ".join(chapter.text.split()).encode()
        if self._kind == "mov_text":  # 3GPP TS 26.245: its length in two bytes before it
            text = text[:LONGEST]
            text = len(text).to_bytes(2, "big") + text
        packet = packet_of(text)
        packet.stream, packet.time_base = self._stream, TICK
        begin, end = (round(at / self._frame_rate / TICK) for at in (chapter.start, chapter.stop))
        packet.pts = packet.dts = begin
        packet.duration = end - begin
        self._container.mux(packet)
