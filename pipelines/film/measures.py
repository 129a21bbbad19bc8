"""What tells a seam from the frames around it: how much changes, at once or late, colour, sharpness, loudness.

benchmarks/seam_thresholds.py measures the same of ordinary frames, of seams and of hard cuts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .colour import GRID

if TYPE_CHECKING:
    from .sound_clock import FilmSound

LATER = 8  # frames after a seam in which a late jump is looked for, and over which sharpness is averaged
# What rounding to 8 bits alone changes from frame to frame, 0..1: the mean difference of two errors of half a code.
# Where less changes the picture stands still, and a ratio says nothing.
UNSEEN = 1 / 3 / 255
SOUND_SECONDS = 0.5  # on either side of a seam
SILENCE = 1e-3  # RMS below which a sound is silent: -60 dB of full scale


@dataclass(frozen=True)
class Looks:
    """What is kept of the frames of a film: five numbers each, however large they are.

    Attributes:
        change: mean absolute difference from the frame before, `[frames]` in 0..1; 0 for the first.
        colour: mean, `[frames, 3]` in 0..1.
        sharpness: how much steps between neighbouring pixels differ from the next ones, in parts of the steps, root
            mean square, `[frames]`: of a soft edge they hardly do. Contrast does not change it.
    """

    change: np.ndarray
    colour: np.ndarray
    sharpness: np.ndarray

    @classmethod
    def at(cls, frames: Iterable[np.ndarray], count: int) -> Looks:
        """Look at `count` frames `[H, W, 3]` uint16, each once."""
        looks = cls(np.zeros(count, np.float32), np.empty((count, 3), np.float32), np.empty(count, np.float32))
        before = None
        for index, frame in enumerate(frames):
            sample = frame[::GRID, ::GRID].astype(np.float32) / 65535
            if before is not None:
                looks.change[index] = np.abs(sample - before).mean()
            looks.colour[index] = sample.mean((0, 1))
            looks.sharpness[index] = _sharpness(frame[..., 1].astype(np.float32) / 65535)
            before = sample
        return looks


def _sharpness(green: np.ndarray) -> float:
    first, second = (np.sqrt(sum(np.square(np.diff(green, order, axis)).mean() for axis in (0, 1))) for order in (1, 2))
    return float(second / max(float(first), 1e-6))


@dataclass(frozen=True)
class Figures:
    """How far what follows a frame differs from what was before it.

    Attributes:
        jump: change at the frame, in parts of the usual change around it; 1 is no jump.
        late_jump: the largest change of the frames after it, on the same scale.
        late_by: how many frames after it that is.
        colour: what the mean of the channel that moves most changes by at the frame, beyond what it usually does; of
            255, with its sign.
        sharpness: of the frames after it against those before, in %: below 0 is softer.
        sound: root mean square of the sound after it against that before, in dB; None without sound.
    """

    jump: float
    late_jump: float
    late_by: int
    colour: float
    sharpness: float
    sound: float | None = None


def figures(looks: Looks, at: int, around: range, sound: float | None = None) -> Figures:
    """Of the frame `at`, 1 or later.

    The usual change is the median of either side, of the livelier one: a stage may stand still where the next moves,
    and that is no jump.

    Args:
        around: frames that are looked at, `at` among them: those of a second on either side, at most to the next seams.
    """
    before, after = slice(around.start + 1, at), slice(at + 1, around.stop)
    sides = [float(np.median(part)) for part in (looks.change[before], looks.change[after]) if len(part)]
    usual = max([UNSEEN, *sides])
    late = looks.change[at + 1 : min(at + 1 + LATER, around.stop)]
    steps = np.diff(looks.colour[around.start : around.stop], axis=0) * 255
    here = at - around.start - 1
    others = np.delete(steps, here, axis=0)
    colour = steps[here] - (np.median(others, axis=0) if len(others) else 0)
    first, last = (
        float(looks.sharpness[part].mean())
        for part in (slice(max(around.start, at - LATER), at), slice(at, min(at + LATER, around.stop)))
    )
    return Figures(
        jump=float(looks.change[at]) / usual,
        late_jump=float(late.max()) / usual if len(late) else 0.0,
        late_by=int(late.argmax()) + 1 if len(late) else 0,
        colour=float(colour[np.abs(colour).argmax()]),
        sharpness=100 * (last / first - 1) if first else 0.0,
        sound=sound,
    )


def sound_steps(sound: FilmSound, frames: Sequence[int]) -> list[float]:
    """By how many dB a film gets louder at each of its `frames`, over half a second on either side; read once."""
    places = [sound.sample(frame) for frame in frames]
    reach = round(SOUND_SECONDS * sound.sample_rate)
    spans = [(place + shift, place + shift + reach) for place in places for shift in (-reach, 0)]
    powers, counts, done = np.zeros(len(spans)), np.zeros(len(spans)), 0
    for block in sound.blocks():
        stop = done + block.shape[1]
        for index, (first, last) in enumerate(spans):
            if first < stop and done < last:
                part = block[:, max(first - done, 0) : last - done]
                powers[index] += np.square(part, dtype=np.float64).sum()
                counts[index] += part.size
        done = stop
    levels = np.maximum(np.sqrt(powers / np.maximum(counts, 1)), SILENCE)
    return [float(20 * np.log10(after / before)) for before, after in levels.reshape(-1, 2)]
