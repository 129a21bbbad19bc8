"""A stream of frames to a video file.

A few frames are in memory at a time, beside the encoder's own lookahead. No torch here: its thread pool spins against
the encoder's threads, which alone makes ComfyUI's own saving take 1.6 to 2 times as long.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Refusal
from ..files.whole import CountedName, whole_file
from . import swscale
from .ahead import ahead
from .codecs import Form
from .frames import FrameSource, to_uint8
from .segments import Packets, Segments, Settings, delivered
from .sound import Sound, Waveform

if TYPE_CHECKING:
    import av

# ISO/IEC 14496-3 table 1.18, the rates an AAC file can name
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
AAC_FRAME = 1024  # samples

# ISO/IEC 23091-2 code points: 1 is BT.709 for primaries, transfer and matrix alike; FFmpeg's range 1 is limited
BT709 = 1
LIMITED = 1
# libavutil's picture types, as an encoder may be asked for them: a key frame, and one that looks back alone, over which
# no frame before it looks ahead
KEY_FRAME = 1
LOOKS_BACK = 2

USUAL = Form()


def encode(
    source: FrameSource,
    path: str | os.PathLike | CountedName | io.BytesIO,
    form: Form = USUAL,
    *,
    audio: dict | Sound | None = None,
    metadata: dict | None = None,
    progress: Callable[[int, int], None] | None = None,
    lasting: bool = True,
) -> int:
    """Encode a film (BT.709, limited range) and return the number of frames written.

    A film that comes in segments has those encoded alone that are not kept yet.

    A file appears under its final name whole or not at all: it is written beside it under a name of its own, and
    removed again when anything stops the encoding. A buffer is cut back to where it was.

    Args:
        source: the frames; both sides of the picture must be even.
        path: file to write, a name that counts up to the first that is free, or a BytesIO to write to.
        audio: ComfyUI's AUDIO or a Sound, written as AAC at its own sample rate. It ends with the picture: to the
            sample, it is cut, or padded with silence, to round(frames / fps * sample rate).
        metadata: tags of the container; values are written as JSON, as ComfyUI does (`prompt`, `workflow`).
        progress: called with (frames done, frames in all) as they are; raising cancels the encoding.
        lasting: whether the file is flushed to the disk, see `whole_file`.

    Raises:
        Refusal: no frames, odd sides, or audio that AAC cannot hold.
    """
    _check_picture(source)
    sound = Waveform(audio) if isinstance(audio, dict) else audio
    if sound is not None:
        _check_sound(sound)
    tags = {key: json.dumps(value) for key, value in (metadata or {}).items()}

    def write(target: str | io.BytesIO, movflags: str) -> int:
        import av

        options = {"movflags": movflags, "movie_timescale": str(_timescale(source, sound))}
        with av.open(target, "w", format="mp4", options=options) as container:
            container.metadata.update(tags)
            return _write(container, source, form, sound, progress)

    if not isinstance(path, io.BytesIO):
        with whole_file(path if isinstance(path, CountedName) else Path(path), lasting) as unfinished:
            # moov first: players start at once, and ComfyUI's page finds the workflow within the 64 MiB it reads
            return write(os.fspath(unfinished), "use_metadata_tags+faststart")
    with _whole_buffer(path) as buffer:
        return write(buffer, "use_metadata_tags")  # faststart reopens its output by name


class Yuv420:
    """RGB frames to 8-bit 4:2:0 in BT.709, limited range, through one buffer."""

    def __init__(self, width: int, height: int):
        from av.video.reformatter import ColorRange, Colorspace

        self._convert = swscale.Converter(
            "yuv420p",
            # without the last two chroma is off by up to a code value; they cost nothing
            swscale.AREA | swscale.ACCURATE | swscale.FULL_CHROMA_IN,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        # swscale's vector code may read a little past the last pixel
        self._rgb = np.empty(height * width * 3 + 64, np.uint8)[: height * width * 3].reshape(height, width, 3)

    def __call__(self, frame: np.ndarray) -> av.VideoFrame:
        """Convert one frame `[H, W, 3]` uint16 to an av.VideoFrame; the result is independent of the next call."""
        import av

        np.copyto(self._rgb, to_uint8(frame))
        return self._convert(av.VideoFrame.from_numpy_buffer(self._rgb, format="rgb24"))


class _AacTrack:
    """The sound of a film, written a little at a time so that it lies beside its picture in the file."""

    def __init__(self, container: av.container.OutputContainer, sound: Sound, frame_rate: Fraction):
        self._container = container
        self._rate = sound.sample_rate
        self._layout = AAC_LAYOUTS[sound.channels]
        self._stream = container.add_stream("aac", rate=sound.sample_rate, layout=self._layout)
        # 96 kbit/s a channel, less where AAC's 6 bits a sample would be passed
        self._stream.bit_rate = min(96_000, 3 * sound.sample_rate) * sound.channels
        self._samples_a_frame = sound.sample_rate / frame_rate
        self._blocks = sound.blocks()
        self._waiting = np.empty((sound.channels, 0), np.float32)
        self._written = 0

    def reach(self, frame: int) -> None:
        """Write the whole AAC frames that end at or before film frame `frame`."""
        end = round(frame * self._samples_a_frame)
        while self._written + AAC_FRAME <= end:
            self._encode(self._take(AAC_FRAME))

    def finish(self, frame: int) -> None:
        """Write up to film frame `frame`, to the sample."""
        self.reach(frame)
        rest = round(frame * self._samples_a_frame) - self._written
        if rest:
            self._encode(self._take(rest))
        self._container.mux(self._stream.encode(None))

    def _take(self, count: int) -> np.ndarray:
        while self._waiting.shape[1] < count:
            block = next(self._blocks, None)
            if block is None:
                block = np.zeros((self._waiting.shape[0], count), np.float32)
            elif not np.isfinite(block).all():
                raise Refusal("it holds samples that are not finite numbers (NaN or infinity)", field="audio")
            self._waiting = np.concatenate((self._waiting, block), axis=1)
        taken, self._waiting = np.split(self._waiting, [count], axis=1)
        return np.ascontiguousarray(taken)

    def _encode(self, samples: np.ndarray) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._written
        self._written += samples.shape[1]
        self._container.mux(self._stream.encode(frame))


def _timescale(source: FrameSource, sound: Sound | None) -> int:
    """Ticks a second in which the container states how long its tracks last, so that whole frames and samples fit."""
    # the muxer's own 1000 rounds the length of the sound to the millisecond
    ticks = math.lcm(source.frame_rate.numerator, sound.sample_rate if sound else 1000)
    return ticks if ticks < 2**31 else 90_000


def _write(
    container: av.container.OutputContainer,
    source: FrameSource,
    form: Form,
    sound: Sound | None,
    progress: Callable[[int, int], None] | None,
) -> int:
    stream = container.add_stream(form.codec.encoder, rate=source.frame_rate)
    encoder: Any = stream.codec_context
    _set_up(encoder, source, form)
    track = _AacTrack(container, sound, source.frame_rate) if sound else None
    container.start_encoding()
    reached = 0
    for packets, done in _packets(encoder, source, form):
        for packet in packets:
            packet.stream = stream
            container.mux(packet)
        if done == reached:
            continue
        reached = done
        if track:
            track.reach(done)
        if progress:
            progress(done, max(done, source.frame_count))
    if not reached:
        raise Refusal("the film has no frames")
    if track:
        track.finish(reached)
    return reached


def _packets(encoder: av.VideoCodecContext, source: FrameSource, form: Form) -> Packets:
    """What an encoder, or the segments that it gave before, make of a film."""
    import av

    unused = [encoder]

    def encode(
        start: int, stop: int | None, keys: frozenset[int] = frozenset(), lasts: frozenset[int] = frozenset()
    ) -> Packets:
        codec = unused.pop() if unused else _encoder(source, form)
        to_yuv = Yuv420(source.width, source.height)
        done = start
        for picture in ahead(map(to_yuv, source.frames(start, stop))):
            picture.pts = done
            picture.time_base = 1 / source.frame_rate
            if done in keys:
                picture.pict_type = KEY_FRAME
            elif done in lasts:
                picture.pict_type = LOOKS_BACK
            done += 1
            yield codec.encode(picture), done
        yield codec.encode(None), done

    segments: Segments | None = getattr(source, "segments", None)
    if segments is None or not form.codec.joins:
        return encode(0, None)
    asked = [form.codec.encoder, form.options, form.pixels, source.width, source.height, source.frame_rate]
    versions = [av.__version__, list(av.library_versions["libavcodec"])]
    return delivered(segments, Settings([asked, versions], encoder.extradata or b"", source.frame_rate), encode)


def _encoder(source: FrameSource, form: Form) -> av.VideoCodecContext:
    """An encoder that gives the same as the one of the file."""
    import av
    from av.codec.context import Flags

    codec: Any = av.VideoCodecContext.create(form.codec.encoder, "w")
    codec.framerate = source.frame_rate
    codec.time_base = 1 / source.frame_rate
    codec.flags |= Flags.global_header
    _set_up(codec, source, form)
    return codec


def _set_up(codec: av.VideoCodecContext, source: FrameSource, form: Form) -> None:
    codec.width = source.width
    codec.height = source.height
    codec.pix_fmt = form.pixels
    codec.options = form.options
    # PyAV asks for slice threads; frame threads make smaller files of the same quality
    codec.thread_type = "AUTO"
    codec.colorspace = codec.color_primaries = codec.color_trc = BT709
    codec.color_range = LIMITED


@contextmanager
def _whole_buffer(buffer: io.BytesIO) -> Iterator[io.BytesIO]:
    start = buffer.tell()
    try:
        yield buffer
    except BaseException:
        buffer.seek(start)
        buffer.truncate()
        raise


def _check_picture(source: FrameSource) -> None:
    if source.frame_count < 1:
        raise Refusal("the film has no frames; at least 1 is needed")
    if source.width % 2 or source.height % 2:
        raise Refusal(
            f"the film is {source.width}x{source.height}; H.264 in 4:2:0 needs even sides, so crop or scale it to "
            f"{source.width - source.width % 2}x{source.height - source.height % 2}"
        )


def _check_sound(sound: Sound) -> None:
    if sound.sample_rate not in AAC_RATES:
        rates = ", ".join(map(str, AAC_RATES))
        raise Refusal(f"it has {sound.sample_rate} samples a second; AAC takes {rates}", field="audio")
    if sound.channels not in AAC_LAYOUTS:
        raise Refusal(f"it has {sound.channels} channels; 1, 2 or 6 (5.1) can be written", field="audio")
