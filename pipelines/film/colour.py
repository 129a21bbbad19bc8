"""Colour over smooth seams: both clips of a seam show the same frames, so what differs between them is drift.

Every pass through a VAE and every rendering shifts colour and contrast a little, and a chain adds that up. The frames
of an overlap are the same moments in both clips, so their means and spreads say by how much, whatever is in the
picture. But a model shows the frames it was given a little differently from those it makes itself, and that is over
with the overlap: only as much is taken back as the frames after it still differ by. A clip is brought back to the one
before it, and with that to the clip that the run of smooth seams began with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..chain.chain import Chain, Link
from ..timeline.clips import Transition

if TYPE_CHECKING:
    from ..media.footage import FootageFrames

    Decoded = Callable[[Link], np.ndarray | FootageFrames]

Rgb = tuple[float, float, float]

GRID = 4  # every fourth pixel of every fourth row tells the mean of a frame to a thousandth
# A spread below this says nothing of contrast: going through a VAE and back moves values by about one code, which
# changes a small spread by a tenth and more though nothing has drifted.
FLAT = 8 / 255
# Drift is small. Frames that differ by more than this are no longer the same moment: a model that did not keep to its
# overlap, which no correction of colour mends.
MOST_CONTRAST = 1.25
MOST_STEP = 0.1
BESIDE = 4  # frames on either side of a seam that say what of a difference lasts: a slot of Wan


@dataclass(frozen=True)
class Colour:
    """A correction of code values 0..1 (gamma-coded RGB), channel by channel: gain * value + offset."""

    gain: Rgb = (1.0, 1.0, 1.0)
    offset: Rgb = (0.0, 0.0, 0.0)

    def after(self, first: Colour) -> Colour:
        """This correction of what `first` has corrected."""
        gain = tuple(a * b for a, b in zip(self.gain, first.gain, strict=True))
        offset = tuple(a * b + c for a, b, c in zip(self.gain, first.offset, self.offset, strict=True))
        return Colour(gain, offset)  # type: ignore[arg-type]

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """A frame `[H, W, 3]` uint16, corrected; values that would leave the range are clipped to its ends."""
        if self == UNCHANGED:
            return frame
        gain, offset = (np.tile(np.asarray(one, np.float32), frame.shape[1]) for one in (self.gain, self.offset))
        # Row by row of W * 3 values: three at a time would be many times slower.
        values = frame.reshape(len(frame), -1) * gain
        values += 65535 * offset
        np.clip(np.rint(values, out=values), 0, 65535, out=values)
        return values.astype(np.uint16).reshape(frame.shape)


UNCHANGED = Colour()


@dataclass(frozen=True)
class Replay:
    """The frames of a seam in both clips: how they were shown, and how the clip that goes on shows them again.

    Attributes:
        step: mean of them again minus as shown, 0..1, for each channel.
        contrast: their spread again in parts of that shown.
        mean: of them again.
        noise: mean square of what differs once means and spreads are equal, 0..1.
    """

    step: Rgb
    contrast: Rgb
    mean: Rgb
    noise: float

    @property
    def correction(self) -> Colour:
        """What takes back all that differs."""
        return self.lasting(self.step, self.contrast)

    def lasting(self, step: Rgb, contrast: Rgb) -> Colour:
        """What takes back as much of the difference as there is of another one.

        Args:
            step, contrast: that other difference; where it goes the other way, nothing is taken back.
        """
        steps = [_part(whole, other) for whole, other in zip(self.step, step, strict=True)]
        logs = [_part(math.log(whole), math.log(other)) for whole, other in zip(self.contrast, contrast, strict=True)]
        gain = np.exp(-np.array(logs))
        return Colour(_rgb(gain), _rgb(np.array(self.mean) * (1 - gain) - np.array(steps)))

    @property
    def same(self) -> bool:
        """Whether both show the same moments, so that their difference is drift."""
        return all(abs(step) <= MOST_STEP for step in self.step) and all(
            1 / MOST_CONTRAST <= contrast <= MOST_CONTRAST for contrast in self.contrast
        )


def compare(shown: np.ndarray, again: np.ndarray) -> Replay:
    """Two renderings `[K, H, W, 3]` uint16 of the same frames."""
    first, second = (np.asarray(one[:, ::GRID, ::GRID], np.float64) / 65535 for one in (shown, again))
    means, spreads = zip(*((one.mean((0, 1, 2)), one.std((0, 1, 2))) for one in (first, second)), strict=True)
    flat = np.minimum(*spreads) < FLAT
    gain = np.where(flat, 1.0, spreads[0] / np.maximum(spreads[1], FLAT))
    rest = (second - means[1]) * gain - (first - means[0])
    return Replay(_rgb(means[1] - means[0]), _rgb(1 / gain), _rgb(means[1]), float((rest**2).mean()))


def step_between(before: np.ndarray, after: np.ndarray) -> tuple[Rgb, Rgb]:
    """How mean and spread of each channel step from one run of frames `[N, H, W, 3]` uint16 to the next.

    What goes on changing at the same pace on both sides, as light and motion do, is no step.

    Returns:
        the step, 0..1, and the spread after it in parts of that before.
    """
    (means, spreads), (means_after, spreads_after) = (_by_frame(frames) for frames in (before, after))
    step = _step(means, means_after)
    return _rgb(step), _rgb(np.exp(_step(np.log(spreads), np.log(spreads_after))))


def _by_frame(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each channel of each frame `[N, 3]`; no spread is below what says anything of contrast."""
    values = np.asarray(frames[:, ::GRID, ::GRID], np.float64) / 65535
    return values.mean((1, 2)), np.maximum(values.std((1, 2)), FLAT)


def _step(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Of values `[N, 3]` of frames that follow each other."""
    paces = [(values[-1] - values[0]) / (len(values) - 1) for values in (before, after) if len(values) > 1]
    apart = (len(before) + len(after)) / 2  # frames between the middles of both runs
    return after.mean(0) - before.mean(0) - apart * (np.mean(paces, axis=0) if paces else 0)


def _part(whole: float, other: float) -> float:
    """As much of a difference as there is of another one: from none to all of it."""
    return min(max(other, min(whole, 0.0)), max(whole, 0.0))


def _rgb(values: np.ndarray) -> Rgb:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


class Match:
    """The corrections of a chain's clips, each found when it is first asked for.

    Args:
        decoded: opens the pixels of one link, `[T, H, W, 3]` uint16.
    """

    def __init__(self, chain: Chain, decoded: Decoded):
        self.chain = chain
        self.decoded = decoded
        self._known: dict[int, Colour] = {}
        self._replays: dict[int, Replay] = {}

    def of(self, index: int) -> Colour:
        """The correction of a clip, counted from 0."""
        begun = index
        while begun not in self._known and self.chain.links[begun].clip.join.transition is Transition.SMOOTH and begun:
            begun -= 1
        for clip in range(begun, index + 1):
            if clip not in self._known:
                self._known[clip] = self._next(clip)
        return self._known[index]

    def replay(self, index: int) -> Replay | None:
        """The frames that a clip and the one before it both show; None where it does not go on from that."""
        join = self.chain.links[index].clip.join
        if index == 0 or join.transition is not Transition.SMOOTH:
            return None
        if index not in self._replays:
            before, after = (self.decoded(link) for link in self.chain.links[index - 1 : index + 1])
            # An overlap of the SVI kind begins with the anchor image in place of its first frame.
            skipped = 1 if join.overlap > 1 else 0
            shown, again = before[-(join.overlap - skipped) :], after[skipped : join.overlap]
            self._replays[index] = compare(np.asarray(shown), np.asarray(again))
        return self._replays[index]

    def _next(self, index: int) -> Colour:
        replay = self.replay(index)
        if replay is None:
            return UNCHANGED
        known = self._known[index - 1]
        return known.after(self._correction(index, replay)) if replay.same else known

    def _correction(self, index: int, replay: Replay) -> Colour:
        before, after = (self.decoded(link) for link in self.chain.links[index - 1 : index + 1])
        overlap = self.chain.links[index].clip.join.overlap
        fresh = after[overlap : overlap + BESIDE]
        return replay.lasting(*step_between(np.asarray(before[-BESIDE:]), np.asarray(fresh)))
