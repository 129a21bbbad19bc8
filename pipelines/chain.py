"""Chains, transitions and all frame arithmetic; nobody else adds or subtracts frames.

Everything is counted on one clock, the frames of the finished film. A clip is rendered as long as the model's grid
demands, overlap included, and remembers the film frame at which it was asked to end. What it renders beyond that
frame is its over-production:

- a smooth stage after it continues from its very last frames, so the over-production stays in the film and the
  smooth stage, if asked in seconds, has that much less to add;
- a cut, a fade or the end of the film drops it, always at the end of the clip, because the head carries the
  user's image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING

from .errors import Refusal

if TYPE_CHECKING:
    from .bundle.model import VideoModel
    from .existing import Footage
    from .takes.store import Take

MAX_STAGES = 1000  # well over an hour of film at the usual five seconds; more is a slip of the keyboard


class Transition(str, Enum):
    """How a stage joins the one before it."""

    SMOOTH = "smooth"
    CUT = "cut"
    FADE = "fade"


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
    """

    grid: Grid
    fps: Fraction
    clip_frames: int
    overlap: int
    fade_frames: int = 8


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
    """How a clip joins the clip before it; `overlap` belongs to smooth alone, `fade_frames` to fade alone."""

    transition: Transition = Transition.CUT
    overlap: int = 0
    fade_frames: int = 0

    @classmethod
    def of(cls, transition: Transition, overlap: int, fade_frames: int) -> Join:
        """The join made of what its transition uses, the other number left out."""
        transition = Transition(transition)
        return cls(
            transition,
            overlap if transition is Transition.SMOOTH else 0,
            fade_frames if transition is Transition.FADE else 0,
        )


@dataclass(frozen=True)
class Clip:
    """One clip of a chain.

    Attributes:
        frames: length as the model renders it, on the grid, overlap included.
        join: how it joins the clip before it; the first clip's join is a cut.
        asked_end: frame of the film at which the stage was asked to end, exclusive.
    """

    frames: int
    join: Join
    asked_end: int


@dataclass(frozen=True)
class Span:
    """The part of a clip the film shows: its frames [first, stop).

    Its first `fade_in` frames are blended with the last `fade_in` frames of the span before it.
    """

    first: int
    stop: int
    fade_in: int


@dataclass(frozen=True)
class Link:
    """A clip, what holds it, and the model that renders it; with neither take nor footage it is only planned.

    Attributes:
        take: its latent.
        footage: the video it shows, where that was there before the chain.
    """

    clip: Clip
    take: Take | None
    model: VideoModel
    footage: Footage | None = None

    @property
    def rendered(self) -> Take:
        """Its take; raises ValueError where it has none."""
        if self.take is None:
            raise ValueError("the stage has no take")
        return self.take


@dataclass(frozen=True)
class Chain:
    """References to takes and the joins between them; holds no frames."""

    family: str
    width: int
    height: int
    fps: Fraction
    links: tuple[Link, ...] = ()

    @property
    def clips(self) -> tuple[Clip, ...]:
        return tuple(link.clip for link in self.links)

    @property
    def frames(self) -> int:
        """Length of the film in frames."""
        return film_frames(self.clips)

    @property
    def spans(self) -> tuple[Span, ...]:
        return spans(self.clips)

    def append(self, link: Link) -> Chain:
        return replace(self, links=(*self.links, link))


def film_frames(clips: Sequence[Clip]) -> int:
    """Length of the film in frames: it ends where its last stage was asked to end."""
    return clips[-1].asked_end if clips else 0


def starts(clips: Sequence[Clip]) -> tuple[int, ...]:
    """The film frame under frame 0 of each clip, whether that frame is shown or hidden by an overlap."""
    found: list[int] = []
    for index, clip in enumerate(clips):
        found.append(_joined_at(clips[index - 1], found[-1], clip.join) if index else 0)
    return tuple(found)


def spans(clips: Sequence[Clip]) -> tuple[Span, ...]:
    """What the film shows of each clip. Together the spans tile the film; only the frames of a fade lie in two."""
    shown = []
    for index, (clip, start) in enumerate(zip(clips, starts(clips), strict=True)):
        continued = index + 1 < len(clips) and clips[index + 1].join.transition is Transition.SMOOTH
        stop = clip.frames if continued else clip.asked_end - start
        shown.append(Span(_hidden(clip.join), stop, _fade_in(clip.join)))
    return tuple(shown)


def frames_in(seconds: float, fps: Fraction) -> int:
    """Whole frames in a time, a half rounded up. A float counts as the decimal it prints as, so 0.15 s is 15/100 s."""
    return math.floor(Fraction(str(seconds)) * fps + Fraction(1, 2))


def plan_clip(before: Sequence[Clip], length: Length, join: Join, grid: Grid, fps: Fraction) -> Clip:
    """Plan the clip that follows `before`, or say why there cannot be one.

    Args:
        before: the clips already planned, each by this function.
        length: what the stage was asked for.
        join: how it joins the clip before it; the first stage's is a cut.
        grid: the lengths the model can render.
        fps: frames a second of the film.

    Raises:
        Refusal: naming the stage and one of frames, seconds, overlap, fade_frames, transition.
    """
    stage = len(before) + 1
    join = Join.of(join.transition, join.overlap, join.fade_frames)
    try:
        _check_length(length, grid)
        if stage > MAX_STAGES:
            raise Refusal(f"a chain can have {MAX_STAGES} stages")
        if not before:
            return _first_clip(length, join, grid, fps)
        return _next_clip(before, length, join, grid, fps)
    except Refusal as refusal:
        raise refusal.at(stage=stage) from None


def cover(total: int, clip: int, overlap: int, grid: Grid) -> tuple[int, ...]:
    """Clip lengths that carry one prompt over `total` frames, joined smoothly, each on the grid.

    All clips are `clip` frames long but the last two, which share what is left: a stub of a few frames is worse than
    what the model was trained on, and an almost full clip before it is no better. All the earlier ones stay as they
    are when the total grows, so a longer film finds its stored takes again. The film they make is `total` frames
    long or at most `grid.step - 1` longer.

    Raises:
        Refusal: a length that is not positive, a clip or overlap off the grid, or more than MAX_STAGES clips.
    """
    if total < 1:
        raise Refusal(f"a film of {total} frames is asked for; at least 1 frame is needed", field="total_frames")
    _check_on_grid(clip, grid, "frames")
    if total <= clip:
        return (grid.ceil(total),)
    _check_on_grid(overlap, grid, "overlap")
    if overlap >= clip:
        raise Refusal(_overlap_too_long(overlap, clip, grid), field="overlap")

    count = 1 + -(-(total - clip) // (clip - overlap))
    if count > MAX_STAGES:
        raise Refusal(
            f"{total} frames by {clip - overlap} frames a stage take {count} stages; a chain can have {MAX_STAGES}",
            field="total_frames",
        )
    full = count - 2
    rendered = total + (count - 1) * overlap - full * clip
    steps = -(-(rendered - 2) // grid.step)
    last = steps // 2
    return (clip,) * full + ((steps - last) * grid.step + 1, last * grid.step + 1)


def _joined_at(clip: Clip, start: int, join: Join) -> int:
    """Film frame under frame 0 of a clip that follows `clip`, which starts at `start`."""
    if join.transition is Transition.SMOOTH:
        return start + clip.frames - join.overlap
    return clip.asked_end - _fade_in(join)


def _hidden(join: Join) -> int:
    return join.overlap if join.transition is Transition.SMOOTH else 0


def _fade_in(join: Join) -> int:
    return join.fade_frames if join.transition is Transition.FADE else 0


def _first_clip(length: Length, join: Join, grid: Grid, fps: Fraction) -> Clip:
    if join.transition is not Transition.CUT:
        raise Refusal(
            f"the first stage has nothing before it; {join.transition.value} needs a stage", field="transition"
        )
    adds = length.frames if length.frames is not None else _frames_added(length, fps)
    return Clip(grid.ceil(adds), join, adds)


def _next_clip(before: Sequence[Clip], length: Length, join: Join, grid: Grid, fps: Fraction) -> Clip:
    _check_join(before, join, grid)
    previous = before[-1]
    start = _joined_at(previous, starts(before)[-1], join)
    if length.frames is not None:
        _check_fits(length.frames, join, grid)
        return Clip(length.frames, join, start + length.frames)

    asked_end = previous.asked_end + _frames_added(length, fps)
    shown_already = start + _hidden(join)
    if asked_end <= shown_already:
        surplus = shown_already - previous.asked_end
        raise Refusal(
            f"{length.seconds} s would add no frame: on its grid the stage before renders {surplus} frames more than "
            f"asked, which a smooth stage keeps; ask for at least {float((surplus + 1) / fps):.3f} s",
            field="seconds",
        )
    return Clip(grid.ceil(asked_end - start), join, asked_end)


def _frames_added(length: Length, fps: Fraction) -> int:
    frames = frames_in(length.seconds or 0, fps)
    if frames < 1:
        raise Refusal(
            f"{length.seconds} s would add no frame at {float(fps):g} fps; one frame is {float(1 / fps):.3f} s",
            field="seconds",
        )
    return frames


def _check_length(length: Length, grid: Grid) -> None:
    frames, seconds = length.frames, length.seconds
    if frames is not None and seconds is None:
        _check_on_grid(frames, grid, "frames")
    elif seconds is not None and frames is None:
        if not math.isfinite(seconds) or seconds <= 0:
            raise Refusal(f"{seconds} s is no length; give a positive number of seconds", field="seconds")
    else:
        raise Refusal("give its length either in frames or in seconds, one of the two", field="frames")


def _check_on_grid(frames: int, grid: Grid, field: str) -> None:
    if frames < 1:
        raise Refusal(f"{frames} frames are given; at least 1 is needed", field=field)
    if not grid.contains(frames):
        below, above = grid.neighbours(frames)
        raise Refusal(
            f"{frames} frames are given, and the model takes {grid.step}n+1; use {below} or {above}", field=field
        )


def _check_join(before: Sequence[Clip], join: Join, grid: Grid) -> None:
    """Refuse a join that the clips so far do not allow, whatever follows."""
    previous = before[-1]
    if join.transition is Transition.SMOOTH:
        _check_on_grid(join.overlap, grid, "overlap")
        if join.overlap > previous.frames:
            raise Refusal(
                f"an overlap of {join.overlap} frames is longer than the stage before it, which renders "
                f"{previous.frames}; use at most {grid.neighbours(previous.frames)[0]}",
                field="overlap",
            )
    elif join.transition is Transition.FADE:
        span = spans(before)[-1]
        shown = span.stop - span.first
        if join.fade_frames < 1:
            raise Refusal(f"a fade of {join.fade_frames} frames is given; at least 1 is needed", field="fade_frames")
        if join.fade_frames > shown:
            raise Refusal(
                f"a fade of {join.fade_frames} frames is longer than the stage before it, of which the film shows "
                f"{shown}; use at most {shown}",
                field="fade_frames",
            )
        if join.fade_frames > shown - span.fade_in:
            raise Refusal(
                f"two fades meet: the stage before shows {shown} frames, {span.fade_in} of them fade in and "
                f"{join.fade_frames} would fade out; {_or_longer_stage(shown - span.fade_in)}",
                field="fade_frames",
            )


def _check_fits(frames: int, join: Join, grid: Grid) -> None:
    """Refuse a join longer than the clip of `frames` frames it opens."""
    if join.transition is Transition.SMOOTH and join.overlap >= frames:
        raise Refusal(_overlap_too_long(join.overlap, frames, grid), field="overlap")
    if join.transition is Transition.FADE and join.fade_frames > frames:
        raise Refusal(
            f"a fade of {join.fade_frames} frames is longer than the stage itself, which has {frames}; "
            f"use at most {frames}",
            field="fade_frames",
        )


def _overlap_too_long(overlap: int, frames: int, grid: Grid) -> str:
    longest = frames - grid.step
    hint = f"use at most {longest}, or more frames" if longest >= 1 else "give the stage more frames"
    return f"an overlap of {overlap} frames leaves nothing new of a clip of {frames}; {hint}"


def _or_longer_stage(room: int) -> str:
    return f"fade at most {room}, or make that stage longer" if room else "make that stage longer"
