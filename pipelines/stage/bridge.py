"""Rendering one stage of a chain again between neighbours that stay as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..chain import record
from ..chain.chain import Chain, Link
from ..chain.decode import decoded
from ..chain.head import head_of
from ..errors import Refusal
from ..timeline.clips import Length, Transition
from .check import check_stage
from .guides import check_given
from .render import render_stages
from .stage import Ready, Stage

if TYPE_CHECKING:
    from ..model.bundle import VideoModel
    from ..progress import Progress
    from ..takes.store import Store


@dataclass(frozen=True)
class SeamError:
    """How far the end of a clip is from the frames the next one took over.

    Args:
        frames: compared, the overlap of the next stage.
        psnr: decibels over all of them; infinite where they are equal.
        mean: mean absolute difference in 8-bit steps, 0..255.
        last: the same of the last frame, the one the eye meets at the seam.
    """

    frames: int
    psnr: float
    mean: float
    last: float

    def __str__(self) -> str:
        return (
            f"seam to the next stage: PSNR {self.psnr:.1f} dB, mean difference {self.mean:.2f} of 255 over "
            f"{self.frames} frames, {self.last:.2f} at the seam"
        )


def check_bridge(chain: Chain, number: int, stage: Stage, model: VideoModel) -> tuple[Ready, Chain | None]:
    """Plan stage `number` of a rendered chain again, with what it is rendered behind.

    It keeps its length, its join to the stage before, and, where the stage after continues it smoothly, ends on that
    one's first frames, so that nothing else has to be rendered.

    Args:
        stage: words, seed, sampling and images; the rest is taken from the chain.

    Raises:
        Refusal: there is no such stage, or its model cannot be pinned at both ends.
    """
    if not 1 <= number <= len(chain.links):
        raise Refusal(f"{number} given; the chain has the stages 1 to {len(chain.links)}.", field="stage")
    if number == len(chain.links):
        raise Refusal("nothing comes after the last stage; change it where it is rendered.", stage=number)
    old, after = chain.links[number - 1 : number + 1]
    if old.footage is not None:
        raise Refusal("it is a video that was there before, and is not rendered.", stage=number)
    smooth = after.clip.join.transition is Transition.SMOOTH
    overlap = after.clip.join.overlap if smooth else 0
    if old.clip.join.overlap + overlap >= old.clip.frames:
        raise Refusal(
            f"{old.clip.frames} frames long, it has nothing left between {old.clip.join.overlap} pinned at its "
            f"beginning and {overlap} at its end.",
            stage=number,
        )
    bridge = replace(
        stage,
        length=Length(frames=old.clip.frames),
        join=old.clip.join,
        width=chain.width,
        height=chain.height,
        until=head_of(after, overlap) if smooth else None,
    )
    before = replace(chain, links=chain.links[: number - 1]) if number > 1 else None
    # The film's clock stays as it was: what was asked in seconds is over-produced as before.
    ready = replace(check_stage(bridge, model, before), clip=old.clip, notes=())
    try:
        check_given(bridge, model, old.clip, ready.shown)
    except Refusal as refusal:
        raise refusal.at(stage=number) from None
    return ready, before


def bridge(
    store: Store, chain: Chain, number: int, stage: Stage, model: VideoModel, progress: Progress
) -> tuple[Chain, SeamError | None]:
    """The chain with stage `number` rendered again and every other stage as it was, and the error at its end.

    Returns no error where the stage after does not continue it. Raises as `check_bridge` and `render_stages`.
    """
    ready, before = check_bridge(chain, number, stage, model)
    rendered = render_stages(store, [ready], progress, before)
    bridged = replace(chain, links=(*rendered.links, *chain.links[number:]))
    record.remember(store, bridged)
    overlap = ready.stage.until.overlap if ready.stage.until else 0
    return bridged, seam_error(bridged.links[number - 1], bridged.links[number], overlap) if overlap else None


def seam_error(clip: Link, after: Link, overlap: int) -> SeamError:
    """Compare the last `overlap` frames of a clip with the first of the next, which repeat what it continued from."""
    end, head = decoded(clip)[-overlap:], decoded(after)[:overlap]
    differences = [np.abs(a.astype(np.float64) - b) / 257.0 for a, b in zip(end, head, strict=True)]
    square = float(np.mean([np.mean(difference**2) for difference in differences]))
    return SeamError(
        overlap,
        10 * math.log10(255**2 / square) if square else math.inf,
        float(np.mean([difference.mean() for difference in differences])),
        float(differences[-1].mean()),
    )
