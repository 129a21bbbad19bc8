"""Look into a delivered video file."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True)
class Film:
    """What decoding a whole file shows: frames and samples counted, not read from a header.

    Attributes:
        metadata: of the container.
        audio_rate, samples: samples a second and samples of each channel of the first audio stream; 0 without one.
    """

    frames: int
    fps: Fraction
    width: int
    height: int
    codec: str
    metadata: dict[str, str]
    audio_rate: int = 0
    samples: int = 0

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.fps


def look_into(path: Path) -> Film:
    """Decode every frame of `path`; raises av.FFmpegError where that fails."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        return Film(
            frames,
            Fraction(stream.average_rate or 0),
            stream.width,
            stream.height,
            stream.codec_context.name,
            dict(container.metadata),
            *_sound(path),
        )


def _sound(path: Path) -> tuple[int, int]:
    import av

    with av.open(str(path)) as container:
        if not container.streams.audio:
            return 0, 0
        stream = container.streams.audio[0]
        return stream.sample_rate, sum(frame.samples for frame in container.decode(stream))
