"""How well seams hold: how alike both clips show the overlap, how far their colours are apart, and what jumps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from ..chain.chain import Chain
from ..timeline.clips import Transition
from .colour import GRID, Match, Replay
from .stitch import Film

if TYPE_CHECKING:
    from .colour import Decoded

AROUND = 16  # frames looked at on either side of a seam: a second of Wan


@dataclass(frozen=True)
class Seam:
    """The place where one clip of a film goes over to the next.

    Attributes:
        stage: number of the clip after it, counted from 1.
        frame: of the film, the first that the clip after it shows alone.
        first: of the film, the first frame that `shown` and `raw` have.
        replay: the overlap in both clips; None for a cut or a fade.
        shown, raw: mean colour of the frames around it, `[frames, 3]` in 0..1, with colours matched and as rendered.
        jump, raw_jump: how much changes at the seam, in parts of what changes from frame to frame around it; 1 is no
            jump. None where nothing moves, for a cut and for a fade.
    """

    stage: int
    frame: int
    first: int
    transition: Transition
    replay: Replay | None
    shown: np.ndarray
    raw: np.ndarray
    jump: float | None
    raw_jump: float | None

    @property
    def kept_db(self) -> float | None:
        """Peak signal to noise of the overlap in both clips, colours matched; None where there is none."""
        if self.replay is None:
            return None
        return math.inf if self.replay.noise == 0 else -10 * math.log10(self.replay.noise)

    def __str__(self) -> str:
        where = f"Stage {self.stage - 1} to {self.stage}, frame {self.frame}: "
        if self.replay is None:
            return f"{where}{self.transition.value}."
        step = ", ".join(f"{name} {100 * by:+.1f} %" for name, by in zip("RGB", self.replay.step, strict=True))
        contrast = 100 * (sum(self.replay.contrast) / 3 - 1)
        said = f"{where}overlap kept at {self.kept_db:.0f} dB; colour {step}; contrast {contrast:+.1f} %"
        if not self.replay.same:
            return f"{said}. That is no drift: the model did not keep to the overlap, and its colour is left as it is."
        if self.jump is not None and self.raw_jump is not None:
            said += f"; change at the seam {self.jump:.1f} times that around it, {self.raw_jump:.1f} as rendered"
        return f"{said}."


def measure(chain: Chain, decoded: Decoded) -> Iterator[Seam]:
    """The seams of a chain, one after another, as they are looked at.

    Args:
        decoded: opens the pixels of one link, `[T, H, W, 3]` uint16.
    """
    match = Match(chain, decoded)
    matched, rendered = Film(chain, decoded, match), Film(chain, decoded)
    end = 0
    for index, span in enumerate(chain.spans):
        frame = end  # a fade lies before it
        end += span.stop - span.first - span.fade_in
        if index == 0:
            continue
        first, stop = max(0, frame - AROUND), min(matched.frame_count, frame + AROUND)
        join = chain.links[index].clip.join
        (shown, jump), (raw, raw_jump) = (_look(film, first, frame, stop) for film in (matched, rendered))
        smooth = join.transition is Transition.SMOOTH
        yield Seam(
            index + 1,
            frame,
            first,
            join.transition,
            match.replay(index),
            shown,
            raw,
            jump if smooth else None,
            raw_jump if smooth else None,
        )


def _look(film: Film, first: int, seam: int, stop: int) -> tuple[np.ndarray, float | None]:
    """Mean colours `[frames, 3]` of a part of a film, and how much more than elsewhere changes at its seam."""
    frames = [frame[::GRID, ::GRID].astype(np.float32) / 65535 for frame in film.frames(first, stop)]
    changes = [float(np.abs(after - before).mean()) for before, after in pairwise(frames)]
    at = changes.pop(seam - first - 1) if 0 < seam - first < len(frames) else None
    usual = median(changes) if changes else 0.0
    return np.stack([frame.mean((0, 1)) for frame in frames]), at / usual if at is not None and usual else None
