"""How much a real ComfyUI server grows while it renders and saves a long storyboard, beside a short one.

    python benchmarks/storyboard_memory.py

Each film is rendered by a server of its own on the tiny models and saved by Encode Video, in two ways:

- long stages: 192x128, 81 frames each, one prompt and one image. At this size 2,000 frames held as float32, as an IMAGE
  batch holds them, are 590 MB, so a film that is held anywhere would show;
- many stages: 5 frames each, every one with a prompt and a 1920x1080 photo of its own. A photo held as float32 is
  25 MB, so images that are held for all stages would show.

What is compared is the peak of the server's anonymous memory (RssAnon): pages of mapped files are the system's to drop.
Prints a table and writes it to benchmarks/results/storyboard_memory.md.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import busy
from peak import Peak

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "storyboard_memory.md"
WIDTH, HEIGHT = 192, 128
PHOTO = 1920, 1080
LIMIT_MB = 300


@dataclass(frozen=True)
class Run:
    kind: str
    frames: int
    stages: int
    peak_mb: float
    seconds: float


def long_stages(frames: int, input_folder: Path) -> dict[str, Any]:
    """A storyboard of few words and one image, as long as it is asked to be."""
    from tests.tiny.photos import put_photos

    put_photos(input_folder)
    return {
        "total_frames": frames,
        "defaults": {"frames": 81, "width": WIDTH, "height": HEIGHT, "start_image": "astronaut.png"},
        "stages": [{"prompt": "a walk along the shore"}],
    }


def many_stages(frames: int, input_folder: Path) -> dict[str, Any]:
    """A storyboard of 5 frames a stage, each with words and a photo of its own."""
    from PIL import Image

    stages = []
    for number in range(frames // 5):
        Image.new("RGB", PHOTO, (number % 256, number // 256, 90)).save(input_folder / f"photo{number}.jpg")
        stages.append({"prompt": f"place {number} of a long walk", "start_image": f"photo{number}.jpg"})
    return {"defaults": {"frames": 5, "width": 96, "height": 64, "transition": "cut"}, "stages": stages}


def render(kind: str, board_of: Callable[[int, Path], dict[str, Any]], frames: int) -> Run:
    """Render and save a film of `frames` frames on a fresh server."""
    from tests.host import graphs
    from tests.host.film import look_into
    from tests.host.place import Place
    from tests.host.server import Server
    from tests.tiny.models import tiny_models

    place = Place.here()
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(place, Path(folder), tiny_models(place)) as server,
    ):
        graph = {
            "model": graphs.load("i2v"),
            "sampling": graphs.sampling(steps=2, cfg_high=1.0, cfg_low=1.0, **{"expert_split.split_step": 1}),
            "board": graphs.storyboard(board_of(frames, server.input)),
            **graphs.delivered("board", "benchmark/film"),
        }
        assert server.process is not None
        started = time.monotonic()
        with Peak(server.process.pid) as peak:
            result = server.run(graph, timeout=3600)
        seconds = time.monotonic() - started
        if not result.ok:
            raise SystemExit(result.why())
        if look_into(server.files(result)[0]).frames != frames:
            raise SystemExit("the film has not the frames that were asked for")
        stages = len(result.of("longtake.stage_done"))
    return Run(kind, frames, stages, peak.highest / 2**20, seconds)


def table(pairs: list[tuple[Run, Run]]) -> str:
    rows = [
        f"| {run.kind} | {run.frames} | {run.stages} | {run.peak_mb:.0f} MB | {run.seconds:.0f} s |"
        for pair in pairs
        for run in pair
    ]
    (_, long), (_, many) = pairs
    grown = [
        f"With {longer.kind} the long film took {longer.peak_mb - short.peak_mb:.0f} MB more than the short one; the "
        f"limit is {LIMIT_MB} MB."
        for short, longer in pairs
    ]
    return "\n".join(
        [
            "# Memory of a ComfyUI server over the length of a storyboard",
            "",
            "Written by benchmarks/storyboard_memory.py: tiny models, one fresh server a row. Long stages are of 81 "
            f"frames of {WIDTH}x{HEIGHT}; many stages are of 5 frames, each with a prompt and a photo of its own. "
            + busy(),
            "",
            "| | frames | stages | peak anonymous memory | time |",
            "|---|---|---|---|---|",
            *rows,
            "",
            *grown,
            f"The frames of the one as an IMAGE batch would be {long.frames * WIDTH * HEIGHT * 12 / 1e6:.0f} MB, the "
            f"photos of the other {many.stages * PHOTO[0] * PHOTO[1] * 12 / 1e6:.0f} MB.",
            "",
        ]
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--frames", type=int, default=2000, help="of the long film of long stages")
    frames = arguments.parse_args().frames
    pairs = [
        (render(kind, board_of, short), render(kind, board_of, long))
        for kind, board_of, short, long in (
            ("long stages", long_stages, 200, frames),
            ("many stages", many_stages, 20, 300),
        )
    ]
    text = table(pairs)
    print(text)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    return 0 if all(long.peak_mb - short.peak_mb <= LIMIT_MB for short, long in pairs) else 1


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    raise SystemExit(main())
