"""A chain written down: what a storyboard says of each stage and of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..document import MAX_SEED
from ..lora.choice import LoraChoice
from ..timeline.clips import Carry, Join, Length, Transition
from .keyframes import NamedKeyframe

IMAGES = ("start_image", "end_image", "anchor_image")


@dataclass(frozen=True)
class StageEntry:
    """One stage as written, the defaults filled in.

    None leaves the length, overlap, fade and carry-over to the model family. Where a total is asked for, `overlap` and
    `carry_over` are those of the stages that continue this one. Images and the soundtrack are names in ComfyUI's input
    folder; the soundtrack is the sound of the whole film, of which the stage takes its part. LoRAs are names in the
    loras folder; they are applied on top of the bundle's own. `take` is the number of a stored take that is used
    instead of rendering. `anchor` "start_image" anchors a smooth stage to the last start image before it.

    Where long stages are rendered as chains, `overlap` and `carry_over` are those of the stages this one becomes.
    """

    prompt: str
    negative_prompt: str = ""
    length: Length | None = None
    seed: int = 0
    transition: Transition = Transition.CUT
    overlap: int | None = None
    fade_frames: int | None = None
    carry_over: str | None = None
    start_image: str | None = None
    end_image: str | None = None
    anchor_image: str | None = None
    anchor_strength: float | None = None
    keyframes: tuple[NamedKeyframe, ...] = ()
    soundtrack: str | None = None
    loras: tuple[LoraChoice, ...] = ()
    take: int | None = None
    anchor: str | None = None
    image_strength: float | None = None

    @property
    def join(self) -> Join:
        return Join.of(
            self.transition, self.overlap or 0, self.fade_frames or 0, Carry(self.carry_over or Carry.PIXELS)
        )

    def named(self) -> dict[str, Any]:
        """The files it names, how they count, and its take, as a document says them."""
        keyframes = {"keyframes": [keyframe.as_json() for keyframe in self.keyframes]} if self.keyframes else {}
        loras = {"loras": [choice.as_json() for choice in self.loras]} if self.loras else {}
        words = stated(self, *IMAGES, "anchor", "anchor_strength", "image_strength", "soundtrack", "take")
        return {**words, **keyframes, **loras}


@dataclass(frozen=True)
class Storyboard:
    """A chain written down.

    Attributes:
        width, height: pixels; None leaves them to the model family.
        total_frames, total_seconds: length of the whole film, given only where there is one stage to carry over it.
        long_stages: "chain" renders a stage longer than the model does well as stages that it does; None as one clip.
        notes: what the document says that has no meaning here, for the person who wrote it.
    """

    stages: tuple[StageEntry, ...]
    width: int | None = None
    height: int | None = None
    total_frames: int | None = None
    total_seconds: float | None = None
    title: str = ""
    long_stages: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def expands(self) -> bool:
        return self.total_frames is not None or self.total_seconds is not None

    @property
    def splits(self) -> bool:
        """Whether a stage may be rendered as several."""
        return self.expands or self.long_stages == "chain"


def stated(value: Any, *names: str) -> dict[str, Any]:
    """Those of the named attributes that say something."""
    return {name: getattr(value, name) for name in names if getattr(value, name) is not None}


def seed_of(base: int, index: int) -> int:
    """A seed for each stage: the same noise in every stage would repeat the same motion in each."""
    return (base + index) % (MAX_SEED + 1)
