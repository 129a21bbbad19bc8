"""What films are encoded with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import Refusal

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
        quality: None where nothing is lost.
        presets: what each asks of the encoder; the names are shown in this order.
        preset: the usual one.
        options: what is always asked of the encoder.
        joins: its packets can be put behind one another wherever a key frame was asked for.
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
    joins: bool = False


H264 = VideoCodec(
    "h264",
    "H.264",
    "libx264",
    ("mp4", "mkv"),
    {8: "yuv420p"},
    Quality("crf", 0, 51, 18),
    {name: {"preset": name} for name in X264_PRESETS},
    "medium",
    {"forced-idr": "1"},
    joins=True,
)

CODECS = {codec.name: codec for codec in (H264,)}


@dataclass(frozen=True)
class Form:
    """How a film is encoded.

    Args:
        quality: within the codec's range; None is the usual.
        preset: one of the codec's; empty is the usual.
        bits: of each channel, one of the codec's.

    Raises:
        Refusal: a setting that the codec has not.
    """

    codec: VideoCodec = H264
    container: str = "mp4"
    quality: float | None = None
    preset: str = ""
    bits: int = 8

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
        if self.bits not in codec.pixels:
            raise Refusal(
                f"{self.bits} is given; {codec.title} keeps {' or '.join(map(str, codec.pixels))} bits",
                field="bit_depth",
            )

    @property
    def pixels(self) -> str:
        return self.codec.pixels[self.bits]

    @property
    def options(self) -> dict[str, str]:
        """What is asked of the encoder, in FFmpeg's words."""
        codec = self.codec
        options = {**codec.options, **codec.presets.get(self.preset or codec.preset, {})}
        if codec.quality is not None:
            options[codec.quality.option] = f"{codec.quality.usual if self.quality is None else self.quality:g}"
        return options
