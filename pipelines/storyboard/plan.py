"""What a storyboard renders: every stage resolved for a model family and laid on the film clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ..chain import Clip, Format, Join, Length, Transition, film_frames, spans, starts
from ..errors import Refusal
from ..plan import cover, frames_in, plan_clip
from .storyboard import StageEntry, Storyboard, seed_of, stated


@dataclass(frozen=True)
class PlannedStage:
    """A stage with everything resolved, and the clip it renders."""

    entry: StageEntry
    clip: Clip


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
                    "starts_at_frame": start + span.first,
                    "starts_at_seconds": float((start + span.first) / self.fps),
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
    for entry in _carried(board, format) if board.expands else board.stages:
        entry = _resolved(entry, format)
        clips.append(plan_clip(clips, entry.length or Length(), entry.join, format.grid, format.fps))
        stages.append(PlannedStage(entry, clips[-1]))
    return Plan(tuple(stages), format.fps, board.width, board.height, board.notes)


def _carried(board: Storyboard, format: Format) -> list[StageEntry]:
    """One entry carried over the total asked for; the last one in seconds, so that the film ends on the frame."""
    entry = board.stages[0]
    asked = "total_frames" if board.total_seconds is None else "total_seconds"
    total = board.total_frames or frames_in(board.total_seconds or 0, format.fps)
    overlap = format.overlap if entry.overlap is None else entry.overlap
    longest = plan_clip([], entry.length or Length(frames=format.clip_frames), Join(), format.grid, format.fps).frames
    try:
        lengths = cover(total, longest, overlap, format.grid)
    except Refusal as refusal:
        if refusal.field == "overlap":
            raise refusal.at(stage=2) from None
        raise Refusal(refusal.message, field=asked) from None

    last = len(lengths) - 1
    left = total - sum(lengths[:-1]) + overlap * max(last - 1, 0)
    return [
        replace(
            entry,
            length=Length(seconds=float(left / format.fps)) if index == last else Length(frames=frames),
            seed=seed_of(entry.seed, index),
            transition=Transition.SMOOTH if index else Transition.CUT,
            start_image=None if index else entry.start_image,
            anchor_image=entry.anchor_image if index else None,
            anchor_strength=entry.anchor_strength if index else None,
            end_image=entry.end_image if index == last else None,
        )
        for index, frames in enumerate(lengths)
    ]


def _resolved(entry: StageEntry, format: Format) -> StageEntry:
    """The entry with the family's defaults where it leaves the choice, and nothing its transition does not use."""
    smooth, fade = entry.transition is Transition.SMOOTH, entry.transition is Transition.FADE
    return replace(
        entry,
        length=entry.length or Length(frames=format.clip_frames),
        overlap=(format.overlap if entry.overlap is None else entry.overlap) if smooth else None,
        fade_frames=(format.fade_frames if entry.fade_frames is None else entry.fade_frames) if fade else None,
        carry_over=entry.carry_over if smooth else None,
    )
