"""Colour over smooth seams: both clips of a seam show the same frames, so what differs between them is drift.

Every pass through a VAE and every rendering shifts colour and contrast a little, and a chain adds that up. The frames
of an overlap are the same moments in both clips, so their means and spreads say by how much, whatever is in the
picture. But a model shows the frames it was given a little differently from those it makes itself, and that is over
with the overlap: only as much is taken back as the frames after it still differ by. A clip is brought back to the one
before it, and with that to the clip that the run of smooth seams began with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..chain.chain import Chain, Link
from ..media.frames import ROWS, rows_of, to_uint8
from ..timeline.clips import Transition

if TYPE_CHECKING:
    from ..media.footage import FootageFrames

    Decoded = Callable[[Link], np.ndarray | FootageFrames]

Rgb = tuple[float, float, float]

GRID = 4  # every fourth pixel of every fourth row tells the mean of a frame to a thousandth
# A spread below this says nothing of contrast: going through a VAE and back moves values by about one code, which
# changes a small spread by a tenth and more though nothing has drifted.
FLAT = 8 / 255
# Corrections that differ by less, in values 0..1, are one: half a code value of the 8 bits that are shown.
SAME = 0.5 / 255
MEASURE = 2  # raised by hand whenever the same clips would be measured otherwise than before
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

    def undone(self) -> Colour:
        """The correction that takes this one back."""
        gain = tuple(1 / a for a in self.gain)
        return Colour(gain, tuple(-b / a for a, b in zip(self.gain, self.offset, strict=True)))  # type: ignore[arg-type]

    def near(self, other: Colour) -> bool:
        """Whether no value is corrected otherwise by half a code value."""
        ends = zip(self.gain, self.offset, other.gain, other.offset, strict=True)
        return all(max(abs(b - d), abs(a + b - c - d)) < SAME for a, b, c, d in ends)

    def towards(self, other: Colour, weight: float) -> Colour:
        """A correction between this one (weight 0) and another (weight 1)."""
        mixed = [
            tuple(a + weight * (b - a) for a, b in zip(mine, its, strict=True))
            for mine, its in ((self.gain, other.gain), (self.offset, other.offset))
        ]
        return Colour(*mixed)  # type: ignore[arg-type]

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """A frame `[H, W, 3]` uint16, corrected; values that would leave the range are clipped to its ends."""
        if self == UNCHANGED:
            return frame
        gain, offset = self._row(frame.shape[1], 1)
        out = np.empty_like(frame)
        source, target = frame.reshape(len(frame), -1), out.reshape(len(out), -1)
        for rows in rows_of(source):
            values = source[rows] * gain
            values += offset
            np.clip(values, 0, np.float32(65535), out=values)
            target[rows] = values
        return out

    def apply_8(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        """The same in 8 bits, rounded once, in `out` `[H, W, 3]` uint8."""
        if self == UNCHANGED:
            return to_uint8(frame, out)
        gain, offset = self._row(frame.shape[1], 257)
        # What would leave the range is clipped before, where a value takes half the memory, and only where any would.
        lowest = np.clip(np.ceil(-offset / gain), 0, 65535).astype(np.uint16)
        highest = np.clip((255.99 - offset) / gain, 0, 65535).astype(np.uint16)
        below, above = lowest.any(), highest.min() < 65535
        source, target = frame.reshape(len(frame), -1), out.reshape(len(out), -1)
        corrected = np.empty((ROWS, source.shape[1]), np.float32)
        clipped = np.empty(corrected.shape, np.uint16)
        for rows in rows_of(source):
            values = source[rows]
            if below:
                values = np.maximum(values, lowest, out=clipped[: len(values)])
            if above:
                values = np.minimum(values, highest, out=clipped[: len(values)])
            in_8 = np.multiply(values, gain, out=corrected[: len(values)])
            in_8 += offset
            target[rows] = in_8
        return out

    def _row(self, width: int, code: int) -> tuple[np.ndarray, np.ndarray]:
        """Gain and offset `[width * 3]` of a row of values, in parts of `code`, which are rounded by cutting them off.

        Three values at a time would be many times slower.
        """
        gain, offset = (np.tile(np.asarray(channels, np.float32), width) for channels in (self.gain, self.offset))
        return gain / code, offset * np.float32(65535 / code) + np.float32(0.5)


UNCHANGED = Colour()


@dataclass(frozen=True)
class Grade:
    """The corrections of a clip's frames: of frame `first` and before, of frame `last` and after, evenly between.

    Both are one, except in a clip rendered anew between neighbours that stay: it goes from what the clip before it has
    to what the one after it keeps.
    """

    head: Colour = UNCHANGED
    end: Colour = UNCHANGED
    first: int = 0
    last: int = 0

    def at(self, frame: int) -> Colour:
        if self.head == self.end:
            return self.head
        return self.head.towards(self.end, min(max((frame - self.first) / max(self.last - self.first, 1), 0.0), 1.0))


class Measured(Protocol):
    """Where numbers are kept that were measured between takes."""

    def measured(self, what: Any) -> list[float] | None: ...

    def keep_measured(self, what: Any, values: Sequence[float]) -> None: ...


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
        steps = [part(whole, other) for whole, other in zip(self.step, step, strict=True)]
        logs = [part(math.log(whole), math.log(other)) for whole, other in zip(self.contrast, contrast, strict=True)]
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
    first, second = (_sampled(frames) for frames in (shown, again))
    means = [values.mean((0, 2)) for values in (first, second)]
    for values, mean in zip((first, second), means, strict=True):
        values -= mean[:, None]
    spreads = [np.sqrt(np.square(values).mean((0, 2))) for values in (first, second)]
    flat = np.minimum(*spreads) < FLAT
    gain = np.where(flat, 1.0, spreads[0] / np.maximum(spreads[1], FLAT))
    rest = second * gain[:, None] - first
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
    values = _sampled(frames)
    return values.mean(2), np.maximum(values.std(2), FLAT)


def _sampled(frames: np.ndarray) -> np.ndarray:
    """Some pixels of frames `[N, H, W, 3]` uint16 as values 0..1, `[N, 3, pixels]`: a channel lies in one piece, which
    sums of it are quick over."""
    channels = np.moveaxis(frames[:, ::GRID, ::GRID], 3, 1).astype(np.float64, order="C")
    channels /= 65535
    return channels.reshape(*channels.shape[:2], -1)


def _step(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Of values `[N, 3]` of frames that follow each other."""
    paces = [(values[-1] - values[0]) / (len(values) - 1) for values in (before, after) if len(values) > 1]
    apart = (len(before) + len(after)) / 2  # frames between the middles of both runs
    return after.mean(0) - before.mean(0) - apart * (np.mean(paces, axis=0) if paces else 0)


def part(whole: float, other: float) -> float:
    """As much of a difference as there is of another one: from none to all of it."""
    return min(max(other, min(whole, 0.0)), max(whole, 0.0))


def _rgb(values: np.ndarray) -> Rgb:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


class Match:
    """The corrections of a chain's clips, each found when it is first asked for.

    A clip keeps the correction that was found for it when it was first shown: where one before it is rendered anew
    between neighbours that stay, that one takes the difference, and the rest of the film looks as it did.

    Args:
        decoded: opens the pixels of one link, `[T, H, W, 3]` uint16.
        kept: remembers what was measured, so that nothing need be decoded for it again.
    """

    def __init__(self, chain: Chain, decoded: Decoded, kept: Measured | None = None):
        self.chain = chain
        self.decoded = decoded
        self.kept = kept
        self._heads: dict[int, Colour] = {}
        self._drifts: dict[int, Colour] = {}
        self._replays: dict[int, Replay] = {}
        self._steps: dict[int, tuple[Rgb, Rgb]] = {}

    def of(self, index: int) -> Grade:
        """The corrections of a clip, counted from 0."""
        head = self._head(index)
        following = index + 1
        if following == len(self.chain.links) or not self._continues(following):
            return Grade(head, head)
        next_head = self._heads.get(following) or self._remembered(lambda: self._place(following))
        if next_head is None:
            return Grade(head, head)
        end = next_head.after(self._drift(following).undone())
        if end.near(head):
            return Grade(head, head)
        joins = [self.chain.links[clip].clip for clip in (index, following)]
        return Grade(head, end, joins[0].join.overlap, joins[0].frames - 1 - joins[1].join.overlap)

    def replay(self, index: int) -> Replay | None:
        """The frames that a clip and the one before it both show; None where it does not go on from that."""
        if not self._continues(index):
            return None
        join = self.chain.links[index].clip.join
        if index not in self._replays:
            before, after = (self.decoded(link) for link in self.chain.links[index - 1 : index + 1])
            # An overlap of the SVI kind begins with the anchor image in place of its first frame.
            skipped = 1 if join.overlap > 1 else 0
            shown, again = before[-(join.overlap - skipped) :], after[skipped : join.overlap]
            self._replays[index] = compare(np.asarray(shown), np.asarray(again))
            fresh = after[join.overlap : join.overlap + BESIDE]
            self._steps[index] = step_between(np.asarray(before[-BESIDE:]), np.asarray(fresh))
        return self._replays[index]

    def _continues(self, index: int) -> bool:
        return index > 0 and self.chain.links[index].clip.join.transition is Transition.SMOOTH

    def _head(self, index: int) -> Colour:
        """The correction that a clip begins with."""
        begun = index
        while begun not in self._heads and self._continues(begun):
            begun -= 1
        for clip in range(begun, index + 1):
            if clip not in self._heads:
                self._heads[clip] = self._next(clip) if self._continues(clip) else UNCHANGED
        return self._heads[index]

    def _next(self, index: int) -> Colour:
        head = self._remembered(lambda: self._place(index))
        if head is None:
            head = self._heads[index - 1].after(self._drift(index))
            self._remember(lambda: self._place(index), head)
        return head

    def _drift(self, index: int) -> Colour:
        """What brings a clip back to the one before it."""
        if index not in self._drifts:
            drift = self._remembered(lambda: self._pair(index))
            if drift is None:
                replay = self.replay(index)
                drift = self._correction(index, replay) if replay is not None and replay.same else UNCHANGED
                self._remember(lambda: self._pair(index), drift)
            self._drifts[index] = drift
        return self._drifts[index]

    def _correction(self, index: int, replay: Replay) -> Colour:
        """What takes back of a difference over the overlap as much as the frames after it still have."""
        return replay.lasting(*self._steps[index])

    def _pair(self, index: int) -> list[Any]:
        """What a clip and the one before it show on both sides of their seam."""
        links = self.chain.links[index - 1 : index + 1]
        return ["drift", MEASURE, links[1].clip.join.overlap, *map(seen_of, links)]

    def _place(self, index: int) -> list[Any]:
        """A clip, and as how many-th it goes on from the one its run began with."""
        begun = index
        while self._continues(begun):
            begun -= 1
        link = self.chain.links[index]
        return ["correction", MEASURE, index - begun, link.clip.join.overlap, seen_of(link)]

    def _remembered(self, what: Callable[[], list[Any]]) -> Colour | None:
        values = None if self.kept is None else self.kept.measured(what())
        return None if values is None else Colour(tuple(values[:3]), tuple(values[3:]))  # type: ignore[arg-type]

    def _remember(self, what: Callable[[], list[Any]], colour: Colour) -> None:
        if self.kept is not None:
            self.kept.keep_measured(what(), [*colour.gain, *colour.offset])


def seen_of(link: Link) -> Any:
    """What the frames of a link depend on, for a key: its take and what decodes it, or the video it shows."""
    if link.footage is not None:
        return link.footage.key
    return [link.rendered.key, link.model.vae, *(["tiled"] if link.model.tiled else [])]
