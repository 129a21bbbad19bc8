"""How well the seams of a film hold: measured as it is shown, with a verdict in words.

A smooth seam is good, visible or broken. It is visible from what one in a hundred ordinary frames of the demo model's
clips has, and broken from what a hard cut has in its place (benchmarks/results/seam_thresholds.md holds both). A cut or
a fade is what was asked for, and is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..chain.chain import Chain
from ..timeline.clips import Transition
from .colour import Match, Replay
from .measures import Figures, Looks, figures, sound_steps
from .stitch import Film

if TYPE_CHECKING:
    from .colour import Decoded, Measured
    from .sound_clock import FilmSound


class Verdict(IntEnum):
    GOOD = 0
    VISIBLE = 1
    BROKEN = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Bound:
    """From where a figure is visible, and from where it breaks the film."""

    visible: float
    broken: float

    def verdict(self, value: float) -> Verdict:
        if abs(value) >= self.broken:
            return Verdict.BROKEN
        return Verdict.VISIBLE if abs(value) >= self.visible else Verdict.GOOD


# 99 of 100 ordinary frames change less than 2.6 times the usual, 95 of 100 hard cuts more than 4.2 times.
JUMP = Bound(2.6, 4.2)
# In 99 of 100 places the liveliest of eight ordinary frames stays below 4.7; half of the hard cuts jump more than 7.
LATE_JUMP = Bound(4.7, 7.0)
# Of 255: 99 of 100 ordinary frames stay below 3.2, half of the hard cuts between clips of one ground go beyond 16.
COLOUR = Bound(3.2, 16.0)
# %: 99 of 100 ordinary frames stay below 19. Hard cuts hardly go beyond, so sharpness alone breaks no film.
SHARPNESS = Bound(19.0, math.inf)
# dB: 99 of 100 places of read speech and of lively music stay below 9, and of quiet music below 15. A cut between
# recordings of one kind hardly goes beyond, so level alone tells little (benchmarks/results/seam_sound.md).
SOUND = Bound(9.0, 15.0)


@dataclass(frozen=True)
class Seam:
    """The place where one clip of a film goes over to the next.

    Attributes:
        stage: number of the clip after it, counted from 1.
        frame: of the film, the first that the clip after it shows alone.
        replay: the overlap in both clips; None for a cut or a fade.
        figures: what is measured at `frame`; None for a cut or a fade.
    """

    stage: int
    frame: int
    transition: Transition
    replay: Replay | None
    figures: Figures | None

    @property
    def number(self) -> int:
        return self.stage - 1

    @property
    def kept_db(self) -> float | None:
        """Peak signal to noise of the overlap in both clips, colours matched; None where there is none."""
        if self.replay is None:
            return None
        return math.inf if self.replay.noise == 0 else -10 * math.log10(self.replay.noise)

    @property
    def verdict(self) -> Verdict | None:
        """None for a cut or a fade: it was asked for."""
        if self.figures is None:
            return None
        return max((verdict for verdict, _ in self._judged()), default=Verdict.GOOD)

    @property
    def reason(self) -> str:
        """Why it is not good, the worst first; empty where it is."""
        return ", ".join(words for _, words in sorted(self._judged(), key=lambda judged: -judged[0]))

    def _judged(self) -> Iterator[tuple[Verdict, str]]:
        seen = self.figures
        if seen is None:
            return
        late = "frame" if seen.late_by == 1 else "frames"
        softer = "softer" if seen.sharpness < 0 else "sharper"
        louder = "quieter" if (seen.sound or 0) < 0 else "louder"
        rows = (
            (JUMP, seen.jump, f"the picture jumps, {seen.jump:.1f} times the usual change"),
            (
                LATE_JUMP,
                seen.late_jump,
                f"it jumps {seen.late_by} {late} later, {seen.late_jump:.1f} times the usual change",
            ),
            (COLOUR, seen.colour, f"colour changes by {abs(seen.colour):.0f} of 255"),
            (SHARPNESS, seen.sharpness, f"the picture gets {abs(seen.sharpness):.0f} % {softer}"),
            (SOUND, seen.sound or 0.0, f"the sound gets {abs(seen.sound or 0):.0f} dB {louder}"),
        )
        for bound, value, words in rows:
            if verdict := bound.verdict(value):
                yield verdict, words
        if self.replay is not None and not self.replay.same:
            yield Verdict.VISIBLE, "the stage did not keep to its overlap"


@dataclass(frozen=True)
class Report:
    """What is seen of a film and its seams; as text a line of summary, then a line a seam."""

    fps: Fraction
    looks: Looks
    seams: tuple[Seam, ...]

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"{self._name(seam)}: {self._sentence(seam)}" for seam in self.seams)])

    @property
    def summary(self) -> str:
        """The whole film in a sentence, with its worst seam."""
        if not self.seams:
            return "One stage, no seam."
        smooth = [seam for seam in self.seams if seam.verdict is not None]
        if not smooth:
            return "No stage goes on smoothly: cuts and fades, as asked for."
        bad = sorted((seam for seam in smooth if seam.verdict), key=lambda seam: -(seam.verdict or 0))
        if not bad:
            return f"All {len(smooth)} seams are good." if len(smooth) > 1 else "The seam is good."
        worst = f"seam {bad[0].number} is {bad[0].verdict}: {bad[0].reason}."
        if len(smooth) == 1:
            return f"S{worst[1:]}"
        good, others = len(smooth) - len(bad), len(bad) - 1
        also = f" So {'is' if others == 1 else 'are'} {others} more, below." if others else ""
        return f"{good} of {len(smooth)} seams {'is' if good == 1 else 'are'} good; {worst}{also}"

    def _name(self, seam: Seam) -> str:
        minutes, tenths = divmod(round(seam.frame / self.fps * 10), 600)
        return f"Seam {seam.number}, {minutes}:{tenths / 10:04.1f}"

    def _sentence(self, seam: Seam) -> str:
        if seam.verdict is None:
            return f"{seam.transition.value}, as asked for"
        return f"{seam.verdict}, {seam.reason}" if seam.verdict else f"{seam.verdict}"


def measure(
    chain: Chain,
    decoded: Decoded,
    sound: FilmSound | None = None,
    on_frame: Callable[[int, int], None] = lambda done, frames: None,
    kept: Measured | None = None,
) -> Report:
    """Look at a film with its colours matched, as Stitch Chain shows it: every frame once, and its sound once.

    Args:
        decoded: opens the pixels of one link, `[T, H, W, 3]` uint16.
        kept: where films keep the colours their clips were shown with.
        on_frame: called after each frame with how many are done and how many there are.
    """
    match = Match(chain, decoded, kept)
    film = Film(chain, decoded, match)
    looks = Looks.at(_told(film.frames(), film.frame_count, on_frame), film.frame_count)
    places, ends = _places(chain)
    levels = [None] * len(places) if sound is None else sound_steps(sound, places)
    second, begin, seams = round(chain.fps), 0, []
    for index, (frame, level) in enumerate(zip(places, levels, strict=True), 1):
        transition = chain.links[index].clip.join.transition
        around = range(min(max(begin, frame - second), frame - 1), min(ends[index], frame + second))
        seen = figures(looks, frame, around, level) if transition is Transition.SMOOTH else None
        seams.append(Seam(index + 1, frame, transition, match.replay(index), seen))
        begin = frame
    return Report(chain.fps, looks, tuple(seams))


def _places(chain: Chain) -> tuple[list[int], list[int]]:
    """Of the film: the frame from which each clip but the first is shown alone, and the end of what each clip is."""
    places: list[int] = []
    ends: list[int] = []
    end = 0
    for index, span in enumerate(chain.spans):
        if index:
            ends[-1] -= span.fade_in
            places.append(end)
        end += span.stop - span.first - span.fade_in
        ends.append(end)
    return places, ends


def _told(frames: Iterator[np.ndarray], count: int, on_frame: Callable[[int, int], None]) -> Iterator[np.ndarray]:
    for done, frame in enumerate(frames, 1):
        yield frame
        on_frame(done, count)
