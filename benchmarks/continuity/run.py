"""Renders and measures the chains that have no line yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from longtake.benchmarks.machine import unflushed
from longtake.demo_model import world
from longtake.pipelines.chain.chain import Chain

from tests.host.inprocess import use_folders

from .deliveries import PLAIN, TRIED, Delivery, first_frames
from .handing import USUAL, Handing
from .measures import LENGTHS, Figures, measured
from .results import Results
from .studio import Studio

TRIED_ON = LENGTHS[1]  # stages


@dataclass(frozen=True)
class Size:
    """Of what is rendered.

    Attributes:
        stages: of each chain.
    """

    chains: int
    stages: int


def scenes(count: int) -> list[world.Scene]:
    """Scenes that move, the same ones however many are asked for."""
    moving = [scene for scene in world.SCENES if scene.motion != world.STILL]
    order = np.random.default_rng(20).permutation(len(moving))
    return [moving[index] for index in order[:count]]


def seeds(chain: int, handing: Handing, stages: int) -> list[int]:
    """The first stage is the same film in every way: only what is handed on differs."""
    first = 1000 * chain
    later = first + (500 if handing.other_seeds else 0)
    return [first, *range(later + 1, later + stages)]


def measure_chains(
    results: Results, folder: Path, handings: Sequence[Handing], wanted: Sequence[Delivery], size: Size, until: float
) -> None:
    """Add what there is no figure of yet.

    Args:
        folder: where takes are kept.
        wanted: ways of showing a chain; those that were only tried are looked at in the usual handing's first stages.
        until: on the monotonic clock, when no chain is begun any more.
    """
    use_folders(folder)
    studio = Studio(folder)
    for (number, scene), handing in product(enumerate(scenes(size.chains)), handings):
        lengths = {delivery: size.stages for delivery in wanted if delivery in PLAIN}
        if handing is USUAL:
            lengths |= {delivery: min(size.stages, TRIED_ON) for delivery in wanted if delivery in TRIED}
        missing = {
            delivery: stages
            for delivery, stages in lengths.items()
            if not results.has(handing.name, number, delivery.name, stages)
        }
        if not missing:
            continue
        if time.monotonic() > until:
            return
        with torch.inference_mode(), unflushed():  # as ComfyUI runs its nodes
            chain = studio.chain(scene.prompt, handing, seeds(number, handing, max(missing.values())))
            films = {delivery.name: _measured(chain, delivery, stages, scene) for delivery, stages in missing.items()}
        results.add(handing.name, number, scene.prompt, films)
        print(f"{handing.name}, chain {number}: {', '.join(films)}", flush=True)


def _measured(chain: Chain, delivery: Delivery, stages: int, scene: world.Scene) -> Figures:
    first = replace(chain, links=chain.links[:stages])
    return measured(delivery.show(first).astype(np.float32) / 65535, first_frames(first), scene)
