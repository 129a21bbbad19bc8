"""What Seam Report's thresholds rest on: its measures of ordinary frames, of seams, and of hard cuts.

    python benchmarks/seam_thresholds.py --chains 32

Renders chains of the demo model by the fast way through it, many at a time, and measures three kinds of place in them
with the code of the report: the frames of a clip where there is no seam; smooth seams with an overlap of 1 and of 5
frames; and the place where one clip is put behind another of the same ground, as if it were to go on. Writes
benchmarks/results/seam_thresholds.md.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from machine import busy

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "benchmarks" / "results" / "seam_thresholds.md"
FRAMES, STAGES, STEPS = 33, 3, 10
SECOND = 16  # frames
ORDINARY = range(9, 25)  # frames of a clip with at least half a second on either side
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
MEASURES = ("jump", "late_jump", "colour", "sharpness")


def figures_at(frames: np.ndarray, places: Iterable[int]) -> list[list[float]]:
    """Of some frames, without signs.

    Args:
        frames: `[T, H, W, 3]` uint16.
    """
    from longtake.pipelines.film.measures import Looks, figures

    looks = Looks.at(frames, len(frames))
    found = []
    for at in places:
        measured = figures(looks, at, range(max(0, at - SECOND), min(len(frames), at + SECOND)))
        found.append([abs(getattr(measured, name)) for name in MEASURES])
    return found


def render(chains: int) -> dict[str, list[list[float]]]:
    """Kind of place -> the figures of each."""
    import torch
    from longtake.demo_model import folder, world

    from tests.host.inprocess import enter_comfyui
    from tests.host.place import Place

    enter_comfyui(Place.here().comfyui)
    moving = [scene for scene in world.SCENES if scene.motion != world.STILL]
    scenes = [moving[index] for index in np.random.default_rng(20).permutation(len(moving))[:chains]]
    model = folder.read()
    found: dict[str, list[list[float]]] = defaultdict(list)
    with torch.inference_mode():
        first = model.render([scene.prompt for scene in scenes], 1, FRAMES, steps=STEPS)
        for overlap in (5, 1):
            clips = [first]
            for seed in range(2, STAGES + 1):
                clips.append(
                    model.render([s.prompt for s in scenes], seed, FRAMES, clips[-1][:, :, -overlap:], steps=STEPS)
                )
                print(f"overlap {overlap}, stage {seed} of {STAGES}", flush=True)
            for chain in zip(*map(as_frames, clips), strict=True):
                found[f"seam, overlap {overlap}"] += seams(chain, overlap)
    for clip in (clip for batch in clips for clip in as_frames(batch)):
        found["ordinary"] += figures_at(clip, ORDINARY)
    for ground in range(len(world.GROUNDS)):
        alike = [clip for clip, scene in zip(as_frames(first), scenes, strict=True) if scene.ground == ground]
        for pair in pairwise(alike):
            found["hard cut"] += figures_at(np.concatenate(pair), [FRAMES])
    return found


def as_frames(clips: Any) -> np.ndarray:
    """Pixels (n, 3, t, h, w) in -1..1 -> `[n, T, H, W, 3]` uint16."""
    return np.rint((clips.permute(0, 2, 3, 4, 1).numpy().clip(-1, 1) + 1) / 2 * 65535).astype(np.uint16)


def seams(chain: Sequence[np.ndarray], overlap: int) -> list[list[float]]:
    """Of the seams of a chain with its colours matched, as a film shows it."""
    from longtake.pipelines.film.colour import compare

    before, figures = chain[0], []
    for clip in chain[1:]:
        correction = compare(before[-overlap:], clip[:overlap]).correction
        shown = np.stack([correction.apply(frame) for frame in clip])
        figures += figures_at(np.concatenate([before, shown[overlap:]]), [len(before)])
        before = shown
    return figures


def table(found: dict[str, list[list[float]]], index: int) -> str:
    head = ["place", "number", *(f"{100 * q:.0f} %" for q in QUANTILES)]
    rows = [head, ["---"] * len(head)]
    for kind in ("ordinary", "seam, overlap 5", "seam, overlap 1", "hard cut"):
        values = np.array(found[kind])[:, index]
        rows.append([kind, f"{len(values)}", *(f"{value:.2f}" for value in np.quantile(values, QUANTILES))])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(found: dict[str, list[list[float]]], seconds: float) -> None:
    units = ("times the usual change", "times the usual change", "of 255", "%")
    tables = [
        f"{name.replace('_', ' ')}, {unit}:\n\n{table(found, index)}"
        for index, (name, unit) in enumerate(zip(MEASURES, units, strict=True))
    ]
    said = "\n\n".join(tables)
    PAGE.write_text(f"{INTRODUCTION}\n\n{said}\n\n{seconds:.0f} s. {busy()}\n", encoding="utf-8")
    print(said)


INTRODUCTION = """\
# What Seam Report's thresholds rest on

Its measures, without their signs, at three kinds of place in films of the demo model: frames in the middle of a
clip, smooth seams, and hard cuts between clips of the same ground. Quantiles. Written by
benchmarks/seam_thresholds.py."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=32)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    write(render(options.chains), time.monotonic() - started)


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    main()
