"""How much a real ComfyUI server grows while it renders and saves a long storyboard, beside a short one.

    python benchmarks/storyboard_memory.py

Each film is rendered by a server of its own on the tiny models, 192x128, in stages of 81 frames, and saved by Encode
Video. What is compared is the peak of the server's anonymous memory (RssAnon): pages of mapped files are the system's
to drop. At this size 2,000 frames held as float32, as an IMAGE batch holds them, are 590 MB, so a film that is held
anywhere would show. Prints a table and writes it to benchmarks/results/storyboard_memory.md.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peak import Peak

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "storyboard_memory.md"
WIDTH, HEIGHT = 192, 128
LIMIT_MB = 300


@dataclass(frozen=True)
class Run:
    frames: int
    stages: int
    peak_mb: float
    seconds: float


def render(frames: int) -> Run:
    """Render and save a film of `frames` frames on a fresh server."""
    from tests.host import graphs
    from tests.host.film import look_into
    from tests.host.place import Place
    from tests.host.server import Server
    from tests.tiny.models import tiny_models
    from tests.tiny.photos import put_photos

    board = {
        "total_frames": frames,
        "defaults": {"frames": 81, "width": WIDTH, "height": HEIGHT, "start_image": "astronaut.png"},
        "stages": [{"prompt": "a walk along the shore"}],
    }
    graph = {
        "model": graphs.load("i2v"),
        "sampling": graphs.sampling(steps=2, cfg_high=1.0, cfg_low=1.0, **{"expert_split.split_step": 1}),
        "board": graphs.storyboard(board),
        **graphs.delivered("board", "benchmark/film"),
    }
    place = Place.here()
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(place, Path(folder), tiny_models(place)) as server,
    ):
        put_photos(server.input)
        assert server.process is not None
        started = time.monotonic()
        with Peak(server.process.pid) as peak:
            result = server.run(graph, timeout=3600)
        seconds = time.monotonic() - started
        if not result.ok:
            raise SystemExit(result.why())
        if look_into(server.files(result)[0]).frames != frames:
            raise SystemExit("the film has not the frames that were asked for")
        stages = len({text.split(",")[0] for text in result.texts if text.startswith("Stage")})
    return Run(frames, stages, peak.highest / 2**20, seconds)


def table(short: Run, long: Run) -> str:
    rows = [f"| {run.frames} | {run.stages} | {run.peak_mb:.0f} MB | {run.seconds:.0f} s |" for run in (short, long)]
    return "\n".join(
        [
            "# Memory of a ComfyUI server over the length of a storyboard",
            "",
            f"Written by benchmarks/storyboard_memory.py: tiny models, {WIDTH}x{HEIGHT}, stages of 81 frames, "
            f"one fresh "
            "server a row.",
            "",
            "| frames | stages | peak anonymous memory | time |",
            "|---|---|---|---|",
            *rows,
            "",
            f"The long film took {long.peak_mb - short.peak_mb:.0f} MB more than the short one; the limit is "
            f"{LIMIT_MB} MB. "
            f"Its frames as an IMAGE batch would be {long.frames * WIDTH * HEIGHT * 12 / 1e6:.0f} MB.",
            "",
        ]
    )


def main() -> int:
    short, long = render(200), render(2000)
    text = table(short, long)
    print(text)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    return 0 if long.peak_mb - short.peak_mb <= LIMIT_MB else 1


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    raise SystemExit(main())
