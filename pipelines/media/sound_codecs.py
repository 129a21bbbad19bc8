"""What films can be encoded with: sound."""

from __future__ import annotations

from dataclasses import dataclass

# ISO/IEC 14496-3 table 1.18, the rates an AAC file can name
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


@dataclass(frozen=True)
class SoundCodec:
    """An encoder of sound.

    Args:
        name: what graphs call it.
        title: what people call it.
        encoder: what FFmpeg calls it.
        containers: what it can be put in.
        rates: samples a second that it can name; empty is any.
        rate: what sound of another rate is brought to; None refuses it.
        bits_a_second: of each channel; 0 where nothing is lost.
    """

    name: str
    title: str
    encoder: str
    containers: tuple[str, ...]
    rates: tuple[int, ...] = ()
    rate: int | None = None
    bits_a_second: int = 0


# The first that a container can hold is its usual one.
SOUND_CODECS = {
    codec.name: codec
    for codec in (
        SoundCodec("aac", "AAC", "aac", ("mp4", "mov", "mkv"), AAC_RATES, None, 96_000),
        SoundCodec(
            "opus", "Opus", "libopus", ("webm", "mkv", "mp4"), (48000, 24000, 16000, 12000, 8000), 48000, 80_000
        ),
        SoundCodec("flac", "FLAC", "flac", ("mkv", "mp4")),
        SoundCodec("pcm", "PCM", "pcm_s24le", ("mov", "mkv")),
    )
}
