"""A stage as it is asked for, and as it is ready to be rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..chain.chain import Chain, Link
from ..model.shot import Keyframe
from ..model.variant import Mode, Settings
from ..timeline.clips import Clip, Join, Length, Transition

if TYPE_CHECKING:
    from ..chain.head import Head
    from ..media.pictures import Image
    from ..model.bundle import VideoModel
    from ..takes.take import Take


@dataclass(frozen=True)
class Stage:
    """One clip of a chain as somebody asked for it.

    Args:
        join: how it joins the clip before it; the first stage of a chain is always a cut.
        width, height: pixels; 0 follows the chain, or the variant's published size for a first stage.
        start_image, end_image, anchor_image: `[1, H, W, C]` in 0..1 at any size, or what reads it when it is used.
        image_strength: how firmly the start image is kept, 0..1; None leaves it to the settings.
        sampling: None takes the values the variant was published with.
        take: number of a stored take of this stage that is used whatever the words, seed and sampling; 0 is none.
        until: the beginning of the stage after it, which stays as it is, for this one to end on.
        anchor_strength: how much an anchor image counts, 0..1; 0 is the family's usual.
        keyframes: images the clip passes through.
        soundtrack: sound of the whole film (ComfyUI's AUDIO) that the picture follows and keeps.
    """

    prompt: str
    negative_prompt: str
    length: Length
    seed: int
    join: Join
    width: int = 0
    height: int = 0
    start_image: Image | None = None
    end_image: Image | None = None
    anchor_image: Image | None = None
    sampling: Settings | None = None
    take: int = 0
    anchor_strength: float = 0.0
    keyframes: tuple[Keyframe, ...] = ()
    soundtrack: Mapping[str, Any] | None = None
    until: Head | None = None
    image_strength: float | None = None

    @property
    def ends_somewhere(self) -> bool:
        """Whether its last frames are given."""
        return self.end_image is not None or self.until is not None


@dataclass(frozen=True)
class Ready:
    """A stage that has passed every check that needs no weights, and the bundle it was checked with.

    Args:
        start: film frame under the clip's frame 0.
        notes: what a person should know of how it was planned.
    """

    stage: Stage
    model: VideoModel
    clip: Clip
    width: int
    height: int
    sampling: Settings
    number: int
    start: int
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> int:
        """Frames of the clip, overlap included, up to where the stage ends in the film."""
        return self.clip.frames if self.stage.until is not None else self.clip.asked_end - self.start

    def behind(self, chain: Chain | None, model: VideoModel, take: Take | None = None) -> Chain:
        """The chain with this stage at its end; without a take it is only planned."""
        if chain is None:
            chain = Chain(model.family.name, self.width, self.height, model.fps)
        return chain.append(Link(self.clip, take, model))


def behind(ready: Sequence[Ready], chain: Chain | None) -> Chain | None:
    """The chain with checked stages at its end, all of them only planned."""
    for stage in ready:
        chain = stage.behind(chain, stage.model)
    return chain


def mode_of(stage: Stage) -> Mode:
    """What a stage is made from."""
    if stage.join.transition is Transition.SMOOTH:
        return Mode.CONTINUE_TO_LAST if stage.ends_somewhere else Mode.CONTINUE
    if stage.start_image is None:
        return Mode.TO_LAST if stage.ends_somewhere else Mode.TEXT
    return Mode.FIRST_LAST if stage.ends_somewhere else Mode.IMAGE
