"""ComfyUI's VIDEO, made lazily from frames and read back as frames."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Any

import folder_paths
import torch
from comfy_api.latest import Input, InputImpl, Types

from ..errors import Refusal
from .codecs import AV1, FFV1, H264, H265, PRORES, VP9, Form
from .encode import encode
from .frames import Excerpt, FrameSource, Images, as_images
from .geometry import Cropped, Resized
from .sound import Sound, SoundExcerpt, Waveform
from .video_file import SoundTrack, VideoFile

Watch = Callable[[int], Callable[[int, int], None]]
# What a container holds where no codec is named, and what ComfyUI and people call the codecs.
USUAL_CODECS = {"mp4": H264, "mkv": H264, "mov": H264, "webm": AV1}
NAMES = {"h264": H264, "h265": H265, "hevc": H265, "av1": AV1, "vp9": VP9, "prores": PRORES, "ffv1": FFV1}


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
        format: Types.VideoContainer | str = "auto",
        codec: Types.VideoCodec | str = "auto",
        metadata: dict | None = None,
        bit_depth: int | None = None,
        crf: float | None = None,
        color_space: str | None = None,
        preset: str | None = None,
        **unknown: Any,
    ) -> None:
        """Encode to a file or a buffer, frame by frame.

        Args:
            format: auto is what the name of the file ends in, or mp4.
            codec: auto is what plays everywhere in the container.
            preset: of H.264, and nothing to others, as for ComfyUI's own videos.
            unknown: what later versions of ComfyUI may ask for; it goes without.

        Raises:
            Refusal: a container, codec, bit depth or colour space that there is not.
        """
        if color_space not in (None, "auto", "sRGB"):
            raise Refusal(f"{color_space} is given; the pixels of a Longtake film are sRGB", field="color_space")
        form = _form(path, _text(format), _text(codec), bit_depth, crf, preset)
        encode(
            self.source,
            path,
            form,
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
        return LazyVideo(
            Excerpt(self.source, first, stop),
            self.sound and SoundExcerpt.of_frames(self.sound, first, stop, rate),
            self.watch,
        )

    def as_cropped(self, x: int = 0, y: int = 0, width: int = 0, height: int = 0) -> LazyVideo:
        """The part of the picture in a rectangle, brought into it and to even numbers, as ComfyUI's own videos do.

        An empty rectangle, and one that holds all of it, leave the video as it is.
        """
        x, y = (min(max(int(at), 0), side - 1) // 2 * 2 for at, side in zip((x, y), self.get_dimensions(), strict=True))
        width, height = min(int(width), self.source.width - x), min(int(height), self.source.height - y)
        if width <= 0 or height <= 0 or (width, height) == self.get_dimensions():
            return self
        width, height = width // 2 * 2, height // 2 * 2
        if not (width and height):
            return self
        return LazyVideo(Cropped(self.source, x, y, width, height), self.sound, self.watch)

    def as_resized(
        self,
        width: int,
        height: int,
        upscale_method: str,
        crop: str = "disabled",
        post_crop: tuple[int, int, int, int] | None = None,
    ) -> LazyVideo:
        """The picture at another size, as ComfyUI's nodes scale images.

        Args:
            post_crop: x, y, width and height of what is kept of that.
        """
        source: FrameSource = Resized(self.source, int(width), int(height), upscale_method, crop)
        if post_crop is not None:
            source = Cropped(source, *(int(value) for value in post_crop))
        return LazyVideo(source, self.sound, self.watch)

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

    def get_bit_depth(self) -> int:
        return 8  # as it is saved where nothing else is asked; its frames have 16

    def get_color_space(self) -> str:
        return "sRGB"

    def has_pending_frame_edits(self) -> bool:
        return False  # what it streams is what it shows

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
    # A video of a newer ComfyUI may be cropped or resized, which the file behind it is not.
    edited = getattr(video, "has_pending_frame_edits", None)
    if isinstance(video, InputImpl.VideoFromComponents) or (edited is not None and edited()):
        components = video.get_components()
        images = Images(components.images, Fraction(components.frame_rate))
        return images, Waveform(components.audio) if components.audio else None
    file, window = video.get_stream_source(), video.get_active_trim_window()
    return VideoFile(file, *window), SoundTrack.of(file, *window)


def _text(choice: Any) -> str:
    """What an enum of ComfyUI, of whatever version, or a text says."""
    return str(getattr(choice, "value", choice) or "auto").lower()


def _form(path: Any, container: str, codec: str, bits: int | None, crf: float | None, preset: str | None) -> Form:
    """The form that ComfyUI asks for."""
    suffix = os.path.splitext(path)[1].lower().lstrip(".") if isinstance(path, (str, os.PathLike)) else ""
    named = {"m4v": "mp4"}.get(suffix, suffix)
    if container == "auto":
        container = named or "mp4"
    usual = USUAL_CODECS.get(container)
    if usual is None:
        raise Refusal(f"{container} is given; a film is saved as {', '.join(USUAL_CODECS)}", field="format")
    if named in USUAL_CODECS and named != container:
        raise Refusal(f"{os.path.basename(path)} is no name for an {container} file", field="filename_prefix")
    chosen = usual if codec == "auto" else NAMES.get(codec)
    if chosen is None:
        raise Refusal(f"{codec} is given; a film is saved with {', '.join(NAMES)}", field="codec")
    return Form(chosen, container, crf, preset or "" if chosen is H264 else "", bits or 0)


def _decimal(seconds: float) -> Fraction:
    """A time as the decimal a person wrote, to the microsecond: 0.1 s is 1/10 s, so it falls on its frame."""
    return Fraction(round(seconds * 1_000_000), 1_000_000)
