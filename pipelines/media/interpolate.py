"""A film at another rate, with frames between those it was made of.

It lasts as long, to the frame. What is on both sides of a cut is not mixed: the last frame before it stays until then.
A film is read block by block, so that what is made between two frames is the same wherever reading began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise
from math import ceil
from typing import Any, Protocol

import numpy as np

from ..identity import digest
from .chapters import Chapter, chapters_of
from .filters import in_a_row
from .frames import FrameSource, bounds, to_uint8
from .light import blend
from .segments import Run, Segments

LONGEST = 64  # frames of a block


class Between(Protocol):
    """Makes frames between others.

    Attributes:
        name: stands for what it makes, in keys; None where nothing does.
        reach: how many frames on either side of a pair it looks at.
    """

    name: str | None
    reach: int

    def frames(
        self, film: Iterator[np.ndarray], first: int, places: Sequence[Fraction], step: Fraction
    ) -> Iterator[np.ndarray]:
        """The frame at each place, which is one of those known where the place is a whole number.

        Args:
            film: its frames `[H, W, 3]` uint16, from number `first` on.
            places: in frames of the film, rising.
            step: between the places of the frames that are made.
        """
        ...


class Interpolated:
    """Frames of another source at another rate; made by `between` where the source has none."""

    def __init__(self, source: FrameSource, frame_rate: Fraction, between: Between):
        self.source = source
        self.between = between
        self.width, self.height, self.frame_rate = source.width, source.height, frame_rate
        self.frame_count = max(1, round(source.frame_count * frame_rate / source.frame_rate))
        self._step = source.frame_rate / frame_rate
        self._cuts = sorted({0, *getattr(source, "cuts", ()), source.frame_count})

    @property
    def identity(self) -> list[Any]:
        return [self.source, self.frame_rate, self.between.name]

    @property
    def chapters(self) -> list[Chapter]:
        return [
            replace(chapter, start=self._shown_from(chapter.start), stop=self._shown_from(chapter.stop))
            for chapter in chapters_of(self.source)
        ]

    @property
    def tags(self) -> dict[str, Any]:
        return getattr(self.source, "tags", {})

    @property
    def segments(self) -> Segments | None:
        """The runs of the source; in each is seen what is in those beside it too."""
        own: Segments | None = getattr(self.source, "segments", None)
        if own is None or self.between.name is None:
            return None
        runs = []
        for index, run in enumerate(own.runs):
            start, stop = self._shown_from(run.start), self._shown_from(run.stop)
            beside = own.runs[max(index - 1, 0) : index + 2]
            seen = None
            if all(near.seen is not None for near in beside):
                parts = [(near.start - run.start, near.stop - near.start, near.cut, near.seen) for near in beside]
                seen = digest([self.between.name, self._step, start * self._step - run.start, stop - start, parts])
            if start < stop:
                runs.append(Run(start, stop, seen, run.cut))
        return Segments(runs, own.shelf)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        start, stop = bounds(start, stop, self.frame_count)
        for first, last in self._blocks():
            numbers = range(self._shown_from(first), self._shown_from(last))
            if numbers.stop <= start or numbers.start >= stop:
                continue
            for number, frame in zip(numbers, self._block(first, last, numbers), strict=True):
                if start <= number < stop:
                    yield frame

    def _shown_from(self, frame: int) -> int:
        """The first frame that shows nothing of what is before a frame of the source."""
        return self.frame_count if frame >= self.source.frame_count else ceil(frame / self._step)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Frames [first, last) of the source that are worked on at once: of one shot and of one run."""
        own: Segments | None = getattr(self.source, "segments", None)
        begins = sorted({*self._cuts, *(run.start for run in (() if own is None else own.runs))})
        for begin, end in pairwise(begins):
            for first in range(begin, end, LONGEST):
                yield first, min(first + LONGEST, end)

    def _block(self, first: int, last: int, numbers: range) -> Iterator[np.ndarray]:
        shot = max(cut for cut in self._cuts if cut <= first), min(cut for cut in self._cuts if cut >= last)
        begin, end = max(first - self.between.reach, shot[0]), min(last + 1 + self.between.reach, shot[1])
        places = [min(number * self._step, Fraction(shot[1] - 1)) for number in numbers]
        yield from self.between.frames(self.source.frames(begin, end), begin, places, self._step)


class Blended:
    """Each frame a mix of the two beside it."""

    name = "blended 1"
    reach = 0

    def frames(
        self, film: Iterator[np.ndarray], first: int, places: Sequence[Fraction], step: Fraction
    ) -> Iterator[np.ndarray]:
        for before, after, weight in pairs(film, first, places):
            yield before if after is None else blend(before, after, float(weight))


class Motion:
    """Each frame moved on from those beside it, by FFmpeg's motion compensated interpolation."""

    name = "minterpolate 1"
    reach = 2
    settings = "mi_mode=mci:mc_mode=aobmc:vsbmc=1"

    def frames(
        self, film: Iterator[np.ndarray], first: int, places: Sequence[Fraction], step: Fraction
    ) -> Iterator[np.ndarray]:
        whole: dict[int, np.ndarray] = {}

        def remembered() -> Iterator[np.ndarray]:
            for number, frame in enumerate(film, first):
                whole[number] = frame = frame.copy()
                yield frame

        moved = self._moved(remembered(), first, step)
        for place in places:
            if place.denominator > 1:
                at = place / step
                yield next(frame for number, frame in moved if number == at).astype(np.uint16) * 257
            else:
                while int(place) not in whole:
                    next(moved)
                yield whole[int(place)]
            for number in [number for number in whole if number < int(place)]:
                del whole[number]

    def _moved(self, film: Iterator[np.ndarray], first: int, step: Fraction) -> Iterator[tuple[int, np.ndarray]]:
        """The filter's frames `[H, W, 3]` uint8, each with its number at the new rate."""

        # The filter begins and ends late: the first and the last frame stand for those that are not there.
        head = next(film)
        padded = chain([head] * self.reach, [head], film)
        graph: Any = None
        number, last = first - self.reach, head
        for frame in padded:
            graph = graph or self._graph(frame, step)
            last = frame
            yield from self._through(graph, frame, number)
            number += 1
        for _ in range(self.reach):
            yield from self._through(graph, last, number)
            number += 1

    def _through(self, graph: Any, frame: np.ndarray, number: int) -> Iterator[tuple[int, np.ndarray]]:
        import av

        picture = av.VideoFrame.from_ndarray(to_uint8(frame), format="rgb24")
        picture.pts, picture.time_base = number, Fraction(1)
        graph.push(picture)
        while True:
            try:
                moved = graph.pull()
            except (BlockingIOError, EOFError):
                return
            yield moved.pts, moved.to_ndarray(format="rgb24")

    def _graph(self, frame: np.ndarray, step: Fraction) -> Any:
        height, width = frame.shape[:2]
        # A frame of the film is a second here, so that numbers are times.
        between = ("minterpolate", f"fps={1 / step}:{self.settings}")
        return in_a_row("rgb24", width, height, [("format", "gbrp"), between])


def pairs(
    film: Iterator[np.ndarray], first: int, places: Sequence[Fraction]
) -> Iterator[tuple[np.ndarray, np.ndarray | None, Fraction]]:
    """For each place the frame before it and, where it is between two, the one after it and how near it is to that."""
    number, before, after = first, next(film).copy(), None
    for place in places:
        while number < int(place):
            number, before = number + 1, next(film).copy() if after is None else after
            after = None
        weight = place - number
        if weight and after is None:
            after = next(film).copy()
        yield before, after if weight else None, weight
