"""What a clip keeps to beside its words, as the canvas hands it to a stage: one kind of link for all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .errors import Refusal
from .families import Keyframe
from .stage import Stage

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Anchor:
    """An image that a stage keeps looking at.

    Args:
        image: `[1, H, W, C]` in 0..1 at any size.
        strength: how much it counts, 0..1; None is the family's usual.
    """

    image: torch.Tensor
    strength: float | None = None


@dataclass(frozen=True)
class Soundtrack:
    """Sound of the whole film (ComfyUI's AUDIO) that the picture follows."""

    sound: Mapping[str, Any]


Guide: TypeAlias = Keyframe | Anchor | Soundtrack
Kind = TypeVar("Kind", Anchor, Soundtrack)


def guided(stage: Stage, guides: Iterable[Guide]) -> Stage:
    """The stage with its guides.

    Raises:
        Refusal: two anchors or two soundtracks, or an anchor beside the one that a carry-over has of its own.
    """
    guides = tuple(guides)
    for guide in guides:
        if not isinstance(guide, Keyframe | Anchor | Soundtrack):
            raise Refusal(
                f"a {type(guide).__name__} came over the link; what is needed: what Keyframe, Anchor or Soundtrack "
                "gives.",
                field="guides",
            )
    anchor, soundtrack = _only(guides, Anchor, "anchor"), _only(guides, Soundtrack, "soundtrack")
    if anchor is not None and stage.anchor_image is not None:
        raise Refusal("carry-over svi has an anchor image of its own; disconnect the Anchor.", field="guides")
    if anchor is not None:
        stage = replace(stage, anchor_image=anchor.image, anchor_strength=anchor.strength or 0.0)
    if soundtrack is not None:
        stage = replace(stage, soundtrack=soundtrack.sound)
    return replace(stage, keyframes=tuple(guide for guide in guides if isinstance(guide, Keyframe)))


def _only(guides: tuple[Guide, ...], kind: type[Kind], word: str) -> Kind | None:
    of_kind = [guide for guide in guides if isinstance(guide, kind)]
    if len(of_kind) > 1:
        raise Refusal(f"{len(of_kind)} of the guides are {word}s; connect one.", field="guides")
    return of_kind[0] if of_kind else None
