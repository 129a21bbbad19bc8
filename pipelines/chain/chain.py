"""A chain: references to takes and the joins between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import Refusal
from ..timeline.clips import Clip, Span, film_frames, spans

if TYPE_CHECKING:
    from ..media.footage import Footage
    from ..model.bundle import VideoModel
    from ..takes.take import Take


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
    def rendered(self) -> bool:
        """Whether every clip is there to be seen."""
        return all(link.take is not None or link.footage is not None for link in self.links)

    @property
    def frames(self) -> int:
        """Length of the film in frames."""
        return film_frames(self.clips)

    @property
    def spans(self) -> tuple[Span, ...]:
        return spans(self.clips)

    def append(self, link: Link) -> Chain:
        return replace(self, links=(*self.links, link))


def check_same_film(model: VideoModel, family: str, fps: Fraction) -> None:
    """Raise `Refusal` for a model that cannot show or continue a chain of this family and frame rate."""
    if model.family.name != family:
        raise Refusal(f"a bundle of {model.family.title} cannot continue a chain of {family}.", field="model")
    if model.fps != fps:
        raise Refusal(
            f"{model.variant.name} runs at {model.fps} frames a second, the chain so far at {fps}; "
            "all stages of a chain share one frame rate.",
            field="model",
        )
