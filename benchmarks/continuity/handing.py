"""The ways of handing the end of a clip on to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from longtake.pipelines.chain.chain import Chain
from longtake.pipelines.model.shot import Tail
from longtake.pipelines.timeline.clips import Carry

from . import cures

Cure = Callable[[Tail, Chain], Tail]


@dataclass(frozen=True)
class Handing:
    """One way.

    Attributes:
        carry: of Chain Stage; None is what ComfyUI's own nodes do: decode, take the last frame, begin anew with it.
        frames: of the overlap.
        other_seeds: whether the stages after the first have seeds of their own, which tells how far chance reaches.
        cure: what is done to a tail on its way.
    """

    name: str
    carry: Carry | None
    frames: int = 1
    other_seeds: bool = False
    cure: Cure | None = None


BY_HAND = Handing("by hand", None)
PIXELS = tuple(Handing(f"pixels {frames}", Carry.PIXELS, frames) for frames in (1, 5, 9, 13))
LATENTS = tuple(Handing(f"latents {frames}", Carry.LATENTS, frames) for frames in (5, 9, 13))
USUAL = PIXELS[1]  # the pack's default
AGAIN = Handing(f"{USUAL.name}, other seeds", Carry.PIXELS, USUAL.frames, other_seeds=True)
CURED = (
    Handing("pixels 5, colours of stage 1", Carry.PIXELS, 5, cure=cures.colours_of_the_first),
    Handing("pixels 5, colours of stage 1 every 4th", Carry.PIXELS, 5, cure=cures.colours_of_the_first_every_fourth),
    Handing("pixels 5, spectrum of stage 1", Carry.PIXELS, 5, cure=cures.spectrum_of_the_first),
    Handing("latents 5, moments of stage 1", Carry.LATENTS, 5, cure=cures.moments_of_the_first),
    Handing("latents 5, noised", Carry.LATENTS, 5, cure=cures.noised),
)
WITHOUT = {handing.name: handing.name.split(",")[0] for handing in CURED}  # what a cure is compared with
HANDINGS = {handing.name: handing for handing in (BY_HAND, *PIXELS, *LATENTS, AGAIN, *CURED)}
