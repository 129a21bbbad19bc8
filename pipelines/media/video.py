"""ComfyUI's VIDEO, made lazily from frames and read back as frames."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from fractions import Fraction
from math import ceil

import folder_paths
import torch
from comfy_api.latest import Input, InputImpl, Types

from ..errors import Refusal
from .codecs import Form
from .encode import encode
from .frames import Excerpt, FrameSource, Images, as_images
from .sound import Sound, SoundExcerpt, Waveform
from .video_file import SoundTrack, VideoFile

Watch = Callable[[int], Callable[[int, int], None]]
SUFFIXES = ("", ".mp4", ".m4v")


class LazyVideo(Input.Video):
    """A VIDEO whose frames are made while it is read; saving it takes the same memory however long it is.

    Args:
        source: the frames.
        sound: what is heard with them, or None.
        watch: gives, for a number of frames, what is told of each that is encoded and may raise to cancel.
    """

    def __init__(self, source: FrameSource, sound: Sound | None = None, watch: Watch | None = None):
        self.source = source
        self.sound = sound
        self.watch = watch
        self._encoded: str | None = None

    def get_components(self) -> Types.VideoComponents:
        """All frames as one IMAGE `[T, H, W, 3]` float32 0..1, and the sound: everything in memory at once."""
        audio = None
        if self.sound is not None:
            waveform = torch.cat([torch.from_numpy(block) for block in self.sound.blocks()], dim=1)[None]
            audio = {"waveform": waveform, "sample_rate": self.sound.sample_rate}
        return Types.VideoComponents(images=as_images(self.source), audio=audio, frame_rate=self.source.frame_rate)

    def save_to(
        self,
        path: str | io.BytesIO,
        format: Types.VideoContainer = Types.VideoContainer.AUTO,
        codec: Types.VideoCodec = Types.VideoCodec.AUTO,
        metadata: dict | None = None,
        bit_depth: int | None = None,
        crf: float | None = None,
    ) -> None:
        """Encode to mp4 with H.264 and AAC, frame by frame.

        Raises:
            Refusal: another container, codec or bit depth, or a file name that does not end in mp4.
        """
        if format not in (Types.VideoContainer.AUTO, Types.VideoContainer.MP4):
            raise Refusal(f"{format} is given; a Longtake film is saved as mp4", field="format")
        if codec not in (Types.VideoCodec.AUTO, Types.VideoCodec.H264):
            raise Refusal(f"{codec} is given; a Longtake film is saved with h264", field="codec")
        if bit_depth not in (None, 8):
            raise Refusal(f"{bit_depth} is given; a Longtake film is saved with 8 bits", field="bit_depth")
        if isinstance(path, (str, os.PathLike)) and os.path.splitext(path)[1].lower() not in SUFFIXES:
            raise Refusal(f"{os.path.basename(path)} is no name for an mp4 file", field="filename_prefix")
        encode(
            self.source,
            path,
            Form(quality=crf),
            audio=self.sound,
            metadata=metadata,
            progress=None if self.watch is None else self.watch(self.source.frame_count),
        )

    def as_trimmed(
        self, start_time: float | None = None, duration: float | None = None, strict_duration: bool = False
    ) -> LazyVideo | None:
        """The frames shown from `start_time` for `duration` seconds, as ComfyUI's own videos count them.

        Args:
            start_time: seconds; negative counts from the end.
            duration: seconds; 0 or None to the end.
            strict_duration: give None rather than less than `duration`.

        Returns:
            A video that is as lazy as this one; None where no frame is left.
        """
        rate, count = self.source.frame_rate, self.source.frame_count
        start = _decimal(start_time or 0)
        if start < 0:
            start = max(count / rate + start, Fraction(0))
        first = ceil(start * rate)
        stop = ceil((start + _decimal(duration)) * rate) if duration else count
        if first >= min(stop, count) or (strict_duration and stop > count):
            return None
        stop = min(stop, count)
        return LazyVideo(Excerpt(self.source, first, stop), _excerpt(self.sound, first, stop, rate), self.watch)

    def get_stream_source(self) -> str:
        """A file in ComfyUI's temp folder, encoded when it is first asked for: a film is no thing to hold in memory."""
        if self._encoded is None or not os.path.exists(self._encoded):
            folder = folder_paths.get_temp_directory()
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, f"longtake_{uuid.uuid4().hex}.mp4")
            self.save_to(path)
            self._encoded = path
        return self._encoded

    def get_dimensions(self) -> tuple[int, int]:
        return self.source.width, self.source.height

    def get_frame_count(self) -> int:
        return self.source.frame_count

    def get_frame_rate(self) -> Fraction:
        return self.source.frame_rate

    def get_duration(self) -> float:
        return float(self.source.frame_count / self.source.frame_rate)

    def get_container_format(self) -> str:
        return "mov,mp4,m4a,3gp,3g2,mj2"  # what FFmpeg calls an mp4, without encoding one to ask it


def frames_and_sound(video: Input.Video) -> tuple[FrameSource, Sound | None]:
    """Read any VIDEO as a stream of frames and its sound."""
    if isinstance(video, LazyVideo):
        return video.source, video.sound
    if isinstance(video, InputImpl.VideoFromComponents):
        components = video.get_components()
        images = Images(components.images, Fraction(components.frame_rate))
        return images, Waveform(components.audio) if components.audio else None
    file, window = video.get_stream_source(), video.get_active_trim_window()
    return VideoFile(file, *window), SoundTrack.of(file, *window)


def _decimal(seconds: float) -> Fraction:
    """A time as the decimal a person wrote, to the microsecond: 0.1 s is 1/10 s, so it falls on its frame."""
    return Fraction(round(seconds * 1_000_000), 1_000_000)


def _excerpt(sound: Sound | None, first: int, stop: int, rate: Fraction) -> Sound | None:
    if sound is None:
        return None
    samples = sound.sample_rate / rate
    return SoundExcerpt(sound, round(first * samples), round(stop * samples))
