"""What a kind of checkpoint can do, and the values it was published with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any, Protocol

from ..errors import Refusal
from ..timeline.clips import Carry


class Mode(str, Enum):
    """What a stage is made from; the values finish the sentence "this model can ..."."""

    TEXT = "render from text alone"
    IMAGE = "start from an image"
    TO_LAST = "arrive at a last frame from text alone"
    FIRST_LAST = "go from a first to a last frame"
    CONTINUE = "continue from the stage before"
    CONTINUE_TO_LAST = "continue to a last frame"
    KEYFRAMES = "pass through keyframes"
    SOUNDTRACK = "follow a soundtrack"


class Training(str, Enum):
    """How a model was trained; the values are what people choose by."""

    DEV = "dev"
    DISTILLED = "distilled"


class Settings(Protocol):
    """How a stage is denoised, in the words of one family."""

    @property
    def steps(self) -> int:
        """Denoising steps of a stage, all passes together."""
        ...

    def check(self) -> None:
        """Raise `Refusal` for values no sampler can work with."""
        ...

    def filled(self, published: Any) -> Settings:
        """The same settings with what was left open taken from the published ones.

        Raises:
            Refusal: these are another family's settings.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """What a take made with them remembers, as JSON values."""
        ...

    def with_image_strength(self, strength: float) -> Settings:
        """The same settings with a start image kept this firmly, 0..1.

        Raises:
            Refusal: the family knows no such strength.
        """
        ...


@dataclass(frozen=True)
class Variant:
    """What one kind of checkpoint can do, and the values it was published with.

    Args:
        fps: frames per second it was trained at.
        clip_frames: length of a clip it was trained at, in frames.
        overlap: frames a continuation is pinned to unless the stage says otherwise.
        size_step: width and height are multiples of this many pixels.
        area: pixels of a frame at its published resolutions, by name.
        ends_anywhere: whether an end image can stand on any frame of a clip, or only on its last.
        longest: seconds that it does well in one clip.
        experts: diffusion models that share the denoising, 1 or 2.
        vae_hint: the file most people have for it, for errors.
        vae_scale: pixels of a side that are one in the latent.
        keeps_slots: whether it is given images as clean slots of the latent, not as channels beside the noise.
        release: of the family, where it has several.
        training: where models of it were trained in several ways, which their weights cannot tell.
    """

    name: str
    modes: frozenset[Mode]
    carries: frozenset[Carry]
    fps: Fraction
    clip_frames: int
    overlap: int
    width: int
    height: int
    size_step: int
    areas: Mapping[str, int]
    latent_channels: int
    ends_anywhere: bool
    longest: Fraction
    experts: int
    vae_hint: str
    vae_scale: int
    keeps_slots: bool
    sampling: Settings
    release: str = ""
    training: Training | None = None


def check_size(width: int, height: int, variant: Variant) -> None:
    """Raise `Refusal` for a width or height in pixels that is off the variant's grid."""
    step = variant.size_step
    for field, value in (("width", width), ("height", height)):
        if value % step or value < step:
            below, above = max(step, value // step * step), (value // step + 1) * step
            near = f"{below} or {above}" if below != above else f"{above}"
            raise Refusal(
                f"{value} is not a multiple of {step}, as {variant.name} needs; the nearest are {near}.", field=field
            )
