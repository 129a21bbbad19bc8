"""One figure of a film for each measure, and what the measures mean."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .measures import LATER, SHARE, Figures

GONE = 50  # % of the contrast of stage 1: below it the shape counts as faded away


@dataclass(frozen=True)
class Measure:
    """A column of a table.

    Attributes:
        key: of the figure.
        digits: that are worth showing.
        best: the value that a film without seams would have.
    """

    key: str
    name: str
    unit: str
    meaning: str
    digits: int = 2
    best: float = 0.0

    @property
    def head(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name


AT_SEAMS = (
    Measure("jump", "jump", "", "change across the seam, over the median change within a second either side", best=1.0),
    Measure("late_jump", "late jump", "", f"largest change of the {LATER} frames after, on the same scale", best=1.0),
    Measure("speed", "speed error", "px/frame", f"of the {LATER} frames after the seam against the {LATER} before"),
    Measure("angle", "angle error", "degrees", "between the same two motions", 1),
)
ENDS = f"how far the means of the first and the last {SHARE:.0%} of the film lie apart"
OVER_FILM = (
    Measure("identity_first", "right at first", "", "share of chains with the prompt's shape and colour in stage 1"),
    Measure("identity", "right at the end", "", "share of chains with both in the last stage", best=1.0),
    Measure("lasting", "stages shown", "", f"share of stages of at least {GONE} % of stage 1's contrast", best=1.0),
    Measure("colour_slope", "colour", "% a seam", "slope, by stages, of how far the shape is from its first colour"),
    Measure("contrast_slope", "contrast", "% a seam", "slope of how far shape and ground are apart"),
    Measure("sharpness_slope", "sharpness", "% a seam", "slope of the steepest edges over the contrast"),
    Measure("colour_ends", "colour at the ends", "%", ENDS, 1),
    Measure("contrast_ends", "contrast at the ends", "%", ENDS, 1),
    Measure("sharpness_ends", "sharpness at the ends", "%", ENDS, 1),
)
MEASURES = AT_SEAMS + OVER_FILM


def figure(film: Figures, key: str, stages: int) -> float | None:
    """One figure of a film's first stages: the mean over seams, or the slope over stages; None where nothing is seen.

    Where the shape has faded into the ground, its motion, colour and edges are those of noise and do not count.

    Args:
        film: as `measures.measured` gives it.
        key: of a `Measure`.
    """
    there = shown(film, stages)
    if key == "lasting":
        return float(np.mean(there))
    if key.startswith("identity"):
        stage = 1 if key == "identity_first" else stages
        return film["identity"][str(stage)] * there[stage - 1]
    if key.endswith("_slope"):
        name = key.removesuffix("_slope")
        seen = [stage for stage, still in enumerate(steady(film, stages)) if still or name == "contrast"]
        return float(np.polyfit(seen, [film[name][stage] for stage in seen], 1)[0]) if len(seen) > 1 else None
    if key.endswith("_ends"):
        return film[key][str(stages)] if steady(film, stages)[-1] or key == "contrast_ends" else None
    values = zip(film[key][: stages - 1], pairwise(there), strict=True)
    seams = [value for value, pair in values if all(pair) and value is not None]
    return float(np.mean(seams)) if seams else None


def shown(film: Figures, stages: int) -> list[bool]:
    """Whether each stage still shows the shape."""
    return [contrast >= GONE for contrast in film["contrast"][:stages]]


def steady(film: Figures, stages: int) -> list[bool]:
    """Whether each stage shows it to its end: one that fades away says nothing of colour and edges."""
    there = shown(film, stages)
    return [now and after for now, after in zip(there, [*there[1:], True], strict=True)]
