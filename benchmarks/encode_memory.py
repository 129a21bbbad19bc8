"""What encoding a film takes, in memory and time, as the film gets longer, beside ComfyUI's own nodes.

    <the host's python> benchmarks/encode_memory.py

Every figure comes from a process of its own. Memory is the peak of its anonymous memory (RssAnon) above what it held
once everything was imported; the clips are memory-mapped files, whose pages the kernel takes back when it wants them.
Prints a table, writes it to benchmarks/results/encode_memory.md, and exits with 1 where a film of 2,000 frames takes
over 300 MB more than one of 200. Linux only: it reads /proc.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from peak import Peak

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "encode_memory.md"

WIDTH, HEIGHT, FPS = 832, 480, 16
CLIP, OVERLAP = 81, 5
SHORT, LONG = 200, 2000
CRF = 18
ALLOWED_GROWTH = 300e6
IMAGE_BYTES = WIDTH * HEIGHT * 3 * 4  # one frame of a float32 IMAGE
REPEATS = 5

WAYS = {
    "encode": "Longtake: Stitch Chain, Encode Video",
    "lazy": "Longtake: Stitch Chain, core Save Video",
    "stock": "core only: IMAGE batch, Create Video, Save Video",
}


def name_packages() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.run import name_packages

    sys.path.pop(0)  # the repository has a folder `nodes`, and so has ComfyUI
    name_packages()


def write_clip(path: Path) -> None:
    """A clip of a moving gradient, a scrolling texture and the noise of a camera, `[81, 480, 832, 3]` uint16."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 20_000, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    ramp = np.linspace(0, 40_000, WIDTH)[None, :, None]
    clip = np.lib.format.open_memmap(path, "w+", np.uint16, (CLIP, HEIGHT, WIDTH, 3))
    for frame in range(CLIP):
        picture = np.roll(ramp, 5 * frame, axis=1) + np.roll(texture, 3 * frame, axis=1)
        clip[frame] = np.clip(picture + rng.normal(0, 385, picture.shape), 0, 65535)  # 1.5 of 255
    clip.flush()


def film_of(clip: Path, frames: int):
    """A film of `frames` frames whose stages all show the same file."""
    from longtake.pipelines.chain.chain import Chain, Link
    from longtake.pipelines.film.stitch import Film
    from longtake.pipelines.timeline.clips import Grid, Join, Length, Transition, film_frames
    from longtake.pipelines.timeline.plan import plan_clip

    grid, rate = Grid(4), Fraction(FPS)
    smooth = Join(Transition.SMOOTH, overlap=OVERLAP)
    clips = [plan_clip([], Length(frames=CLIP), Join(), grid, rate)]
    while (rest := frames - film_frames(clips)) > 0:
        length = Length(frames=CLIP) if rest >= CLIP - OVERLAP else Length(seconds=rest / FPS)
        clips.append(plan_clip(clips, length, smooth, grid, rate))
    chain = Chain("wan22", WIDTH, HEIGHT, rate, tuple(Link(clip, None, None) for clip in clips))
    return Film(chain, lambda link: np.load(clip, mmap_mode="r")[: link.clip.frames])


class Clock:
    """Wall and CPU seconds of this process while it lasts."""

    def __enter__(self):
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error):
        self.times = {"seconds": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}


def image_batch(clip: Path, frames: int):
    """The film as one IMAGE batch, made as cheaply as can be: no stage's own batch is kept beside it."""
    import torch

    images = torch.empty((frames, HEIGHT, WIDTH, 3), dtype=torch.float32)
    for index, frame in enumerate(film_of(clip, frames).frames()):
        np.divide(frame, np.float32(65535), out=images[index].numpy())
    return images


def measure(way: str, frames: int, clip: Path, folder: Path) -> dict:
    """Encode once in this process. The time is that of saving; a batch is made before it, its memory counted."""
    from longtake.pipelines.media.codecs import Form
    from longtake.pipelines.media.encode import encode

    if way == "encode":
        with Peak() as peak, Clock() as clock:
            encode(film_of(clip, frames), folder / "film.mp4", Form(quality=CRF))
        return {"bytes": peak.grown, **clock.times}

    from tests.host.inprocess import enter_comfyui, use_folders
    from tests.host.place import Place

    enter_comfyui(Place.here().comfyui)
    import torch

    torch.set_num_threads(os.cpu_count() or 1)  # as a ComfyUI that serves has it
    use_folders(folder)
    from comfy_extras.nodes_video import CreateVideo, SaveVideo
    from longtake.pipelines.media.video import LazyVideo

    codec = {"codec": "h264", "encoding": {"encoding": "re-encode", "crf": CRF}}
    save = SaveVideo.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    with Peak() as peak:
        if way == "lazy":
            video = LazyVideo(film_of(clip, frames))
        else:
            video = CreateVideo.execute(image_batch(clip, frames), float(FPS)).args[0]
        with Clock() as clock:
            save.execute(video, "film", "auto", codec)
    return {"bytes": peak.grown, **clock.times}


def in_fresh_process(way: str, frames: int, clip: Path) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, way, str(frames), str(clip), folder]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{way}, {frames} frames, failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"{way:8} {frames:5} frames {result['bytes'] / 1e6:8.0f} MB {result['seconds']:7.2f} s", flush=True)
    return result


def measure_all(clip: Path) -> dict[tuple[str, int], dict]:
    """Peaks and times; short films are measured in turns and the fastest taken."""
    in_fresh_process("lazy", SHORT, clip)  # brings libraries and clip into the page cache; not counted
    turns = [{way: in_fresh_process(way, SHORT, clip) for way in WAYS} for _ in range(REPEATS)]
    found = {(way, SHORT): best([turn[way] for turn in turns]) for way in WAYS}
    for way in WAYS:
        frames = LONG if way != "stock" else longest_batch()
        found[way, frames] = in_fresh_process(way, frames, clip)
    return found


def best(runs: list[dict]) -> dict:
    """The fastest of several runs: other work on the machine only ever adds time. Of memory, the highest."""
    fastest = min(runs, key=lambda run: run["seconds"])
    return {**fastest, "bytes": max(run["bytes"] for run in runs), "slowest": max(run["seconds"] for run in runs)}


def longest_batch() -> int:
    """Frames of an IMAGE batch that fit half the memory that is free now, at most as many as the long film has."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    available = next(int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:")
    return min(LONG, available // 2 // IMAGE_BYTES // 100 * 100)


def table(found: dict[tuple[str, int], dict]) -> str:
    lines = ["| | frames | memory | wall, fastest | wall, slowest | CPU |", "|---|--:|--:|--:|--:|--:|"]
    for way, name in WAYS.items():
        for (measured, frames), result in sorted(found.items(), key=lambda item: item[0][1]):
            if measured == way:
                slowest = f"{result['slowest']:.1f} s" if "slowest" in result else "one run"
                lines.append(
                    f"| {name} | {frames} | {result['bytes'] / 1e6:,.0f} MB "
                    f"| {result['seconds']:.1f} s | {slowest} | {result['cpu']:.1f} s |"
                )
    return "\n".join(lines)


def machine() -> str:
    import av
    import torch

    about = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in about if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    libavcodec = ".".join(map(str, av.library_versions["libavcodec"]))
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB, no GPU used; Python {platform.python_version()}, "
        f"PyAV {av.__version__} (libavcodec {libavcodec}), PyTorch {torch.__version__}"
    )


def report(found: dict[tuple[str, int], dict]) -> str:
    batch = max(frames for way, frames in found if way == "stock")
    ours, stock = found["encode", SHORT], found["stock", SHORT]
    encode, lazy = (found[way, LONG]["bytes"] - found[way, SHORT]["bytes"] for way in ("encode", "lazy"))
    less, fewer, faster = (stock[key] / ours[key] for key in ("bytes", "cpu", "seconds"))
    return f"""# Memory and time of encoding a film

{WIDTH}x{HEIGHT}, {FPS} fps, stages of {CLIP} frames joined over {OVERLAP}; H.264 4:2:0, preset medium, crf {CRF}.
Made by `benchmarks/encode_memory.py`. {SHORT} frames: {REPEATS} runs taken in turns; more: one run.

{table(found)}

- From {SHORT} to {LONG} frames Encode Video grows by {encode / 1e6:+.0f} MB, core Save Video on a Longtake VIDEO by
  {lazy / 1e6:+.0f} MB. Allowed: {ALLOWED_GROWTH / 1e6:.0f} MB.
- Core's own nodes, {SHORT} frames, take {less:.1f} times the memory of Encode Video, {faster:.1f} times the time
  (fastest runs) and {fewer:.1f} times the CPU time.
- The core rows are its best case: one IMAGE batch, made in place, with no stage kept beside it; {batch} frames of it
  are {batch * IMAGE_BYTES / 1e9:.1f} GB of pixels. A graph that joins stages by image nodes holds more, not measured.
- Memory is peak RssAnon above the process after its imports. Longtake's clips are mapped files of 16 bits a channel
  (2.4 MB a frame on disk); reading them is in its time. Making the batch is in core's memory and not in its time.

Machine: {machine()}.
Other work ran beside it, which is what lies between fastest and slowest; one run of a long film says little of time.
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.npy"
        write_clip(clip)
        found = measure_all(clip)
    text = report(found)
    print(text)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(text)
    return int(
        any(found[way, LONG]["bytes"] - found[way, SHORT]["bytes"] > ALLOWED_GROWTH for way in ("encode", "lazy"))
    )


if __name__ == "__main__":
    name_packages()
    if len(sys.argv) == 5:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))))
    else:
        sys.exit(main())
