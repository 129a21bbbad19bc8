"""Encode Video: a film as a file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import Input, InputImpl, io, ui

from ..host.inputs import is_inside
from ..host.progress import say, watch_encoding
from ..pipelines.errors import Refusal
from ..pipelines.media.codecs import H264, PNG_ZIP, WEBP
from .forms import form_of, form_problem, format_input
from .types import FILM

if TYPE_CHECKING:
    import torch

    from ..pipelines.media.codecs import Form
    from ..pipelines.media.frames import FrameSource
    from ..pipelines.media.sound import Sound

InterpolationModel = io.Custom("INTERP_MODEL")  # of ComfyUI's Load Frame Interpolation Model
AS_RENDERED, MOVED, BLENDED, BY_MODEL = "as rendered", "motion", "blended", "by a model"

# Bytes of a file name that every file system takes, less the counter, the suffix and a part file's mark.
MAX_NAME = 200

# what a person means by these numbers: the NTSC rates, SMPTE 12M
NTSC = {23.976: 24, 29.97: 30, 47.952: 48, 59.94: 60, 119.88: 120}


class EncodeVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeEncodeVideo",
            display_name="Encode Video",
            category=FILM,
            description="Saves a video, or images with audio, with the workflow in it: as H.264 in mp4, or in any of "
            "many other forms. It encodes frame by frame, so that memory does not grow with length, and the file "
            "appears only when it is whole. Of a film that was saved before, only what has changed is encoded.",
            search_aliases=[
                "save video",
                "export video",
                "video combine",
                "mp4",
                "h264",
                "h265",
                "hevc",
                "av1",
                "webm",
                "prores",
                "gif",
                "webp",
                "apng",
                "png sequence",
                "nvenc",
            ],
            inputs=[
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The video to save, of Stitch Chain or any other node. Its frame rate and sound are kept.",
                ),
                io.Image.Input("images", optional=True, tooltip="Frames to save instead of a video."),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="Sound to save with the frames; it replaces that of the video. It ends with the picture: "
                    "longer is cut, shorter is followed by silence.",
                ),
                io.Float.Input(
                    "fps",
                    default=16.0,
                    min=0.01,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frames a second, for images only; a video brings its own. 23.976, 29.97 and 59.94 mean "
                    "24000/1001, 30000/1001 and 60000/1001.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="longtake/film",
                    tooltip="Name of the file in the output folder; may hold folders, %date:yyyy-MM-dd% and the like.",
                ),
                io.Float.Input(
                    "crf",
                    default=18.0,
                    min=0.0,
                    max=51.0,
                    step=1.0,
                    tooltip="Quality of H.264: lower is better and larger. 18 is hard to tell from the original, 23 is "
                    "about half the size; 0 keeps every code value and plays in few players.",
                ),
                io.Combo.Input(
                    "preset",
                    options=list(H264.presets),
                    default=H264.preset,
                    tooltip="Of H.264: slower presets make smaller files of the same quality.",
                ),
                format_input(),
                _rate_input(),
                *_beside_inputs(),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The saved file."),
                io.String.Output(display_name="path", tooltip="Where the file was saved."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None, *, format: Any = None, rate: Any = None) -> bool | str:
        """A film that could not be saved is not even queued; a linked prefix is not known yet and comes as None.

        ComfyUI puts what is said here on every input that can be given by position. By keyword it hands over what is
        nested, without its values, and leaves out what is no option.
        """
        if format is None:
            return f"format: {form_problem(None)}"
        problem = filename_prefix and _prefix_problem(filename_prefix)
        return f"filename_prefix: {problem}" if problem else True

    @classmethod
    def execute(
        cls,
        fps: float,
        filename_prefix: str,
        crf: float,
        preset: str,
        format: Mapping[str, Any],
        video: Input.Video | None = None,
        images: torch.Tensor | None = None,
        audio: Input.Audio | None = None,
        rate: Mapping[str, Any] | None = None,
        metadata: bool = True,
        subtitles: bool = False,
        poster: bool = False,
        clips: bool = False,
    ) -> io.NodeOutput:
        from ..pipelines.files.whole import CountedName
        from ..pipelines.media.chapters import chapters_of
        from ..pipelines.media.encode import encode, write_poster
        from ..pipelines.media.frames import Excerpt
        from ..pipelines.media.sound import SoundExcerpt, Waveform

        source, sound = _what_to_save(video, images, fps)
        if audio is not None:
            sound = Waveform(audio)
        source = _at_rate(source, rate or _unknown_rate(cls.hidden))
        chapters = chapters_of(source)
        if clips and not chapters:
            raise Refusal("the video has no stages; connect the video of Stitch Chain", field="clips")
        form = form_of(format, crf, preset)
        if problem := _prefix_problem(filename_prefix):
            raise Refusal(problem, field="filename_prefix")
        folder, filename, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), source.width, source.height
        )
        tags = _workflow(cls.hidden, source) if metadata else None
        film = CountedName(Path(folder), f"{filename}_", f"_.{form.container}", counter)
        encode(
            source,
            film,
            form,
            audio=sound,
            metadata=tags,
            chapters=chapters if subtitles or tags is not None else (),
            subtitles=subtitles,
            progress=watch_encoding(source.frame_count),
        )
        if poster:
            write_poster(source, film.path.with_suffix(".jpg"))
        for number, chapter in enumerate(chapters if clips else (), start=1):
            part = Excerpt(source, chapter.start, chapter.stop)
            heard = sound and SoundExcerpt.of_frames(sound, chapter.start, chapter.stop, source.frame_rate)
            path = film.path.with_name(f"{film.path.stem}stage_{number:02}.{form.container}")
            encode(part, path, form, audio=heard, metadata=tags, progress=watch_encoding(part.frame_count))
        say(cls.hidden.unique_id, f"{source.frame_count} frames, {float(source.frame_count / source.frame_rate):.2f} s")
        shown = ui.PreviewVideo([ui.SavedResult(film.name, subfolder, io.FolderType.output)])
        return io.NodeOutput(
            _saved(str(film.path), form, source, sound), str(film.path), ui=None if form.codec is PNG_ZIP else shown
        )


def _saved(path: str, form: Form, source: FrameSource, sound: Sound | None) -> Input.Video:
    """The saved film as a video."""
    from ..pipelines.media.video import LazyVideo
    from ..pipelines.media.video_file import SoundTrack, VideoFile

    if form.container in ("mp4", "mov"):
        return InputImpl.VideoFromFile(path)
    if form.codec in (WEBP, PNG_ZIP):  # FFmpeg reads neither
        return LazyVideo(source, sound, watch_encoding)
    # ComfyUI counts one frame in files that do not say how many they have.
    return LazyVideo(VideoFile(path), SoundTrack.of(path), watch_encoding)


def _rate_input() -> io.DynamicCombo.Input:
    fps = io.Float.Input(
        "fps",
        default=32.0,
        min=1.0,
        max=240.0,
        step=0.001,
        tooltip="Frames a second of the film. 23.976, 29.97 and 59.94 mean the exact NTSC rates.",
    )
    model = InterpolationModel.Input("interpolation_model", tooltip="Of Load Frame Interpolation Model: RIFE or FILM.")
    return io.DynamicCombo.Input(
        "rate",
        options=[
            io.DynamicCombo.Option(AS_RENDERED, []),
            io.DynamicCombo.Option(MOVED, [fps]),
            io.DynamicCombo.Option(BLENDED, [fps]),
            io.DynamicCombo.Option(BY_MODEL, [fps, model]),
        ],
        optional=True,
        tooltip="Frames between those that were rendered, so that motion is smoother; the film lasts as long. Motion: "
        "what moves is moved on, about 10 frames of 1280x720 a second. Blended: each is a mix of two, which is quick. "
        "By a model: on the GPU, and all of the film is then encoded each time.",
    )


def _at_rate(source: FrameSource, rate: Mapping[str, Any] | None) -> FrameSource:
    """Frames at the rate that the node's input asks for."""
    from ..pipelines.media.frame_model import ByModel
    from ..pipelines.media.interpolate import Blended, Interpolated, Motion

    if rate is None or rate["rate"] == AS_RENDERED:
        return source
    frame_rate = _frame_rate(rate["fps"])
    if frame_rate == source.frame_rate:
        return source
    if rate["rate"] == BY_MODEL:
        return Interpolated(source, frame_rate, ByModel(rate["interpolation_model"]))
    return Interpolated(source, frame_rate, Motion() if rate["rate"] == MOVED else Blended())


def _unknown_rate(hidden: io.HiddenHolder) -> Mapping[str, Any] | None:
    """Raise `Refusal` for a rate that is no option: ComfyUI leaves it out. One that is not asked for is as rendered."""
    rate = (hidden.prompt or {}).get(hidden.unique_id, {}).get("inputs", {}).get("rate")
    if rate is not None:
        ways = ", ".join((AS_RENDERED, MOVED, BLENDED, BY_MODEL))
        raise Refusal(f"{rate!r} is given; one of {ways} is needed", field="rate")
    return None


def _beside_inputs() -> list[io.Input]:
    """What is written into the file, and beside it."""

    def choice(name: str, default: bool, tooltip: str) -> io.Boolean.Input:
        return io.Boolean.Input(name, default=default, optional=True, advanced=True, tooltip=tooltip)

    return [
        choice(
            "metadata",
            True,
            "The workflow, so that a file dropped on the canvas gives it back, the chain, so that Load Chain opens it "
            "by the name of the file, and a chapter for each stage in mp4, mkv, mov and webm. Off: none of it.",
        ),
        choice("subtitles", False, "A track that shows the prompt of each stage, in mp4, mkv, mov and webm."),
        choice("poster", False, "The first frame as a JPEG beside the film."),
        choice("clips", False, "Each stage also as a file of its own beside the film."),
    ]


def _prefix_problem(prefix: str) -> str:
    """Why no file can be saved under a prefix, as far as that can be told beforehand; empty where one can."""
    output = os.path.realpath(folder_paths.get_output_directory())
    if any(ord(character) < 32 for character in prefix):
        return f"{prefix!r} holds a character that no file name may have."
    parts = os.path.normpath(prefix).split(os.sep)
    if max(len(part.encode(errors="replace")) for part in parts) > MAX_NAME:
        return f"{prefix[:40]!r}... is too long; a name has {MAX_NAME} bytes at most."
    folder = os.path.realpath(os.path.join(output, os.path.dirname(os.path.normpath(prefix))))
    if not is_inside(folder, output):
        return f"{prefix!r} leads out of ComfyUI's output folder; files are saved in it alone."
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        return f"{prefix!r} leads through {os.path.basename(folder)!r}, which is a file and no folder."
    if not os.access(folder, os.W_OK):
        return f"{prefix!r} leads into a folder that cannot be written, {folder}."
    return ""


def _what_to_save(
    video: Input.Video | None, images: torch.Tensor | None, fps: float
) -> tuple[FrameSource, Sound | None]:
    from ..pipelines.media.frames import Images
    from ..pipelines.media.video import frames_and_sound

    if (video is None) == (images is None):
        which = "both are" if video is not None else "neither is"
        raise Refusal(f"{which} given; connect either a video or images", field="video, images")
    return frames_and_sound(video) if video is not None else (Images(images, _frame_rate(fps)), None)


def _frame_rate(fps: float) -> Fraction:
    if not (math.isfinite(fps) and fps >= 0.001):
        raise Refusal(f"{fps} is given; a positive number of frames a second is needed", field="fps")
    thousandths = round(fps, 3)
    if thousandths in NTSC:
        return Fraction(NTSC[thousandths] * 1000, 1001)
    return Fraction(round(thousandths * 1000), 1000)


def _workflow(hidden: io.HiddenHolder, source: FrameSource) -> dict | None:
    """What ComfyUI writes into its own files, so that a dropped file gives back its workflow, and the film's chain."""
    if args.disable_metadata:
        return None
    prompt = {"prompt": hidden.prompt} if hidden.prompt is not None else {}
    return {**(hidden.extra_pnginfo or {}), **prompt, **getattr(source, "tags", {})}


NODES = [EncodeVideo]
