"""What encoding a film costs beside the bare encoder, and what a film costs again after one of its stages changed.

    <the host's python> benchmarks/encode.py [--footage FILE ...] [--rounds N] [--sizes 480p 720p] [--stages 2 13]

The ways take turns, each in a process forked for it, and what is compared is its CPU time and its children's, round by
round, because that of a busy machine's clock says little. Memory is the most that its anonymous pages grow by. Runs on
Linux alone. The bare encoder gets RGB of 8 bits that is in memory already, through one
swscale context. Core's own way is given its IMAGE batch ready, and so is that of VideoHelperSuite: float frames
quantised, and piped raw to an ffmpeg, where there is one (on the path, or of imageio-ffmpeg). Both hold a film as a
whole, so they run for films of two stages alone. Films are gradients, texture and the noise of a camera; and footage,
the first file in the first size, and every file for the sizes of films in segments. Writes its table and its plot into
docs.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain as chained
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from encode_memory import name_packages
from machine import busy
from peak import Peak

ROOT = Path(__file__).resolve().parents[1]
PAGE, PLOT = ROOT / "docs" / "encode.md", ROOT / "docs" / "encode.png"
SIZES = {"480p": (832, 480), "720p": (1280, 720)}
RATE, CLIP, OVERLAP, STAGES = Fraction(16), 81, 5, 12
SEAM = CLIP - OVERLAP
BEGIN, END = "<!-- table: benchmarks/encode.py -->", "<!-- end -->"
FLOOR, OTHER_FLOOR = "the bare encoder", "the bare encoder, of the matched pictures"
MATCHED = "Longtake, colours matched"
LOOKED_AT = 24  # frames that colours are compared of


@dataclass
class Told:
    """What was measured of one way: CPU in parts of the bare encoder's, bytes of memory and of the file, and how far
    its frames are from those that went in, in code values: on average, and root mean square."""

    film: str
    way: str
    ratios: list[float]
    memory: int
    size: int
    mean: float
    rms: float

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def row(self) -> str:
        spread = f"{self.ratio:.2f} ({min(self.ratios):.2f} - {max(self.ratios):.2f})"
        colour = f"{self.mean:+.2f} / {self.rms:.2f}"
        return f"| {self.film} | {self.way} | {spread} | {self.memory / 1e6:.0f} | {self.size / 1e6:.2f} | {colour} |"


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def in_a_fork(way: Callable[[], Path]) -> tuple[Path, int]:
    """The file that a way makes, and how far its memory grows for it, in bytes."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with Peak() as peak:
            path = way()
        os.write(writing, f"{peak.grown} {path}".encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as told:
        memory, path = told.read().split(maxsplit=1)
    os.waitpid(child, 0)
    return Path(path), int(memory)


def clip_of(width: int, height: int, footage: Path | None) -> np.ndarray:
    """One clip `[81, H, W, 3]` uint16."""
    if footage is not None:
        import torch
        from longtake.pipelines.media.geometry import Resized
        from longtake.pipelines.media.video_file import VideoFile

        torch.set_num_threads(1)
        return np.stack(list(Resized(VideoFile(footage), width, height, "bicubic", "center").frames(0, CLIP)))
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 20_000, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    ramp = np.linspace(0, 40_000, width)[None, :, None]
    frames = (np.roll(ramp, 5 * t, 1) + np.roll(texture, 3 * t, 1) for t in range(CLIP))
    return np.stack([np.clip(one + rng.normal(0, 385, one.shape), 0, 65535).astype(np.uint16) for one in frames])


def chain_of(width: int, height: int, keys: list[str]):
    from longtake.pipelines.chain.chain import Chain, Link
    from longtake.pipelines.timeline.clips import Clip, Grid, Join, Length, Transition
    from longtake.pipelines.timeline.plan import plan_clip

    clips: list[Clip] = []
    for number in range(len(keys)):
        join = Join(Transition.SMOOTH, overlap=OVERLAP) if number else Join()
        clips.append(plan_clip(clips, Length(frames=CLIP), join, Grid(4), RATE))
    takes = [SimpleNamespace(key=key) for key in keys]
    model = SimpleNamespace(vae="vae", tiled=False)
    return Chain("wan22", width, height, RATE, tuple(Link(c, t, model) for c, t in zip(clips, takes, strict=True)))


def ways(clip: np.ndarray, stages: int, folder: Path) -> dict[str, Callable[[], Path]]:
    """Ways to encode a film whose stages all show one clip, each without anything kept from before."""
    import av
    from longtake.pipelines.film.colour import Match
    from longtake.pipelines.film.stitch import Film
    from longtake.pipelines.media.codecs import H264, Form
    from longtake.pipelines.media.encode import encode
    from longtake.pipelines.media.frames import to_uint8
    from longtake.pipelines.media.pixels import to_pixels

    height, width = clip.shape[1:3]
    keys = [f"take {number}" for number in range(stages)]
    film = chain_of(width, height, keys)
    shown = np.stack([to_uint8(frame) for frame in clip])
    darker = (clip * np.float32(0.97)).astype(np.uint16)

    def drifted(link: Any) -> np.ndarray:
        return clip if link.rendered.key == keys[0] else darker

    def bare(name: str, shown: np.ndarray) -> Path:
        with av.open(str(path := folder / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options=Form(H264).options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_type = "AUTO"
            convert = to_pixels("yuv420p")
            for number, place in enumerate(places(stages)):
                picture = convert(shown[place])
                picture.pts, picture.time_base = number, 1 / RATE
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path

    def ours(name: str, decoded: Callable[[Any], np.ndarray], matched: bool) -> Path:
        path = folder / f"{name}.mp4"
        encode(Film(film, decoded, Match(film, decoded) if matched else None), path)
        return path

    # What the second stage shows, the others show too.
    pair = Film(two := chain_of(width, height, keys[:2]), drifted, Match(two, drifted)).frames_8(CLIP, CLIP + SEAM)
    matched = np.stack([*shown[:OVERLAP], *(frame.copy() for frame in pair)])
    found = {
        FLOOR: lambda: bare("bare", shown),
        "Longtake": lambda: ours("ours", lambda link: clip, False),
        OTHER_FLOOR: lambda: bare("bare matched", matched),
        MATCHED: lambda: ours("matched", drifted, True),
    }
    return found | whole_ways(shown, stages, folder) if stages == 2 else found


def whole_ways(shown: np.ndarray, stages: int, folder: Path) -> dict[str, Callable[[], Path]]:
    """Ways that are given all of a film as one batch of images."""
    import torch
    from comfy_api.latest import InputImpl, Types

    images = torch.from_numpy(shown[list(places(stages))]).float().div_(255)
    height, width = shown.shape[1:3]
    ffmpeg = shutil.which("ffmpeg") or _packaged_ffmpeg()

    def core() -> Path:
        video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=RATE))
        video.save_to(str(path := folder / "core.mp4"), crf=18.0)
        return path

    def piped() -> Path:
        path = folder / "piped.mp4"
        given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE), "-i", "-"]
        asked = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p"]
        colours = ["-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709", "-color_primaries", "bt709"]
        command = [ffmpeg, "-y", "-v", "error", *given, *asked, *colours, "-color_trc", "bt709", str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            for image in images.numpy():
                process.stdin.write(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8).tobytes())
            process.stdin.close()
        return path

    return {"core Save Video": core, **({"raw frames piped to ffmpeg": piped} if ffmpeg else {})}


def _packaged_ffmpeg() -> str | None:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return None
    return get_ffmpeg_exe()


def places(stages: int) -> Iterator[int]:
    """Which frame of its clip each frame of a film shows."""
    return chained(range(CLIP), (place for _ in range(stages - 1) for place in range(OVERLAP, CLIP)))


def compared(film: str, clip: np.ndarray, stages: int, rounds: int) -> list[Told]:
    from longtake.pipelines.media.video_file import VideoFile

    with tempfile.TemporaryDirectory() as folder:
        found = ways(clip, stages, Path(folder))
        times: dict[str, list[float]] = {name: [] for name in found}
        told: dict[str, Path] = {}
        memory = dict.fromkeys(found, 0)
        for _ in range(rounds):
            for name, way in found.items():
                began = cpu()
                told[name], grown = in_a_fork(way)
                times[name].append(cpu() - began)
                memory[name] = max(memory[name], grown)
        rows = []
        for name, path in told.items():
            floors = times[OTHER_FLOOR if name in (MATCHED, OTHER_FLOOR) else FLOOR]
            ratios = [one / floor for one, floor in zip(times[name], floors, strict=True)]
            read = VideoFile(path).frames(0, LOOKED_AT)
            off = np.stack(
                [frame / 257 - clip[place] / 257 for frame, place in zip(read, places(stages), strict=False)]
            )
            size = path.stat().st_size
            rms = float(np.sqrt((off**2).mean()))
            rows.append(Told(film, name, ratios, memory[name], size, float(off.mean()), rms))
            print(rows[-1].row(), flush=True)
        return rows


class ThereAndBack:
    """Footage shown forwards and backwards in turns, as long as is asked; in segments or not."""

    def __init__(self, footage: Path, frames: int, shelf: Any):
        from longtake.pipelines.media.segments import Run, Segments
        from longtake.pipelines.media.video_file import VideoFile

        self.file = VideoFile(footage)
        self.width, self.height = (side // 2 * 2 for side in (self.file.width, self.file.height))
        self.frame_rate, self.frame_count = self.file.frame_rate, frames
        if shelf is not None:
            begins = range(0, frames, SEAM)
            runs = [Run(begin, min(begin + SEAM, frames), f"{footage} {begin}", begin == 0) for begin in begins]
            self.segments = Segments(runs, shelf)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        known = [frame[: self.height, : self.width].copy() for frame in self.file.frames()]
        turn = [*known[:-1], *known[:0:-1]]
        return (turn[number % len(turn)] for number in range(self.frame_count)[start:stop])


def sizes_of(footage: Path) -> str:
    """What twelve and twenty-four stages of footage take in segments, beside the same encoded in one go; and how many
    key frames the encoder puts into that, of twelve, of its own accord."""
    import av
    from longtake.pipelines.media.encode import encode
    from longtake.pipelines.takes.derived import Derived
    from longtake.pipelines.takes.store import Store

    cells = []
    for stages in (STAGES, 2 * STAGES):
        with tempfile.TemporaryDirectory() as folder:
            bytes_of = []
            for shelf in (None, Derived(Store(Path(folder) / "longtake"))):
                path = Path(folder) / "film.mp4"
                encode(ThereAndBack(footage, stages * SEAM, shelf), path)
                bytes_of.append(path.stat().st_size)
                if shelf is None and not cells:
                    with av.open(str(path)) as film:
                        cells.append(str(sum(packet.is_keyframe for packet in film.demux(video=0))))
            cells.append(f"{100 * (bytes_of[1] / bytes_of[0] - 1):+.1f} %")
    return f"| {footage.stem} | " + " | ".join(cells) + " |"


def plot(told: list[Told]) -> None:
    """Each way's CPU as a bar, in parts of the bare encoder's."""
    from PIL import Image, ImageDraw, ImageFont

    bar, left, wide, most = 26, 470, 520, max(3.0, *(one.ratio for one in told))
    shown = [one for one in told if one.way not in (FLOOR, OTHER_FLOOR)]
    image = Image.new("RGB", (left + wide + 90, bar * len(shown) + 44), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for part in range(int(most) + 1):
        across = left + wide * part / most
        draw.line((across, 8, across, bar * len(shown) + 14), "#cccccc" if part != 1 else "#444444")
        draw.text((across - 4, bar * len(shown) + 18), str(part), "#444444", font)
    for number, one in enumerate(shown):
        top = 10 + bar * number
        colour = "#3b7ddd" if one.way.startswith("Longtake") else "#b0b0b0"
        draw.text((6, top + 2), f"{one.film}, {one.way}", "black", font)
        draw.rectangle((left, top + 3, left + wide * one.ratio / most, top + bar - 5), colour)
        draw.text((left + wide * one.ratio / most + 6, top + 2), f"{one.ratio:.2f}", "black", font)
    image.save(PLOT)


def again(clip: np.ndarray, folder: Path) -> list[tuple[str, float]]:
    """CPU time of a film of twelve stages after a change, in parts of that of the first time."""
    from longtake.pipelines.film.stitch import Film
    from longtake.pipelines.media.encode import encode
    from longtake.pipelines.takes.derived import Derived
    from longtake.pipelines.takes.store import Store

    keys = [f"take {number}" for number in range(STAGES)]
    kept = Derived(Store(folder / "longtake"))

    def seconds(keys: list[str]) -> float:
        chain = chain_of(clip.shape[2], clip.shape[1], keys)
        began = cpu()
        # A film of its own each time: nothing is left in memory, as after a restart.
        encode(Film(chain, lambda link: clip, None, kept), folder / "film.mp4")
        return cpu() - began

    first = seconds(keys)
    parts = [("nothing changed", seconds(keys) / first)]
    for number in (5, 6):
        changed = [*keys[: number - 1], f"other {number}", *keys[number:]]
        parts.append((f"stage {number} changed", seconds(changed) / first))
    return parts


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--footage", type=Path, nargs="*", default=[])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    arguments.add_argument("--stages", nargs="+", type=int, default=[2, 13])
    asked = arguments.parse_args()
    name_packages()
    from tests.host.inprocess import enter_comfyui
    from tests.host.place import Place

    enter_comfyui(Place.here().comfyui)
    told: list[Told] = []
    redone: list[tuple[str, float]] = []
    for footage in (None, *asked.footage[:1]):
        for size in asked.sizes if footage is None else asked.sizes[:1]:
            clip = clip_of(*SIZES[size], footage)
            for stages in asked.stages if footage is None else asked.stages[:1]:
                seconds = round(float(len(list(places(stages))) / RATE))
                name = f"{footage.stem if footage else 'texture and noise'} {size}, {seconds} s"
                told += compared(name, clip, stages, asked.rounds)
            if not redone:
                with tempfile.TemporaryDirectory() as folder:
                    redone = again(clip, Path(folder))
    table = [
        "| film | way | CPU, in parts of the bare encoder's (from - to) | memory, MB | file, MB | colour, mean / RMS |",
        "|---|---|---|---|---|---|",
        *(one.row() for one in told),
        "",
        "| a film of twelve stages again | CPU, in parts of the first time |",
        "|---|---|",
        *(f"| {what} | {part:.3f} |" for what, part in redone),
    ]
    if asked.footage:
        head = f"| size in segments | key frames in one go | {STAGES} stages | {2 * STAGES} stages |"
        table += ["", head, "|---|---|---|---|"]
        table += [sizes_of(footage) for footage in asked.footage]
    plot(told)
    import torch

    # Core converts with torch, whose threads spin beside the encoder's where it has several.
    threads = f"torch on {torch.get_num_threads()} of its threads"
    said = f"{asked.rounds} rounds, {threads}, {time.strftime('%Y-%m-%d')}. {busy()}"
    # The batch is what peaks there; it is made before, once for all.
    said += " Memory is without the batch of images that core and the pipe are given, and without ffmpeg's own."
    picture = f"![CPU of each way, in parts of the bare encoder's]({PLOT.name})"
    text = f"{BEGIN}\n\n{said}\n\n{picture}\n\n" + "\n".join(table) + f"\n\n{END}"
    print(text)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: text, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
