"""Video files read frame by frame, and their sound, in memory that does not grow with their length."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import Refusal
from ..identity import content_digest
from . import swscale
from .frames import bounds
from .sound import BLOCK

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

Source: TypeAlias = str | os.PathLike | io.BytesIO


class VideoFile:
    """A video file as a stream of frames, in the time window ComfyUI trimmed it to.

    Colours are read with the matrix and range the file names; where it names none, as ComfyUI's own loader reads
    them (BT.601, limited). An alpha channel is dropped. A variable frame rate is read as the frames it has, at its
    average rate. Frames count from the presentation times in the container, one for each.

    Args:
        source: path of the file, or a BytesIO that holds it.
        start_time: seconds into the file at which the window begins.
        duration: seconds of the window; 0 reads to the end.

    Raises:
        Refusal: no video in it, no frame in the window, frames without times, or a damaged frame while reading.
    """

    def __init__(self, source: Source, start_time: float = 0.0, duration: float = 0.0):
        self.source = source
        self._window = (float(start_time), float(duration))
        with _open(source) as container:
            stream = _video_stream(container, source)
            self.frame_rate = Fraction(stream.average_rate or 1)
            self._times = _times_in_window(container, stream, start_time, duration)
            self._time_base = stream.time_base
            if not len(self._times):
                raise Refusal(f"{_name(source)} has no frame between the times it is trimmed to", field="video")
        self.frame_count = len(self._times)
        first = next(self._decode(0, 1), None)
        if first is None:
            raise Refusal(f"{_name(source)} holds no frame that can be decoded", field="video")
        self.height, self.width = first.shape[:2]

    @property
    def identity(self) -> list[Any]:
        return [content_digest(self.source), *self._window]

    @property
    def times(self) -> list[Fraction]:
        """When each frame is shown, in seconds from the first one."""
        return [int(time - self._times[0]) * self._time_base for time in self._times]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        start, stop = bounds(start, stop, self.frame_count)
        for frame in self._decode(start, stop) if start < stop else ():
            if frame.shape != (self.height, self.width, 3):
                raise Refusal(
                    f"{_name(self.source)} changes its size from {self.width}x{self.height} to "
                    f"{frame.shape[1]}x{frame.shape[0]} part of the way",
                    field="video",
                )
            yield frame

    def _decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        import av

        first, last = self._times[start], self._times[stop - 1]
        with _open(self.source) as container:
            stream = _video_stream(container, self.source)
            stream.thread_type = "AUTO"
            if start or first > 0:
                container.seek(int(first), stream=stream)
            to_rgb = _ToRgb()
            try:
                shown = None
                for frame in container.decode(stream):
                    # Of frames with one time the first is shown, as `_times` counts them.
                    if frame.pts < first or frame.pts == shown:
                        continue
                    if frame.pts > last:
                        return
                    shown = frame.pts
                    yield to_rgb(frame)
            except av.error.InvalidDataError as error:
                raise Refusal(f"{_name(self.source)} is damaged: {error.strerror}", field="video") from error


class SoundTrack:
    """The sound of a video file in the same window as its frames, as a stream of samples."""

    def __init__(self, source: Source, start_time: float, duration: float, first: av.AudioFrame):
        self.source = source
        self.start_time = start_time
        self.duration = duration
        self.sample_rate = first.sample_rate
        self.channels = len(first.layout.channels)
        self._layout = first.layout

    @classmethod
    def of(cls, source: Source, start_time: float = 0.0, duration: float = 0.0) -> SoundTrack | None:
        """The file's last audio stream, which is the one ComfyUI's loader reads; None where it has no sound."""
        with _open(source) as container:
            stream = _audio_stream(container)
            # some containers know rate and layout only from the first decoded frame
            first = next(container.decode(stream), None) if stream else None
        return cls(source, start_time, duration, first) if first else None

    @property
    def identity(self) -> list[Any]:
        return [content_digest(self.source), float(self.start_time), float(self.duration)]

    def blocks(self) -> Iterator[np.ndarray]:
        end = round(self.duration * self.sample_rate) if self.duration else None
        at: int | None = None  # of the next sample, counted from the start of the window, which it may come before
        for place, samples in self._decoded():
            if at is None:
                at = place
                # sound that begins after the picture keeps its place
                for gap in range(0, max(at, 0), BLOCK):
                    yield np.zeros((self.channels, min(BLOCK, at - gap)), np.float32)
            piece = samples[:, max(-at, 0) : None if end is None else max(end - at, 0)]
            at += samples.shape[1]
            if piece.shape[1]:
                yield piece
            if end is not None and at >= end:
                return

    def _decoded(self) -> Iterator[tuple[int, np.ndarray]]:
        from av.audio.resampler import AudioResampler

        planar = AudioResampler(format="fltp", layout=self._layout, rate=self.sample_rate)
        with _open(self.source) as container:
            stream = _audio_stream(container)
            if self.start_time:
                # a little early: AAC and its like need the frame before to decode one rightly
                container.seek(int(max(self.start_time - 0.25, 0) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                place = round((float(frame.pts * frame.time_base) - self.start_time) * self.sample_rate)
                for part in planar.resample(frame):
                    yield place, part.to_ndarray()


class _ToRgb:
    """Decoded frames to `[H, W, 3]` uint16 RGB, through one swscale context for each depth.

    swscale's 16-bit output keeps the code values of the input: white is 235 << 8 stretched to 255 << 8 in limited
    range, and the largest code shifted to 16 bits in full range, never 65535. ComfyUI's loader leaves it there and so
    darkens by half a code value; here white is brought back to 65535.
    """

    def __init__(self) -> None:
        precise = swscale.BICUBIC | swscale.ACCURATE | swscale.FULL_CHROMA_OUT
        self._to_rgb24 = swscale.Converter("rgb24", precise)
        self._to_rgb48 = swscale.Converter("gbrp16le", precise)
        self._to_rgb48_of_mpeg = swscale.FromMpeg("gbrp16le")
        self._stretch: tuple[int, np.ndarray] = (0, np.empty(0, np.uint16))

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        rgb: np.ndarray
        if frame.format.name == "pal8" or (frame.format.is_rgb and frame.format.components[0].bits == 8):
            rgb = self._to_rgb24(frame).to_ndarray().astype(np.uint16)
            rgb *= 257
        else:
            convert = self._to_rgb48_of_mpeg if swscale.has_mpeg_chroma(frame) else self._to_rgb48
            rgb = convert(frame).to_ndarray()
            rgb = self._to_full_scale(_white(frame))[rgb]
        turns = round((frame.rotation or 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb

    def _to_full_scale(self, white: int) -> np.ndarray:
        if self._stretch[0] != white:
            codes = np.minimum(np.arange(65536), white)
            self._stretch = white, np.rint(codes * (65535 / white)).astype(np.uint16)
        return self._stretch[1]


def _white(frame: av.VideoFrame) -> int:
    """What swscale makes of white when it writes 16-bit RGB from this frame."""
    from av.video.reformatter import ColorRange

    bits = frame.format.components[0].bits
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith(("gray", "yuvj"))
    if full or frame.format.is_rgb:
        return ((1 << bits) - 1) << (16 - bits) if bits <= 16 else 65535
    return 255 << 8


def _times_in_window(container: InputContainer, stream: Any, start_time: float, duration: float) -> np.ndarray:
    """Presentation times of the frames shown in the window, in order, in the stream's time base."""
    first = int(start_time / stream.time_base)
    end = int((start_time + duration) / stream.time_base)
    times: list[int] = []
    reached = 0
    for packet in container.demux(stream):
        if packet.size and packet.pts is None:
            raise Refusal(f"{_name(container.name)} has frames without a time; save it as mp4 first", field="video")
        if not packet.size or packet.is_discard:
            continue
        if packet.is_corrupt:
            raise Refusal(f"{_name(container.name)} is damaged or cut short", field="video")
        reached = max(reached, packet.pts + (packet.duration or 0))
        if packet.pts >= first and (not duration or packet.pts < end):
            times.append(packet.pts)
    # an mp4 that was cut off still has its whole index, and would be read as a shorter film
    if "mp4" in container.format.name and stream.duration:
        missing = ((stream.start_time or 0) + stream.duration - reached) * stream.time_base
        if missing > Fraction(1, 4):
            raise Refusal(
                f"{_name(container.name)} is cut short: its last {float(missing):.2f} s are missing", field="video"
            )
    return np.unique(np.array(times, np.int64))


def _video_stream(container: InputContainer, source: Source) -> Any:
    if not container.streams.video:
        raise Refusal(f"{_name(source)} holds no video", field="video")
    return container.streams.video[0]


def _audio_stream(container: InputContainer) -> Any:
    # a stream FFmpeg has no decoder for has no codec context, and decoding it crashes
    return next((stream for stream in reversed(container.streams.audio) if stream.codec_context), None)


def _name(source: Source) -> str:
    return os.path.basename(str(source)) if isinstance(source, (str, os.PathLike)) and str(source) else "the video"


@contextmanager
def _open(source: Source) -> Iterator[InputContainer]:
    import av

    # picture and sound are read side by side, and a BytesIO has one position
    file = _Reader(source.getbuffer()) if isinstance(source, io.BytesIO) else os.fspath(source)
    try:
        with av.open(file) as container:
            yield container
    except av.error.FFmpegError as error:
        raise Refusal(f"{_name(source)} cannot be read as a video ({error.strerror})", field="video") from error


class _Reader(io.RawIOBase):
    """A file object of its own over bytes that others read too."""

    def __init__(self, buffer: memoryview):
        self._buffer = buffer
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        end = len(self._buffer) if size is None or size < 0 else self._at + size
        piece = bytes(self._buffer[self._at : end])
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._buffer)}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at
