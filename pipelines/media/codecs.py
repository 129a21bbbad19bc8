"""What films can be encoded with: pictures."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ..errors import Refusal
from .sound_codecs import SOUND_CODECS, SoundCodec

X264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class Quality:
    """The number that trades quality for size.

    Args:
        option: FFmpeg's name of it.
        best, worst: the ends of its range.
        usual: where it is hard to tell the film from its original.
    """

    option: str
    best: float
    worst: float
    usual: float


@dataclass(frozen=True)
class VideoCodec:
    """An encoder of pictures.

    Args:
        name: what graphs call it.
        title: what people call it.
        encoder: what FFmpeg calls it.
        containers: what it can be put in, the usual first.
        pixels: FFmpeg's pixel format for each number of bits it can keep, the usual first.
        quality: None where nothing is lost, or the preset says it all.
        presets: what each asks of the encoder; the names are shown in this order.
        preset: the usual one.
        options: what is always asked of the encoder.
        tag: what an mp4 calls it, where FFmpeg's usual name is not understood everywhere.
        joins: its packets can be put behind one another wherever a key frame was asked for.
        fastest: frames a second that it takes at most; 0 is any.
        hardware: it needs a part of the computer that may not be there.
    """

    name: str
    title: str
    encoder: str
    containers: tuple[str, ...]
    pixels: Mapping[int, str]
    quality: Quality | None = None
    presets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    preset: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""
    joins: bool = False
    fastest: int = 0
    hardware: bool = False

    @property
    def multiples(self) -> tuple[int, int]:
        """What width and height must be multiples of, for colours that are kept for several pixels together."""
        pixels = "".join(self.pixels.values())
        return (2, 2) if "420" in pixels or "nv12" in pixels else (2, 1) if "422" in pixels else (1, 1)


_LOW_10 = {8: "yuv420p", 10: "yuv420p10le"}

H264 = VideoCodec(
    "h264",
    "H.264",
    "libx264",
    ("mp4", "mkv", "mov"),
    _LOW_10,
    Quality("crf", 0, 51, 18),
    {name: {"preset": name} for name in X264_PRESETS},
    "medium",
    {"forced-idr": "1"},
    joins=True,
)
H265 = VideoCodec(
    "h265",
    "H.265",
    "libx265",
    ("mp4", "mkv", "mov"),
    _LOW_10,
    Quality("crf", 0, 51, 22),
    {name: {"preset": name} for name in X264_PRESETS},
    "medium",
    {"x265-params": "log-level=error"},
    tag="hvc1",
)
AV1 = VideoCodec(
    "av1",
    "AV1",
    "libsvtav1",
    ("mp4", "webm", "mkv"),
    _LOW_10,
    Quality("crf", 0, 63, 28),
    {"fast": {"preset": "10"}, "medium": {"preset": "8"}, "slow": {"preset": "6"}, "slower": {"preset": "4"}},
    "medium",
    fastest=240,
)
VP9 = VideoCodec(
    "vp9",
    "VP9",
    "libvpx-vp9",
    ("webm", "mkv", "mp4"),
    {8: "yuv420p"},
    Quality("crf", 0, 63, 28),
    {
        "fast": {"deadline": "realtime", "cpu-used": "7"},
        "medium": {"deadline": "good", "cpu-used": "4"},
        "slow": {"deadline": "good", "cpu-used": "2"},
    },
    "medium",
    {"b": "0", "row-mt": "1"},
)
PRORES = VideoCodec(
    "prores",
    "ProRes",
    "prores_ks",
    ("mov", "mkv"),
    {10: "yuv422p10le"},
    None,
    {name: {"profile": str(number)} for number, name in enumerate(("proxy", "light", "standard", "high"))},
    "high",
    {"vendor": "apl0"},
)
FFV1 = VideoCodec(
    "ffv1", "FFV1", "ffv1", ("mkv",), {8: "bgr0", 16: "gbrp16le"}, options={"level": "3", "slicecrc": "1"}
)
WEBP = VideoCodec(
    "webp",
    "animated WebP",
    "libwebp_anim",
    ("webp",),
    {8: "bgra"},  # it makes YUV itself, and not of BT.709
    Quality("quality", 100, 0, 90),
)
APNG = VideoCodec("apng", "APNG", "apng", ("apng",), {8: "rgb24", 16: "rgb48be"})
GIF = VideoCodec("gif", "GIF", "gif", ("gif",), {8: "pal8"})
PNG_ZIP = VideoCodec("png", "PNG files in a ZIP", "png", ("zip",), {8: "rgb24", 16: "rgb48be"})


def _of_hardware(family: str, title: str, quality: Quality, options: Mapping[str, str]) -> list[VideoCodec]:
    names = {"h264": "H.264", "hevc": "H.265", "av1": "AV1"}
    return [
        VideoCodec(
            f"{codec}_{family}",
            f"{name} by {title}",
            f"{codec}_{family}",
            ("mp4", "mkv"),
            {8: "nv12"},
            quality,
            options=options,
            tag="hvc1" if codec == "hevc" else "",
            hardware=True,
        )
        for codec, name in names.items()
    ]


HARDWARE = [
    *_of_hardware("nvenc", "an NVIDIA GPU", Quality("cq", 1, 51, 19), {"rc": "vbr", "b": "0", "preset": "p5"}),
    *_of_hardware("qsv", "an Intel GPU", Quality("global_quality", 1, 51, 20), {}),
    *_of_hardware("amf", "an AMD GPU", Quality("qp_i", 0, 51, 20), {"rc": "cqp"}),
    *_of_hardware("videotoolbox", "a Mac", Quality("q:v", 100, 1, 65), {}),
]
CODECS = {codec.name: codec for codec in (H264, H265, AV1, VP9, PRORES, FFV1, WEBP, APNG, GIF, PNG_ZIP, *HARDWARE)}


def works(codec: VideoCodec) -> bool:
    """Whether a frame goes through an encoder: being listed by FFmpeg says nothing of the computer."""
    return _works(codec.name)


@cache
def _works(name: str) -> bool:
    from fractions import Fraction

    import av

    codec = CODECS[name]
    if codec is PNG_ZIP or codec is GIF:
        return True
    try:
        encoder: Any = av.VideoCodecContext.create(codec.encoder, "w")
        encoder.width = encoder.height = 256
        encoder.pix_fmt = next(iter(codec.pixels.values()))
        encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
        encoder.options = Form(codec, codec.containers[0]).options
        picture = av.VideoFrame(256, 256, encoder.pix_fmt)
        picture.pts = 0
        return bool([*encoder.encode(picture), *encoder.encode(None)])
    except (av.error.FFmpegError, ValueError, LookupError, OSError):
        return False


def on_this_computer() -> list[VideoCodec]:
    """Encoders in hardware that a frame has gone through so far; those not tried yet are tried in a thread."""
    if not _trying:
        _trying.append(threading.Thread(target=_try, name="longtake-encoders", daemon=True))
        _trying[0].start()
    return list(_found)


def _try() -> None:
    for codec in HARDWARE:
        if works(codec):
            _found.append(codec)


_found: list[VideoCodec] = []
_trying: list[threading.Thread] = []


@dataclass(frozen=True)
class Form:
    """How a film is encoded.

    Args:
        quality: within the codec's range; None is the usual.
        preset: one of the codec's; empty is the usual.
        bits: of each channel, one of the codec's; 0 is the usual.
        sound: how its sound is; None is the container's usual.

    Raises:
        Refusal: a setting that the codec has not.
    """

    codec: VideoCodec = H264
    container: str = "mp4"
    quality: float | None = None
    preset: str = ""
    bits: int = 0
    sound: SoundCodec | None = None

    def __post_init__(self) -> None:
        codec, quality = self.codec, self.codec.quality
        if self.container not in codec.containers:
            raise Refusal(
                f"{self.container} is given; {codec.title} is saved in {', '.join(codec.containers)}", field="format"
            )
        if self.quality is not None and quality is not None:
            low, high = sorted((quality.best, quality.worst))
            if not (math.isfinite(self.quality) and low <= self.quality <= high):
                raise Refusal(
                    f"{self.quality} is given; {codec.title} takes {quality.best:g} (best) to {quality.worst:g}",
                    field=quality.option,
                )
        if self.preset and self.preset not in codec.presets:
            raise Refusal(f"{self.preset!r} is given; one of {', '.join(codec.presets)} is needed", field="preset")
        if self.bits and self.bits not in codec.pixels:
            raise Refusal(
                f"{self.bits} is given; {codec.title} keeps {' or '.join(map(str, codec.pixels))} bits",
                field="bit_depth",
            )
        if self.sound is not None and self.container not in self.sound.containers:
            fitting = [sound.title for sound in SOUND_CODECS.values() if self.container in sound.containers]
            can = f"{self.container} holds {', '.join(fitting)}" if fitting else f"{self.container} holds no sound"
            raise Refusal(f"{self.sound.title} is given; {can}", field="sound")

    @property
    def pixels(self) -> str:
        return self.codec.pixels[self.bits or next(iter(self.codec.pixels))]

    @property
    def sound_codec(self) -> SoundCodec | None:
        """What its sound is encoded with; None where its container holds none."""
        usual = (sound for sound in SOUND_CODECS.values() if self.container in sound.containers)
        return self.sound or next(usual, None)

    @property
    def options(self) -> dict[str, str]:
        """What is asked of the encoder, in FFmpeg's words."""
        codec = self.codec
        options = {**codec.options, **codec.presets.get(self.preset or codec.preset, {})}
        if codec.quality is not None:
            options[codec.quality.option] = f"{codec.quality.usual if self.quality is None else self.quality:g}"
        return options
