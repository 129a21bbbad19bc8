"""How near a clip by MLX is to the same clip by ComfyUI, for each precision MLX can hold weights in.

    python benchmarks/mlx_precision.py

The trained demo model goes on from clips of its own world. Told is the peak signal-to-noise ratio, in dB, of MLX's
frames to ComfyUI's, and of the five frames handed over to what became of them. Needs a system MLX is built for; writes
benchmarks/results/mlx_precision.md.
"""

from __future__ import annotations

import os
import runpy
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "mlx_precision.md"
CLIPS, FRAMES, OVERLAP, STEPS, SEED = 4, 17, 5, 10, 7


def continued(mlx: Any, prompt: str, before: Any, seed: int) -> Any:
    """The frames `[FRAMES, H, W, 3]` of a clip that goes on from others, by MLX or, for None, by ComfyUI."""
    import torch
    from longtake.demo_model import folder, world
    from longtake.pipelines.families.wan22_sampling import SamplingSettings
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.load.diffusers.folder import open_folder
    from longtake.pipelines.model.shot import Shot, Tail

    model = bundle_from_folder(open_folder(folder.FOLDER.name, [str(folder.FOLDER.parent)]), mlx=mlx)
    settings = SamplingSettings(steps=STEPS, cfg_high=1.0, cfg_low=1.0, shift=5.0, boundary=0.9)
    with torch.inference_mode():
        words = model.encode_prompt(prompt)
        shot = Shot(
            frames=FRAMES,
            width=world.SIZE,
            height=world.SIZE,
            positive=words,
            negative=words,
            settings=settings,
            seed=seed,
            on_step=lambda *_: None,
            tail=Tail(before, None),
        )
        return model.vae.get().decode(model.family.sample(model, shot)["latent"]).reshape(FRAMES, *before.shape[1:])


def rows() -> list[str]:
    import torch
    from longtake.demo_model import measure, world
    from longtake.pipelines.mlx.wan22 import Weights

    clips = world.draw(60, torch.Generator().manual_seed(2024))
    moving = (clips.each("motion") != world.STILL).nonzero().flatten()[:CLIPS]
    near: dict[Any, list[float]] = {mlx: [] for mlx in (None, *Weights)}
    held: dict[Any, list[float]] = {mlx: [] for mlx in near}
    for number, index in enumerate(moving):
        clip = clips[index[None]]
        before = (clip.pixels(OVERLAP)[0].permute(1, 2, 3, 0) + 1) / 2
        by_comfyui = None
        for mlx in near:
            frames = continued(mlx, clip.prompts()[0], before, SEED + number)
            by_comfyui = frames if by_comfyui is None else by_comfyui
            near[mlx].append(decibels(frames, by_comfyui, measure))
            held[mlx].append(decibels(frames[:OVERLAP], before, measure))
            print(number, mlx, round(near[mlx][-1], 1), round(held[mlx][-1], 1), flush=True)
    by_mlx = [
        f"| {mlx.value} | {statistics.mean(near[mlx]):.0f} dB | {statistics.mean(held[mlx]):.1f} dB |"
        for mlx in Weights
    ]
    return [f"| ComfyUI | | {statistics.mean(held[None]):.1f} dB |", *by_mlx]


def decibels(frames: Any, others: Any, measure: Any) -> float:
    """Of frames in 0..1; the measure is of pixels in -1..1 with the batch first."""
    return float(measure.psnr(frames[None] * 2 - 1, others[None] * 2 - 1).item())


def main() -> int:
    from longtake.pipelines.mlx.process import VARIABLE

    from tests.host.inprocess import enter_comfyui, use_folders
    from tests.host.place import Place
    from tests.mlx.environment import mlx_python

    place = Place.here()
    os.environ[VARIABLE] = str(mlx_python(place))
    enter_comfyui(place.comfyui)
    with tempfile.TemporaryDirectory() as folder:
        use_folders(Path(folder))
        table = rows()
    head = [
        "# How near MLX's clips are to ComfyUI's",
        "",
        f"Written by benchmarks/mlx_precision.py: {CLIPS} clips of {FRAMES} frames by the demo model, going on from "
        f"{OVERLAP}.",
        "",
        "| rendered by | to ComfyUI's frames | frames handed over, to what became of them |",
        "|---|---|---|",
    ]
    text = "\n".join([*head, *table, ""])
    print(text)
    RESULT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    raise SystemExit(main())
