"""The seed of what is rendered, which stays as it is unless somebody asks for another."""

from __future__ import annotations

from comfy_api.latest import io

from ..pipelines.document import MAX_SEED


def seed_input(tooltip: str = "Seed of the noise.", most: int = MAX_SEED) -> io.Int.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=most,
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip=tooltip,
    )
