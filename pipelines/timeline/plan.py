"""Planning clips on the film's clock: how long each is rendered, and which lengths and joins cannot be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from typing import Any

from ..document import MAX_SEED
from ..errors import Refusal
from .clips import Clip, Format, Grid, Join, Length, Transition, joined_at, starts

MAX_STAGES = 1000  # well over an hour of film at the usual five seconds; more is a slip of the keyboard


def frames_in(seconds: float, fps: Fraction) -> int:
    """Whole frames in a time, a half rounded up. A float counts as the decimal it prints as, so 0.15 s is 15/100 s."""
    return math.floor(Fraction(str(seconds)) * fps + Fraction(1, 2))


def plan_clip(
    before: Sequence[Clip], length: Length, join: Join, grid: Grid, fps: Fraction, to_grid: bool = False
) -> Clip:
    """Plan the clip that follows `before`, or say why there cannot be one.

    Args:
        before: the clips already planned, each by this function.
        length: what the stage was asked for.
        join: how it joins the clip before it; the first stage's is a cut.
        grid: the lengths the model can render.
        fps: frames a second of the film.
        to_grid: whether every frame rendered is shown, because an image stands on the last of them.

    Raises:
        Refusal: naming the stage and one of frames, seconds, overlap, fade_frames, transition.
    """
    stage = len(before) + 1
    join = Join.of(join.transition, join.overlap, join.fade_frames, join.carry)
    try:
        _check_length(length, grid)
        if stage > MAX_STAGES:
            raise Refusal(f"a chain can have {MAX_STAGES} stages")
        if not before:
            return _first_clip(length, join, grid, fps, to_grid)
        return _next_clip(before, length, join, grid, fps, to_grid)
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
    if overlap:
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


@dataclass(frozen=True)
class Piece:
    """One of the stages that a long one is rendered as.

    Attributes:
        length: what it is asked for; the last in seconds, so that all together end where the long one does.
        join: how it joins the one before it; the first joins as the long one does.
        first: frame of the long clip under its frame 0.
        frames: length of its clip.
    """

    length: Length
    join: Join
    first: int
    frames: int


def is_long(before: Sequence[Clip], clip: Clip, format: Format) -> bool:
    """Whether a clip planned behind `before` adds more than its model does well in one go."""
    return format.longest is not None and _adds(before, clip) > format.longest * format.fps


def pieces(before: Sequence[Clip], clip: Clip, format: Format, overlap: int) -> tuple[Piece, ...]:
    """The stages that render a long clip well, each smooth behind the one before it; they show what it would show.

    Args:
        before: the clips before it.
        clip: the long one, as `plan_clip` made it.
        overlap: between the pieces, in frames.

    Raises:
        Refusal: an overlap that the model or the length of its clips does not allow.
    """
    start = starts((*before, clip))[-1]
    end = clip.asked_end - clip.surplus
    try:
        lengths = cover(end - start, format.clip_frames, overlap, format.grid)
    except Refusal as refusal:
        raise Refusal(refusal.message, field="overlap" if refusal.field == "overlap" else "length") from None
    firsts = [0, *accumulate(frames - overlap for frames in lengths[:-1])]
    onwards = Join.of(Transition.SMOOTH, overlap, 0, clip.join.carry)
    parts = [
        Piece(Length(frames=frames), onwards if index else clip.join, firsts[index], frames)
        for index, frames in enumerate(lengths)
    ]
    shown = start + firsts[-1] + overlap if len(parts) > 1 else _asked_of(before)
    parts[-1] = replace(parts[-1], length=Length(seconds=float((end - shown) / format.fps)))
    return tuple(parts)


def piece_of(whole: Any, parts: Sequence[Piece], index: int) -> dict[str, Any]:
    """What piece `index` of a long stage asks for otherwise than the whole: fields by name.

    Args:
        whole: the long stage, with fields seed, start_image, image_strength, end_image and keyframes; the frames of its
            keyframes count from 0.
    """
    part, last = parts[index], len(parts) - 1
    keyframes = tuple(
        replace(key, frame=key.frame - part.first)
        for key in whole.keyframes
        if part.first + (part.join.overlap if index else 0) <= key.frame < part.first + part.frames
    )
    return {
        "length": part.length,
        # Far enough apart to meet no seed of the stages beside it, which count up by one.
        "seed": (whole.seed + index * MAX_STAGES) % (MAX_SEED + 1),
        "start_image": None if index else whole.start_image,
        "image_strength": None if index else whole.image_strength,
        "end_image": whole.end_image if index == last else None,
        "keyframes": keyframes,
    }


def remarks(before: Sequence[Clip], clip: Clip, format: Format) -> list[str]:
    """What a person should know of a clip that is planned otherwise than they may think."""
    said = []
    if clip.surplus:
        frames = "1 frame" if clip.surplus == 1 else f"{clip.surplus} frames"
        said.append(
            f"it ends on its image, {frames} later than asked: the model can put it only on the last frame it renders. "
            "A stage in seconds after it adds as many less."
        )
    if format.longest is not None and is_long(before, clip, format):
        said.append(
            f"it adds {float(_adds(before, clip) / format.fps):.4g} s, and the model does not do more than "
            f"{float(format.longest):g} s well in one clip; long_stages: chain renders it as stages that it does well."
        )
    return said


def _adds(before: Sequence[Clip], clip: Clip) -> int:
    return clip.asked_end - (before[-1].asked_end if before else 0)


def _asked_of(clips: Sequence[Clip]) -> int:
    """Frame of the film at which clips were asked to end, whatever their images made of it."""
    return clips[-1].asked_end - clips[-1].surplus if clips else 0


def _first_clip(length: Length, join: Join, grid: Grid, fps: Fraction, to_grid: bool) -> Clip:
    if join.transition is not Transition.CUT:
        raise Refusal(
            f"the first stage has nothing before it; {join.transition.value} needs a stage", field="transition"
        )
    adds = length.frames if length.frames is not None else _frames_added(length, fps)
    return _ending(grid.ceil(adds), join, 0, adds, to_grid)


def _ending(frames: int, join: Join, start: int, asked_end: int, to_grid: bool) -> Clip:
    if not to_grid:
        return Clip(frames, join, asked_end)
    return Clip(frames, join, start + frames, start + frames - asked_end)


def _next_clip(before: Sequence[Clip], length: Length, join: Join, grid: Grid, fps: Fraction, to_grid: bool) -> Clip:
    _check_join(before, join, grid)
    previous = before[-1]
    start = joined_at(previous, starts(before)[-1], join)
    if length.frames is not None:
        _check_fits(length.frames, join, grid)
        return Clip(length.frames, join, start + length.frames)

    asked = _asked_of(before)
    asked_end = asked + _frames_added(length, fps)
    shown_already = max(start + join.hidden, previous.asked_end)
    if asked_end <= shown_already:
        surplus = shown_already - asked
        raise Refusal(
            f"{length.seconds} s would add no frame: on its grid the stage before renders {surplus} frames more than "
            f"asked, which the film shows; ask for at least {float((surplus + 1) / fps):.3f} s",
            field="seconds",
        )
    return _ending(grid.ceil(asked_end - start), join, start, asked_end, to_grid)


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
        fade_in = previous.join.fade_in
        shown = previous.asked_end - starts(before)[-1] - previous.join.hidden
        if join.fade_frames < 1:
            raise Refusal(f"a fade of {join.fade_frames} frames is given; at least 1 is needed", field="fade_frames")
        if join.fade_frames > shown:
            raise Refusal(
                f"a fade of {join.fade_frames} frames is longer than the stage before it, of which the film shows "
                f"{shown}; use at most {shown}",
                field="fade_frames",
            )
        if join.fade_frames > shown - fade_in:
            raise Refusal(
                f"two fades meet: the stage before shows {shown} frames, {fade_in} of them fade in and "
                f"{join.fade_frames} would fade out; {_or_longer_stage(shown - fade_in)}",
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
