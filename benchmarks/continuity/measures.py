"""What is measured in a film of the closed world, whose truth is one shape that moves on a plain ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from longtake.demo_model import measure
from longtake.demo_model.world import Scene

AROUND = 16  # frames on either side of a seam: a second of Wan
LATER = 8  # frames after a seam in which a late jump is looked for, and over which a speed is measured
SHARE = 0.15  # of the film at either end, as FramePack's drift measure has it
LENGTHS = (2, 5, 20)  # stages after which a chain is looked at as a film of its own

Figures = dict[str, Any]


@dataclass(frozen=True)
class Look:
    """What is seen in each frame of a film.

    Attributes:
        colour: of the shape, `[frames, 3]` in 0..1.
        contrast: distance of the shape's colour from the ground's.
        sharpness: the steepest edges, in parts of the contrast a pixel.
    """

    colour: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray

    @classmethod
    def at(cls, film: np.ndarray) -> Look:
        """Look at frames `[frames, H, W, 3]` in 0..1."""
        ground = np.median(film, axis=(1, 2))
        difference = np.linalg.norm(film - ground[:, None, None], axis=-1)
        inside = difference >= 0.6 * np.quantile(difference, 0.98, axis=(1, 2))[:, None, None]
        colour = (film * inside[..., None]).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1)[:, None]
        contrast = np.linalg.norm(colour - ground, axis=-1)
        # On a torus, as the world is: a shape on the border has an edge there too.
        across, down = (np.linalg.norm(film - np.roll(film, 1, axis), axis=-1) for axis in (2, 1))
        steepest = np.quantile(np.maximum(across, down), 0.98, axis=(1, 2))
        return cls(colour, contrast, steepest / np.maximum(contrast, 1e-3))


def measured(film: np.ndarray, starts: Sequence[int], scene: Scene) -> Figures:
    """All measures of one film: by seam, by stage, and for each of `LENGTHS` and the whole what is of a film's ends.

    A film's first stages are a film too, and none of their figures depends on what comes after; so one chain gives
    those of every length.

    Args:
        film: `[frames, H, W, 3]` in 0..1.
        starts: the frame with which each stage begins, and the end.
        scene: what its prompt says.
    """
    stages = len(starts) - 1
    lengths = sorted({1, stages, *(length for length in LENGTHS if length <= stages)})
    seams = [_seam(film, seam) for seam in starts[1:-1]]
    identity = {str(length): _told(film[starts[length - 1] : starts[length]], scene) for length in lengths}
    return {
        "identity": identity,
        **_stages(Look.at(film), starts, lengths[1:]),
        **{key: [seam[key] for seam in seams] for key in (seams[0] if seams else ())},
    }


def _told(stage: np.ndarray, scene: Scene) -> float:
    """1 for the colour and the shape that the prompt says, else 0."""
    seen = _seen(stage)
    return float(int(seen.shape) == scene.shape and int(seen.colour) == scene.colour)


def _seen(film: np.ndarray) -> measure.Seen:
    return measure.look(torch.from_numpy(film).permute(3, 0, 1, 2)[None] * 2 - 1)


def _seam(film: np.ndarray, seam: int) -> dict[str, float | None]:
    """The figures of the seam before a frame; it has at least `LATER` + 1 frames on either side."""
    around = film[max(0, seam - AROUND) : seam + AROUND]
    changes = np.abs(np.diff(around, axis=0)).mean((1, 2, 3))
    at = min(seam, AROUND) - 1
    usual = max(float(np.median(np.delete(changes, at))), 1e-6)
    centre = _seen(film[seam - 1 - LATER : seam + LATER + 1]).centre[0].numpy()
    before, after = (centre[LATER] - centre[0]) / LATER, (centre[-1] - centre[LATER + 1]) / LATER
    speeds = np.linalg.norm(before), np.linalg.norm(after)
    turned = np.degrees(np.arccos(np.clip(before @ after / max(speeds[0] * speeds[1], 1e-9), -1, 1)))
    return {
        "jump": round(float(changes[at]) / usual, 3),
        "late_jump": round(float(changes[at + 1 : at + 1 + LATER].max()) / usual, 3),
        "speed": round(abs(float(speeds[1] - speeds[0])), 3),
        "angle": round(float(turned), 1) if min(speeds) > 0.25 else None,  # a shape that stands has no direction
    }


def _stages(look: Look, starts: Sequence[int], lengths: Sequence[int]) -> Figures:
    """Colour's distance, contrast and sharpness of each stage, in % of stage 1, and at the ends of each length."""
    parts = [slice(*pair) for pair in pairwise(starts)]
    colour = look.colour * 100
    contrast, sharpness = (values / values[parts[0]].mean() * 100 for values in (look.contrast, look.sharpness))
    first = colour[parts[0]].mean(0)
    result: Figures = {"colour": [round(float(np.linalg.norm(colour[part].mean(0) - first)), 2) for part in parts]}
    for name, values in (("contrast", contrast), ("sharpness", sharpness)):
        result[name] = [round(float(values[part].mean()), 2) for part in parts]
    for name, values in (("colour", colour), ("contrast", contrast), ("sharpness", sharpness)):
        result[f"{name}_ends"] = {str(length): round(_ends(values[: starts[length]]), 2) for length in lengths}
    return result


def _ends(values: np.ndarray) -> float:
    """How far apart the means of a measure are over the first and the last `SHARE` of a film."""
    few = max(1, round(SHARE * len(values)))
    return float(np.linalg.norm(values[:few].mean(0) - values[-few:].mean(0)))
