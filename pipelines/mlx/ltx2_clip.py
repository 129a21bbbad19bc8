"""A clip of LTX-2 rendered by the command ltx-2-mlx: what is asked, what the command is told, what comes back."""

from __future__ import annotations

import os
import shutil
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..errors import Refusal
from ..files.whole import forget_oldest, whole_file
from ..identity import Source, Unidentified, digest
from ..media.footage import Footage
from ..media.frames import Excerpt, FrameSource, as_images
from ..media.joined import Joined, JoinedSound
from ..media.sound import Sound, SoundExcerpt
from ..media.video_file import SoundTrack, VideoFile
from ..timeline.clips import Grid
from .leashed import run
from .ltx2_command import OFFLINE, Command
from .ltx2_tasks import Passes, Task
from .process import MlxFailed

GRID = Grid(8)
LIMIT = 16 * 2**30  # bytes of kept clips: thousands of them
SHORTEST = 9  # frames of a video that the command reads
SINGLE, DOUBLE = 32, 64  # pixels that sides are a multiple of: in one pass, in two


Told = Callable[[str], None]


@dataclass(frozen=True)
class Clip:
    """A clip as it is asked for.

    Args:
        weights, text_encoder: folders in the layout of MLX.
        frames: that are added or made.
        start, stop: frames of the video that are rendered anew.
        context: frames of the video's end that are gone on from.
        steps, cfg: 0 leaves them to the command.
        image: what the clip begins with.
        video: at the film's size and rate.
    """

    task: Task
    weights: str
    text_encoder: str
    prompt: str
    seed: int
    width: int
    height: int
    frame_rate: Fraction
    frames: int = 0
    start: int = 0
    stop: int = 0
    context: int = 0
    new_sound: bool = True
    passes: Passes = Passes.TWO
    steps: int = 0
    cfg: float = 0.0
    low_memory: bool = False
    image: FrameSource | None = None
    sound: Sound | None = None
    video: Footage | None = None

    @property
    def rendered(self) -> int:
        """Frames of the file that the command writes."""
        if self.task is Task.RETAKE:
            return GRID.neighbours(self.footage.source.frame_count)[0]
        if self.task is Task.END:
            return self.context + 8 * self.slots
        return GRID.ceil(self.frames + (1 if self.task is Task.LAST_FRAME else 0))

    @property
    def slots(self) -> int:
        """Latents that `extend` adds."""
        return -(-self.frames // 8)

    @property
    def footage(self) -> Footage:
        if self.video is None:
            raise Refusal(f"a clip {self.task.value} needs a video; connect one.", field="video")
        return self.video

    @property
    def anew(self) -> tuple[int, int]:
        """The latents [first, stop) that hold the frames rendered anew."""
        return -(-self.start // 8), -(-(self.stop - 1) // 8) + 1


def options_of(clip: Clip) -> list[tuple[str, str | None]]:
    """The options that the command is told, but for those that name files: option, value.

    Values are joined to their option by "=", so that a prompt may begin with a dash.
    """
    options: list[tuple[str, str | None]] = [
        ("--model", clip.weights),
        ("--gemma", clip.text_encoder),
        ("--prompt", clip.prompt),
        ("--seed", str(clip.seed)),
    ]
    makes_all = clip.task.subcommand in ("generate", "a2v")
    if makes_all:
        options += [("--width", str(clip.width)), ("--height", str(clip.height)), ("--frames", str(clip.rendered))]
        options += [("--frame-rate", str(float(clip.frame_rate)))]
    if clip.task.subcommand == "generate":
        options += [(clip.passes.option, None)]
    if clip.task is Task.END:
        options += [("--extend-frames", str(clip.slots)), ("--direction", "after")]
    if clip.task is Task.RETAKE:
        first, stop = clip.anew
        options += [("--start", str(first)), ("--end", str(stop))]
        options += [] if clip.new_sound else [("--no-regen-audio", None)]
    if clip.steps:
        # Of generate, --steps counts in one pass alone, and nothing says so where there are two.
        options += [("--stage1-steps" if makes_all else "--steps", str(clip.steps))]
    if clip.cfg:
        options += [("--cfg-scale", str(clip.cfg))]
    return [*options, *([("--low-ram", None)] if clip.low_memory else [])]


def files_of(clip: Clip) -> list[str]:
    """The options that name files."""
    reads = {Task.SOUND: ["--audio"], Task.END: ["--video"], Task.RETAKE: ["--video"]}.get(clip.task, [])
    return [*reads, *(["--image"] if clip.image is not None or clip.task is Task.LAST_FRAME else []), "--output"]


def check(clip: Clip, command: Command) -> None:
    """Raise `Refusal`, naming what would do, for what the command cannot render or this clip does not need."""
    task = clip.task
    takes = {Task.GENERATE: {"image"}, Task.SOUND: {"image", "sound"}}.get(task, {"video"})
    for name, value in (("image", clip.image), ("sound", clip.sound), ("video", clip.video)):
        if value is not None and name not in takes:
            raise Refusal(f"a clip {task.value} takes none; unplug it or choose another task.", field=name)
    if task is Task.SOUND and clip.sound is None:
        raise Refusal("a clip to a sound needs one; connect one.", field="sound")
    if task is not Task.RETAKE and clip.frames < 1:
        raise Refusal("less than a frame is asked for; give more seconds.", field="seconds")
    if task.subcommand == "generate" and clip.passes is Passes.DISTILLED and clip.cfg:
        raise Refusal(f"cfg {clip.cfg} given; distilled takes no guidance. Give 0 or other passes.", field="cfg")
    _check_size(clip)
    if "video" in takes:
        _check_video(clip)
    command.check(task.subcommand, [*(name for name, _ in options_of(clip)), *files_of(clip)])


def _check_size(clip: Clip) -> None:
    two = clip.task is Task.SOUND or (clip.task.subcommand == "generate" and clip.passes is not Passes.ONE)
    step, passes = (DOUBLE, "two passes") if two else (SINGLE, "one pass")
    for field, side in (("width", clip.width), ("height", clip.height)):
        if side % step:
            below = side // step * step
            raise Refusal(
                f"{side} given; in {passes} the command renders multiples of {step}, as {max(below, step)} or "
                f"{below + step}.",
                field=field,
            )


def _check_video(clip: Clip) -> None:
    frames = clip.footage.source.frame_count
    if clip.task is Task.END and not (GRID.contains(clip.context) and SHORTEST <= clip.context <= frames):
        raise Refusal(
            f"{clip.context} given; 8n+1 frames from {SHORTEST} on are needed, and the video has {frames}.",
            field="context_frames",
        )
    if clip.task is Task.RETAKE:
        if frames < SHORTEST:
            raise Refusal(f"it has {frames} frames; the command reads {SHORTEST} or more.", field="video")
        reach = GRID.neighbours(frames)[0]
        if not 0 <= clip.start < clip.stop <= reach:
            raise Refusal(
                f"{float(clip.start / clip.frame_rate):.2f} to {float(clip.stop / clip.frame_rate):.2f} s given; the "
                f"command reaches the video's first {float(reach / clip.frame_rate):.2f} s, in whole latents.",
                field="end_seconds",
            )


def key_of(clip: Clip, command: Command) -> str:
    """64 hex digits for all that can change a clip: what is asked, what its files hold, and the command.

    Raises:
        Refusal: a file cannot be read.
    """
    folders = [_source(folder) for folder in (clip.weights, clip.text_encoder)]
    asked = {name: value for name, value in vars(clip).items() if name not in ("weights", "text_encoder")}
    told = [(name, value) for name, value in options_of(clip) if name not in ("--model", "--gemma")]
    try:
        return digest(["longtake.ltx2mlx.v1", asked, told, folders, command.version, command.offers])
    except Unidentified as error:
        raise Refusal(f"{error}.", field="video") from error


def _source(folder: str) -> Source:
    return Source(tuple(str(path) for path in sorted(Path(folder).iterdir()) if path.is_file()))


def rendered_clip(clip: Clip, command: Command, kept: Path, temp: Path, told: Told) -> Path:
    """The file of a clip: kept from before, or rendered now and kept, whole or not at all.

    Args:
        kept: folder of what has been rendered.
        temp: folder for what is written on the way.
        told: what is going on, a line each time.

    Raises:
        Refusal: the disk is full.
        MlxFailed: the command broke off, or what it wrote is not what it was asked for.
    """
    path = kept / f"{key_of(clip, command)}.mp4"
    if _fault(clip, path) is None:
        os.utime(path)
        told("Stored, nothing to render")
        return path
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ltx2-mlx-", dir=temp) as name:
        folder = Path(name)
        output = folder / "clip.mp4"
        run(_command_line(clip, command, folder, output), {**OFFLINE, "TMPDIR": name}, told)
        if fault := _fault(clip, output):
            raise MlxFailed(f"the command {fault}.")
        with whole_file(path) as unfinished:
            shutil.copyfile(output, unfinished)
    forget_oldest(kept.glob("*.mp4"), LIMIT)
    return path


def _command_line(clip: Clip, command: Command, folder: Path, output: Path) -> list[str]:
    written = {"--output": str(output), **_written(clip, folder)}
    options = [*options_of(clip), *((name, written[name]) for name in files_of(clip))]
    return [
        command.path,
        clip.task.subcommand,
        *(name if value is None else f"{name}={value}" for name, value in options),
    ]


def _written(clip: Clip, folder: Path) -> dict[str, str]:
    """What the command reads, written to files: option -> path."""
    from PIL import Image

    from ..media.encode import encode

    files: dict[str, str] = {}
    image = clip.image
    if clip.task is Task.LAST_FRAME:
        last = clip.footage.source.frame_count
        image = Excerpt(clip.footage.source, last - 1, last)
    if image is not None:
        pixels = as_images(image, 0, 1)[0].mul(255).round().byte().numpy()
        files["--image"] = str(folder / "image.png")
        Image.fromarray(pixels).save(files["--image"])
    if clip.task is Task.SOUND and clip.sound is not None:
        files["--audio"] = str(folder / "sound.wav")
        _write_wave(JoinedSound([(clip.sound, clip.rendered)], clip.frame_rate), files["--audio"])
    if clip.task in (Task.END, Task.RETAKE):
        from ..media.codecs import Form

        source, sound = clip.footage.source, clip.footage.sound
        first = source.frame_count - clip.context if clip.task is Task.END else 0
        heard = sound and SoundExcerpt.of_frames(sound, first, source.frame_count, clip.frame_rate)
        files["--video"] = str(folder / "video.mp4")
        best = Form(quality=10)
        encode(Excerpt(source, first, source.frame_count), files["--video"], best, audio=heard, lasting=False)
    return files


def _write_wave(sound: Sound, path: str) -> None:
    with wave.open(path, "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(2)
        file.setframerate(sound.sample_rate)
        for block in sound.blocks():
            file.writeframes((np.clip(block.T, -1, 1) * 32767).round().astype("<i2").tobytes())


def _fault(clip: Clip, path: Path) -> str | None:
    """What the command did instead of writing the clip to a file; None where it is there."""
    if not path.is_file():
        return "ended well and wrote no file"
    try:
        video = VideoFile(str(path))
    except Refusal as error:
        return f"wrote a file that is no video: {error.message}"
    asked = (clip.width, clip.height, clip.rendered, clip.frame_rate)
    given = (video.width, video.height, video.frame_count, video.frame_rate)
    return None if given == asked else f"wrote {_described(*given)}; it was asked for {_described(*asked)}"


def _described(width: int, height: int, frames: int, rate: Fraction) -> str:
    return f"{frames} frames of {width}x{height} at {float(rate):g} a second"


def shown(clip: Clip, path: Path) -> Footage:
    """The film that a rendered clip makes, as frames and sound: that clip, what it goes on from before it, or the video
    with its new part."""
    rate, video, heard = clip.frame_rate, VideoFile(str(path)), SoundTrack.of(str(path))
    if clip.task is Task.GENERATE:
        return Footage(Excerpt(video, 0, clip.frames), _part(heard, 0, clip.frames, rate))
    if clip.task is Task.SOUND:
        # What is heard is the sound that was given, as it was.
        return Footage(Excerpt(video, 0, clip.frames), _part(clip.sound, 0, clip.frames, rate))
    before, sound = clip.footage.source, clip.footage.sound
    if clip.task is Task.RETAKE:
        (first, stop), last = clip.anew, before.frame_count
        start, stop = max(0, 8 * first - 7), 8 * (stop - 1) + 1
        pieces = [(before, sound, 0, start), (video, heard if clip.new_sound else sound, start, stop)]
        return _joined([*pieces, (before, sound, stop, last)], rate)
    hidden = clip.context if clip.task is Task.END else 1
    return _joined([(before, sound, 0, before.frame_count), (video, heard, hidden, hidden + clip.frames)], rate)


def _joined(pieces: list[tuple[FrameSource, Sound | None, int, int]], rate: Fraction) -> Footage:
    shown_pieces = [piece for piece in pieces if piece[2] < piece[3]]
    frames = Joined([Excerpt(source, start, stop) for source, _, start, stop in shown_pieces])
    if all(sound is None for _, sound, _, _ in shown_pieces):
        return Footage(frames, None)
    sounds = [(_part(sound, start, stop, rate), stop - start) for _, sound, start, stop in shown_pieces]
    return Footage(frames, JoinedSound(sounds, rate))


def _part(sound: Sound | None, start: int, stop: int, rate: Fraction) -> Sound | None:
    return None if sound is None else SoundExcerpt.of_frames(sound, start, stop, rate)
