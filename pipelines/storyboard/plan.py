"""What a storyboard renders: every stage resolved for a model family and laid on the film clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from ..errors import Refusal
from ..timeline.clips import Clip, Format, Join, Length, Transition, film_frames, spans, starts
from ..timeline.plan import Piece, cover, frames_in, is_long, piece_of, pieces, plan_clip, remarks
from .storyboard import StageEntry, Storyboard, seed_of, stated


@dataclass(frozen=True)
class PlannedStage:
    """A stage with everything resolved, and the clip it renders.

    Args:
        written: number of the stage of the document that it comes from; one there may become several.
    """

    entry: StageEntry
    clip: Clip
    written: int


@dataclass(frozen=True)
class Plan:
    """What a storyboard renders: every stage, and the length of the film in frames."""

    stages: tuple[PlannedStage, ...]
    fps: Fraction
    width: int | None = None
    height: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def clips(self) -> tuple[Clip, ...]:
        return tuple(stage.clip for stage in self.stages)

    @property
    def frames(self) -> int:
        return film_frames(self.clips)

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.fps

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values; a stage starts at the first film frame it is seen in, blended or not."""
        ends = (0, *(clip.asked_end for clip in self.clips))
        stages = []
        for index, (stage, span, start) in enumerate(
            zip(self.stages, spans(self.clips), starts(self.clips), strict=True)
        ):
            entry, clip = stage.entry, stage.clip
            stages.append(
                {
                    "stage": index + 1,
                    "prompt": entry.prompt,
                    "negative_prompt": entry.negative_prompt,
                    "seed": entry.seed,
                    "transition": clip.join.transition.value,
                    "overlap": clip.join.overlap,
                    "fade_frames": clip.join.fade_frames,
                    "rendered_frames": clip.frames,
                    "adds_frames": clip.asked_end - ends[index],
                    "adds_seconds": float((clip.asked_end - ends[index]) / self.fps),
                    "starts_at_frame": start + span.first,
                    "shows": [span.first, span.stop],
                    "starts_at_seconds": float((start + span.first) / self.fps),
                    "written": stage.written,
                    **stated(entry, "carry_over"),
                    **entry.named(),
                }
            )
        size = {"width": self.width, "height": self.height}
        return {
            "stages": stages,
            "frames": self.frames,
            "seconds": float(self.seconds),
            "fps": float(self.fps),
            **{name: value for name, value in size.items() if value is not None},
            "notes": list(self.notes),
        }


def plan(board: Storyboard, format: Format) -> Plan:
    """Plan every stage of a storyboard for a model family, before anything is loaded.

    A stage without a length renders one clip as long as the model was published with.

    Raises:
        Refusal: naming the stage and the field.
    """
    stages: list[PlannedStage] = []
    clips: list[Clip] = []
    if not board.stages:
        raise Refusal("there is none; give at least one stage", field="stages")
    notes = list(board.notes)
    for number, written in enumerate(_carried(board, format) if board.expands else board.stages, 1):
        parts = _split(written, clips, format) if board.long_stages else [written]
        if len(parts) > 1:
            notes.append(f"stage {number}: long, rendered as stages {len(clips) + 1} to {len(clips) + len(parts)}")
        for part in parts:
            entry = _resolved(part, format)
            clip = _clip(entry, clips, format)
            notes += [f"stage {len(clips) + 1}: {note}" for note in remarks(clips, clip, format)]
            clips.append(clip)
            stages.append(PlannedStage(entry, clip, 1 if board.expands else number))
    notes += _covered(stages)
    return Plan(tuple(stages), format.fps, board.width, board.height, tuple(notes))


def _clip(entry: StageEntry, before: list[Clip], format: Format) -> Clip:
    to_grid = entry.end_image is not None and not format.ends_anywhere
    return plan_clip(before, entry.length or Length(), entry.join, format.grid, format.fps, to_grid)


def _covered(stages: list[PlannedStage]) -> list[str]:
    """What to say of an end image that the film never shows, because the next stage has faded in over it."""
    return [
        f"stage {number}: its end image lies under the fade to stage {number + 1}, which covers it; a cut shows it"
        for number, (stage, after) in enumerate(pairwise(stages), 1)
        if stage.entry.end_image is not None and after.entry.transition is Transition.FADE
    ]


def _split(entry: StageEntry, before: list[Clip], format: Format) -> list[StageEntry]:
    """A stage that is longer than the model does well as stages that it does; any other as it is.

    Raises:
        Refusal: naming the stage and the field.
    """
    whole = _resolved(entry, format)
    clip = _clip(whole, before, format)
    if not is_long(before, clip, format):
        return [entry]
    number = len(before) + 1
    if entry.take is not None:
        raise Refusal("a long stage becomes many, and a take is of one; leave it out", stage=number, field="take")
    overlap = format.overlap if entry.overlap is None else entry.overlap
    try:
        parts = pieces(before, clip, format, overlap)
    except Refusal as refusal:
        raise refusal.at(stage=number) from None
    shown = clip.asked_end - starts((*before, clip))[-1]
    for key in entry.keyframes:
        if not -shown <= key.frame < shown:
            raise Refusal(f"frame {key.frame} given; the stage has {shown} frames", stage=number, field="keyframes")
    entry = replace(entry, keyframes=tuple(replace(key, frame=key.frame % shown) for key in entry.keyframes))
    return [_part(entry, parts, index) for index in range(len(parts))]


def _part(entry: StageEntry, parts: Sequence[Piece], index: int) -> StageEntry:
    transition = Transition.SMOOTH if index else entry.transition
    return replace(entry, transition=transition, **piece_of(entry, parts, index))


def _carried(board: Storyboard, format: Format) -> list[StageEntry]:
    """One entry carried over the total asked for; the last one in seconds, so that the film ends on the frame."""
    entry = board.stages[0]
    total_field = "total_frames" if board.total_seconds is None else "total_seconds"
    total = board.total_frames or frames_in(board.total_seconds or 0, format.fps)
    overlap = format.overlap if entry.overlap is None else entry.overlap
    longest = plan_clip([], entry.length or Length(frames=format.clip_frames), Join(), format.grid, format.fps).frames
    try:
        lengths = cover(total, longest, overlap, format.grid)
    except Refusal as refusal:
        if refusal.field == "overlap":
            raise refusal.at(stage=2) from None
        raise Refusal(refusal.message, field=total_field) from None

    last = len(lengths) - 1
    left = total - sum(lengths[:-1]) + overlap * max(last - 1, 0)
    return [
        replace(
            entry,
            length=Length(seconds=float(left / format.fps)) if index == last else Length(frames=frames),
            seed=seed_of(entry.seed, index),
            transition=Transition.SMOOTH if index else Transition.CUT,
            start_image=None if index else entry.start_image,
            image_strength=None if index else entry.image_strength,
            anchor_image=entry.anchor_image if index else None,
            anchor_strength=entry.anchor_strength if index else None,
            end_image=entry.end_image if index == last else None,
        )
        for index, frames in enumerate(lengths)
    ]


def _resolved(entry: StageEntry, format: Format) -> StageEntry:
    """The entry with the family's defaults where it leaves the choice, and nothing its transition does not use.

    A smooth stage over an overlap of 0 frames is a plain join: nothing is carried over, as in a cut.
    """
    smooth = entry.transition is Transition.SMOOTH and entry.overlap != 0
    fade = entry.transition is Transition.FADE
    return replace(
        entry,
        transition=Transition.CUT if not (smooth or fade) else entry.transition,
        length=entry.length or Length(frames=format.clip_frames),
        overlap=(format.overlap if entry.overlap is None else entry.overlap) if smooth else None,
        fade_frames=(format.fade_frames if entry.fade_frames is None else entry.fade_frames) if fade else None,
        carry_over=entry.carry_over if smooth else None,
        anchor=entry.anchor if smooth else None,
        anchor_strength=entry.anchor_strength if entry.anchor_image or (smooth and entry.anchor) else None,
    )
