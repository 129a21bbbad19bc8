"""A stream of frames to a file: a video, an animated picture, or pictures.

A few frames are in memory at a time, beside the encoder's own lookahead. No torch here: its thread pool spins against
the encoder's threads, which alone makes ComfyUI's own saving take 1.6 to 2 times as long.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from ..files.whole import CountedName, whole_file
from .ahead import ahead
from .chapters import CHAPTERED, Chapter, Subtitles, check_subtitles, write_chapters
from .codecs import GIF, PNG_ZIP, Form, works
from .frames import FrameSource, in_8_bits
from .gif import Paletted
from .pixels import MADE, ToPixels, pictures, to_pixels
from .png_zip import write_png_zip
from .segments import Packets, Segments, Settings, delivered
from .sound import Sound, Waveform
from .sound_track import SoundTrack, check_sound, rate_of

if TYPE_CHECKING:
    import av

USUAL = Form()

# FFmpeg's names of containers that are called otherwise by their files
MUXERS = {"mkv": "matroska"}
# moov first: players start at once, and ComfyUI's page finds the workflow within the 64 MiB it reads
MP4_FLAGS, FASTSTART = "use_metadata_tags", "+faststart"
LOOPS = {"webp": {"loop": "0"}, "apng": {"plays": "0"}, "gif": {"loop": "0"}}  # for ever
# Frames a second whose times a container can tell apart; others count in fractions of a frame.
FASTEST = {"gif": 50, "webp": 1000, "mkv": 1000, "webm": 1000}

# ISO/IEC 23091-2 code points: 1 is BT.709 for primaries, transfer and matrix alike; FFmpeg's range 1 is limited
BT709 = 1
LIMITED = 1
# libavutil's picture types, as an encoder may be asked for them: a key frame, and one that looks back alone, over which
# no frame before it looks ahead
KEY_FRAME = 1
LOOKS_BACK = 2
POSTER_QUALITY = 92


def encode(
    source: FrameSource,
    path: str | os.PathLike | CountedName | io.BytesIO,
    form: Form = USUAL,
    *,
    audio: dict | Sound | None = None,
    metadata: dict | None = None,
    chapters: Sequence[Chapter] = (),
    subtitles: bool = False,
    progress: Callable[[int, int], None] | None = None,
    lasting: bool = True,
) -> int:
    """Encode a film and return the number of frames written.

    A film that comes in segments has those encoded alone that are not kept yet.

    A file appears under its final name whole or not at all: it is written beside it under a name of its own, and
    removed again when anything stops the encoding. A buffer is cut back to where it was.

    Args:
        source: the frames. YUV is written in BT.709, limited range.
        path: file to write, a name that counts up to the first that is free, or a BytesIO to write to.
        audio: ComfyUI's AUDIO or a Sound. It ends with the picture: to the sample, it is cut, or padded with silence,
            to round(frames / fps * sample rate). A container that holds no sound is written without.
        metadata: tags of the container; values are written as JSON, as ComfyUI does (`prompt`, `workflow`).
        chapters: of the film; a container that holds none is written without.
        subtitles: whether the text of each chapter is shown.
        progress: called with (frames done, frames in all) as they are; raising cancels the encoding.
        lasting: whether the file is flushed to the disk, see `whole_file`.

    Raises:
        Refusal: no frames, sides or a rate that the form cannot have, sound that its codec cannot hold, or an encoder
            that does not work on this computer.
    """
    check_picture(source, form)
    sound = Waveform(audio) if isinstance(audio, dict) else audio
    if form.sound_codec is None:
        sound = None
    elif sound is not None:
        check_sound(form.sound_codec, sound)
    if subtitles:
        check_subtitles(form.container, chapters)
    tags = {key: json.dumps(value) for key, value in (metadata or {}).items()}

    def write(target: str | io.BytesIO, flags: str) -> int:
        import av

        if form.codec is PNG_ZIP:
            return write_png_zip(source, target, form.pixels, tags, progress)
        options = dict(LOOPS.get(form.container, {}))
        if form.container in ("mp4", "mov"):
            options |= {"movflags": flags, "movie_timescale": str(_timescale(source, form, sound))}
        muxer = MUXERS.get(form.container, form.container)
        with av.open(target, "w", format=muxer, options=options) as container:
            container.metadata.update(tags)
            if chapters and form.container in CHAPTERED:
                write_chapters(container, chapters, source.frame_rate)
            return _write(container, source, form, sound, chapters if subtitles else (), progress)

    if not isinstance(path, io.BytesIO):
        with whole_file(path if isinstance(path, CountedName) else Path(path), lasting) as unfinished:
            return write(os.fspath(unfinished), MP4_FLAGS + FASTSTART)
    with _whole_buffer(path) as buffer:
        return write(buffer, MP4_FLAGS)  # faststart reopens its output by name


def check_picture(source: FrameSource, form: Form) -> None:
    """Raise `Refusal` for frames that a form cannot hold."""
    codec = form.codec
    if source.frame_count < 1:
        raise Refusal("the film has no frames; at least 1 is needed")
    across, down = codec.multiples
    if source.width % across or source.height % down:
        raise Refusal(
            f"the film is {source.width}x{source.height}; {codec.title} needs even sides, so crop or scale it to "
            f"{source.width - source.width % across}x{source.height - source.height % down}"
        )
    fastest = min(FASTEST.get(form.container, math.inf), codec.fastest or math.inf)
    if source.frame_rate > fastest:
        raise Refusal(
            f"{float(source.frame_rate):g} frames a second are given; {codec.title} ({form.container}) holds "
            f"{fastest} at most",
            field="fps",
        )
    if not works(codec):
        raise Refusal(f"{codec.title} does not work on this computer ({codec.encoder}); choose another", field="format")


def _timescale(source: FrameSource, form: Form, sound: Sound | None) -> int:
    """Ticks a second in which the container states how long its tracks last, so that whole frames and samples fit."""
    # the muxer's own 1000 rounds the length of the sound to the millisecond
    rate = 1000 if sound is None or form.sound_codec is None else rate_of(form.sound_codec, sound)
    ticks = math.lcm(source.frame_rate.numerator, rate)
    return ticks if ticks < 2**31 else 90_000


def _write(
    container: av.container.OutputContainer,
    source: FrameSource,
    form: Form,
    sound: Sound | None,
    subtitled: Sequence[Chapter],
    progress: Callable[[int, int], None] | None,
) -> int:
    stream = container.add_stream(form.codec.encoder, rate=source.frame_rate)
    encoder: Any = stream.codec_context
    _set_up(encoder, source, form)
    track = None
    if sound is not None and form.sound_codec is not None:
        track = SoundTrack(container, form.sound_codec, sound, source.frame_rate)
    subtitles = Subtitles(container, form.container, subtitled, source.frame_rate) if subtitled else None
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
        if subtitles:
            subtitles.reach(done)
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
        done = start
        for picture in ahead(pictures(source, _converter(source, form), start, stop)):
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
    asked = [form.codec.encoder, form.options, form.pixels, source.width, source.height, source.frame_rate, MADE]
    versions = [av.__version__, list(av.library_versions["libavcodec"])]
    return delivered(segments, Settings([asked, versions], encoder.extradata or b"", source.frame_rate), encode)


def _converter(source: FrameSource, form: Form) -> ToPixels:
    return Paletted(source) if form.codec is GIF else to_pixels(form.pixels)


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
    if form.codec.tag and form.container in ("mp4", "mov"):
        codec.codec_tag = form.codec.tag
    if form.pixels.startswith(("yuv", "nv")):
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED


def write_poster(source: FrameSource, path: Path) -> None:
    """Write the first frame of a film as a JPEG."""
    from PIL import Image

    with whole_file(path) as unfinished:
        for frame in in_8_bits(source, 0, 1):
            Image.fromarray(frame).save(unfinished, format="JPEG", quality=POSTER_QUALITY)


@contextmanager
def _whole_buffer(buffer: io.BytesIO) -> Iterator[io.BytesIO]:
    start = buffer.tell()
    try:
        yield buffer
    except BaseException:
        buffer.seek(start)
        buffer.truncate()
        raise
