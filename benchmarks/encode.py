"""What encoding a film costs beside the bare encoder, and what a film costs again after one of its stages changed.

    <the host's python> benchmarks/encode.py [--footage FILE] [--rounds N] [--sizes 480p 720p]

The ways take turns, and what is compared is the CPU time of this process, round by round, because that of a busy
machine's clock says little. The bare encoder gets frames that are RGB of 8 bits in memory already, through one swscale
context. Core's own way is given its IMAGE batch ready; ffmpeg's is that of VideoHelperSuite: raw frames through a pipe,
where there is an ffmpeg. Without footage the clips are gradients, texture and the noise of a camera. Writes its table
into docs/encode.md.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from encode_memory import name_packages
from machine import busy

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "encode.md"
SIZES = {"480p": (832, 480), "720p": (1280, 720)}
RATE, CLIP, OVERLAP, STAGES = Fraction(16), 81, 5, 12
BEGIN, END = "<!-- table: benchmarks/encode.py -->", "<!-- end -->"


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


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


def ways(clip: np.ndarray, folder: Path) -> dict[str, Callable[[], None]]:
    """Ways to encode a film of two stages, each without anything kept from before."""
    import av
    import torch
    from comfy_api.latest import InputImpl, Types
    from longtake.pipelines.film.colour import Match
    from longtake.pipelines.film.stitch import Film
    from longtake.pipelines.media.codecs import H264, Form
    from longtake.pipelines.media.encode import encode
    from longtake.pipelines.media.frames import to_uint8
    from longtake.pipelines.media.pixels import to_pixels

    height, width = clip.shape[1:3]
    chain = chain_of(width, height, ["a", "b"])

    def decoded(link) -> np.ndarray:
        return clip

    def drifted(link) -> np.ndarray:
        return clip if link.rendered.key == "a" else darker

    darker = (clip * np.float32(0.97)).astype(np.uint16)
    shown = [to_uint8(frame) for frame in Film(chain, decoded).frames()]
    images = torch.from_numpy(np.stack(shown)).float().div_(255)

    def bare() -> None:
        with av.open(str(folder / "bare.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options=Form(H264).options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_type = "AUTO"
            convert = to_pixels("yuv420p")
            for number, frame in enumerate(shown):
                picture = convert(frame)
                picture.pts, picture.time_base = number, 1 / RATE
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))

    def core() -> None:
        video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=RATE))
        video.save_to(str(folder / "core.mp4"), crf=18.0)

    def piped() -> None:
        given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE), "-i", "-"]
        asked = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", str(folder / "piped.mp4")]
        with subprocess.Popen(["ffmpeg", "-y", "-v", "error", *given, *asked], stdin=subprocess.PIPE) as process:
            for image in images.numpy():
                process.stdin.write(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8).tobytes())
            process.stdin.close()

    found = {
        "the bare encoder": bare,
        "Longtake": lambda: encode(Film(chain, decoded), folder / "ours.mp4"),
        "Longtake, colours matched": lambda: encode(
            Film(chain, drifted, Match(chain, drifted)), folder / "matched.mp4"
        ),
        "core Save Video": core,
    }
    return {**found, "raw frames piped to ffmpeg": piped} if shutil.which("ffmpeg") else found


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
    arguments.add_argument("--footage", type=Path)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    asked = arguments.parse_args()
    name_packages()
    from tests.host.inprocess import enter_comfyui
    from tests.host.place import Place

    enter_comfyui(Place.here().comfyui)
    seen = "footage" if asked.footage else "synthetic clips"
    table = ["| size | way | CPU, in parts of the bare encoder's (from - to) | bytes |", "|---|---|---|---|"]
    redone: list[tuple[str, float]] = []
    for size in asked.sizes:
        with tempfile.TemporaryDirectory() as folder:
            clip = clip_of(*SIZES[size], asked.footage)
            found = ways(clip, Path(folder))
            times: dict[str, list[float]] = {name: [] for name in found}
            for _ in range(asked.rounds):
                for name, way in found.items():
                    began = cpu()
                    way()
                    times[name].append(cpu() - began)
            files = ["bare", "ours", "matched", "core", "piped"]
            for (name, taken), file in zip(times.items(), files, strict=False):
                ratios = [one / floor for one, floor in zip(taken, times["the bare encoder"], strict=True)]
                spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
                table.append(f"| {size} | {name} | {spread} | {(Path(folder) / f'{file}.mp4').stat().st_size:,} |")
                print(table[-1], flush=True)
            if not redone:
                redone = again(clip, Path(folder))
    table += ["", "| a film of twelve stages again | CPU, in parts of the first time |", "|---|---|"]
    table += [f"| {what} | {part:.3f} |" for what, part in redone]
    import torch

    # Core converts with torch, whose threads spin beside the encoder's where it has several.
    threads = f"torch on {torch.get_num_threads()} of its threads"
    said = f"157 frames, {asked.rounds} rounds, {seen}, {threads}, {time.strftime('%Y-%m-%d')}. {busy()}"
    text = f"{BEGIN}\n\n{said}\n\n" + "\n".join(table) + f"\n\n{END}"
    print(text)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: text, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
