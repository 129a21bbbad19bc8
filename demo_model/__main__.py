"""Make the demo model again: python dev.py train [STEP ...]

    encoder    of the VAE, computed
    decoder    of the VAE, trained for that encoder, or for the finished model's where none was computed here
    clips      as latents
    trunk      the transformer at every noise level
    high, low  the two experts, from the trunk
    folder     model/ and loss.png
    card       MODEL_CARD.md, every figure measured anew

All of them in turn, or those that are named. A run that was ended goes on from its last checkpoint, which is at most a
minute old.
"""

from __future__ import annotations

import argparse
import os
import runpy
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = ("encoder", "decoder", "clips", "trunk", "high", "low", "folder", "card")


def main() -> None:
    options = argparse.ArgumentParser(
        prog="dev.py train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("what", nargs="*", help="steps of the above")
    options.add_argument("--checkpoints", type=Path, default=ROOT / "build" / "demo_model")
    options.add_argument("--steps", type=int, help="of the runs named, instead of those of the plan")
    options.add_argument("--origin", type=Path, help="weights that the trunk begins with: a checkpoint or safetensors")
    chosen = options.parse_args()
    if unknown := set(chosen.what) - set(STEPS):
        options.error(f"{', '.join(sorted(unknown))} is none of {', '.join(STEPS)}")
    if hasattr(os, "nice"):
        os.nice(5)
    # Makes the repository importable as `longtake` and its tests as `tests`.
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    from longtake.demo_model.workshop import Workshop

    from tests.host.inprocess import enter_comfyui
    from tests.host.place import Place

    enter_comfyui(Place.here().comfyui)

    workshop = Workshop(chosen.checkpoints, chosen.origin)
    for step in STEPS:
        if chosen.what and step not in chosen.what:
            continue
        if plan := workshop.plans.get(step):
            workshop.train(plan if chosen.steps is None else replace(plan, steps=chosen.steps))
        elif step == "decoder" and chosen.steps is not None:
            workshop.decoder(chosen.steps)
        else:
            getattr(workshop, step)()


if __name__ == "__main__":
    main()
