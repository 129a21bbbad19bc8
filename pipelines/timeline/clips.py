"""Clips, transitions, and where the film shows the frames of each clip.

With plan.py this is all the frame arithmetic there is; nobody else adds or subtracts frames.

Everything is counted on one clock, the frames of the finished film. A clip is rendered as long as the model's grid
demands, overlap included, and remembers the film frame at which it was asked to end. What it renders beyond that
frame is its over-production:

- a smooth stage after it continues from its very last frames, so the over-production stays in the film and the
  smooth stage, if asked in seconds, has that much less to add;
- a cut, a fade or the end of the film drops it, always at the end of the clip, because the head carries the
  user's image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction


class Transition(str, Enum):
    """How a stage joins the one before it."""

    SMOOTH = "smooth"
    CUT = "cut"
    FADE = "fade"


class Carry(str, Enum):
    """What a smooth stage is pinned to."""

    PIXELS = "pixels"
    LATENTS = "latents"
    SVI = "svi"


@dataclass(frozen=True)
class Grid:
    """The lengths a model can render: step * n + 1 frames (Wan 4, LTX-2 8)."""

    step: int

    def contains(self, frames: int) -> bool:
        return frames >= 1 and (frames - 1) % self.step == 0

    def ceil(self, frames: int) -> int:
        """The shortest length on the grid that holds `frames`."""
        return -(-max(frames - 1, 0) // self.step) * self.step + 1

    def neighbours(self, frames: int) -> tuple[int, int]:
        """The nearest lengths on the grid, (below, above); both are `frames` where it is on the grid."""
        above = self.ceil(frames)
        return (above - self.step if above > max(frames, 1) else above), above

    def slots(self, frames: int) -> int:
        """Latent slots of a clip: one for its first frame, one for every `step` after it.

        Raises:
            ValueError: `frames` is off the grid.
        """
        if not self.contains(frames):
            raise ValueError(f"{frames} frames are not on the grid {self.step}n+1")
        return (frames - 1) // self.step + 1


@dataclass(frozen=True)
class Format:
    """What a plan must know of a model family.

    Attributes:
        grid: the lengths it can render.
        fps: frames a second.
        clip_frames: the clip length it was published with, on the grid; the default length of a stage.
        overlap: default overlap of a smooth stage, in frames, on the grid.
        fade_frames: default length of a fade, in frames.
        ends_anywhere: whether an end image can stand on any frame, or only on the last that is rendered.
        longest: seconds that a stage can add before it counts as long; None knows no bound.
    """

    grid: Grid
    fps: Fraction
    clip_frames: int
    overlap: int
    fade_frames: int = 8
    ends_anywhere: bool = True
    longest: Fraction | None = None


@dataclass(frozen=True)
class Length:
    """The length asked of a stage: exactly one of the two.

    Attributes:
        frames: the clip as the model renders it, overlap included; must be on the grid.
        seconds: what the stage adds to the film.
    """

    frames: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Join:
    """How a clip joins the clip before it.

    Attributes:
        overlap, carry: of smooth alone; frames it is pinned to, and what of them is handed on.
        fade_frames: of fade alone.
    """

    transition: Transition = Transition.CUT
    overlap: int = 0
    fade_frames: int = 0
    carry: Carry = Carry.PIXELS

    @classmethod
    def of(cls, transition: Transition, overlap: int, fade_frames: int, carry: Carry = Carry.PIXELS) -> Join:
        """The join made of what its transition uses, the rest left out.

        Nothing is carried over an overlap of 0 frames, so such a join is a cut.
        """
        match Transition(transition):
            case Transition.SMOOTH if overlap:
                return cls(Transition.SMOOTH, overlap, carry=carry)
            case Transition.FADE:
                return cls(Transition.FADE, fade_frames=fade_frames)
        return cls()

    @property
    def hidden(self) -> int:
        """Frames at the head of the clip that the film has shown already."""
        return self.overlap if self.transition is Transition.SMOOTH else 0

    @property
    def fade_in(self) -> int:
        """Frames at the head of the clip that are blended with the clip before."""
        return self.fade_frames if self.transition is Transition.FADE else 0


@dataclass(frozen=True)
class Clip:
    """One clip of a chain.

    Attributes:
        frames: length as the model renders it, on the grid, overlap included.
        join: how it joins the clip before it; the first clip's join is a cut.
        asked_end: frame of the film at which the stage was asked to end, exclusive; where it ends on an image that can
            only be the last frame rendered, the end of the clip.
        surplus: frames by which that lies behind the end asked for in seconds.
    """

    frames: int
    join: Join
    asked_end: int
    surplus: int = 0


@dataclass(frozen=True)
class Span:
    """The part of a clip the film shows: its frames [first, stop).

    Its first `fade_in` frames are blended with the last `fade_in` frames of the span before it.
    """

    first: int
    stop: int
    fade_in: int


def film_frames(clips: Sequence[Clip]) -> int:
    """Length of the film in frames: it ends where its last stage was asked to end."""
    return clips[-1].asked_end if clips else 0


def starts(clips: Sequence[Clip]) -> tuple[int, ...]:
    """The film frame under frame 0 of each clip, whether that frame is shown or hidden by an overlap."""
    places: list[int] = []
    for index, clip in enumerate(clips):
        places.append(joined_at(clips[index - 1], places[-1], clip.join) if index else 0)
    return tuple(places)


def spans(clips: Sequence[Clip]) -> tuple[Span, ...]:
    """What the film shows of each clip. Together the spans tile the film; only the frames of a fade lie in two."""
    shown = []
    for index, (clip, start) in enumerate(zip(clips, starts(clips), strict=True)):
        continued = index + 1 < len(clips) and clips[index + 1].join.transition is Transition.SMOOTH
        stop = clip.frames if continued else clip.asked_end - start
        shown.append(Span(clip.join.hidden, stop, clip.join.fade_in))
    return tuple(shown)


def joined_at(clip: Clip, start: int, join: Join) -> int:
    """Film frame under frame 0 of a clip that is joined to `clip`, which starts at `start`."""
    if join.transition is Transition.SMOOTH:
        return start + clip.frames - join.overlap
    return clip.asked_end - join.fade_in
