"""What keeping a stage while it is denoised adds to each guided step.

    python benchmarks/checkpoint.py [NAME]

A step here is the wrapper that a checkpoint puts around a prediction, with the latents of Wan's published sizes and a
model that computes for half a second on one thread. The same steps without it are taken in turns; what is told is the
median of the differences. Prints a table and writes the row NAME ("now") to benchmarks/results/checkpoint.md beside
those that are there.
"""

from __future__ import annotations

import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "checkpoint.md"
# [B, C, T, h, w] of 81 frames
SIZES = {"832x480": (1, 16, 21, 60, 104), "1280x720": (1, 16, 21, 90, 160)}
STEPS, COMPUTES = 12, 0.5


def working(shape: tuple[int, ...]) -> Callable[..., list[Any]]:
    """A prediction for each conditioning, after half a second of work on one thread."""
    import torch

    square = torch.randn(512, 512)

    def predict(base: Any, conds: list[Any], x: Any, timestep: Any, options: Any) -> list[Any]:
        until = time.monotonic() + COMPUTES
        while time.monotonic() < until:
            torch.mm(square, square)
        return [torch.randn(shape) for _ in conds]

    return predict


def added(shape: tuple[int, ...], models: Path) -> float:
    """Milliseconds that a checkpoint adds to a step."""
    import torch
    from comfy.patcher_extension import WrappersMP
    from longtake.pipelines.sampling.resume import Checkpoint

    from tests.pipelines.stage.test_keys import bundle

    model, predict = bundle(models).high.get(), working(shape)
    asked = [object(), object()], torch.randn(shape), torch.tensor([1.0])
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        checkpoint = Checkpoint(Path(folder) / "kept.tape", print)
        watched = checkpoint.watching(model, 0).wrappers[WrappersMP.CALC_COND_BATCH]["longtake"][-1]
        differences = []
        for _ in range(STEPS):
            started = time.monotonic()
            predict(None, *asked, {})
            between = time.monotonic()
            watched(predict, None, *asked, {})
            differences.append((time.monotonic() - between) - (between - started))
        checkpoint.close()
    return 1000 * statistics.median(differences)


def main() -> int:
    from tests.host.inprocess import enter_comfyui, use_folders, use_models
    from tests.host.place import Place
    from tests.tiny.models import tiny_models

    place = Place.here()
    models = tiny_models(place)
    enter_comfyui(place.comfyui)
    use_models(models)
    name = sys.argv[1] if len(sys.argv) > 1 else "now"
    with tempfile.TemporaryDirectory() as folder:
        use_folders(Path(folder))
        row = f"| {name} | " + " | ".join(f"{added(shape, models):.0f} ms" for shape in SIZES.values()) + " |"
    rows = RESULT.read_text(encoding="utf-8").splitlines()[6:] if RESULT.exists() else []
    rows = [one for one in rows if not one.startswith(f"| {name} |")]
    head = [
        "# What a checkpoint adds to a guided step",
        "",
        f"Written by benchmarks/checkpoint.py: median of {STEPS} steps of {COMPUTES} s on one thread, others busy.",
        "",
        f"| | {' | '.join(SIZES)} |",
        "|---|---|---|",
    ]
    text = "\n".join([*head, *rows, row, ""])
    print(text)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    raise SystemExit(main())
