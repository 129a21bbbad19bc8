"""A chain as a stream of frames: trimmed, joined and blended while it is read."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..chain import record
from ..chain.chain import Chain, Link
from ..errors import Refusal
from ..files.reading import Damaged, Unreadable
from ..identity import Unidentified, digest
from ..media.chapters import Chapter
from ..media.frames import bounds, buffer_8, frames_digest, to_uint8
from ..media.light import blend
from ..media.segments import Run, Segments, Shelf
from ..timeline.clips import Transition, starts
from .colour import Grade, Match, seen_of

if TYPE_CHECKING:
    from ..media.footage import FootageFrames

_Clips: TypeAlias = "dict[int, np.ndarray | FootageFrames]"

# Frames of a run that is kept: fewer are kept with what follows them, more in parts.
SHORTEST = 16
LONGEST = 240
TITLE = 60  # characters of a prompt that name its chapter
CHAIN_TAG = "longtake_chain"
ASKED = ("prompt", "negative_prompt", "seed")
MADE = 1  # raised by hand whenever the same clips would be shown otherwise than before


class Film:
    """A chain read as frames: trimmed, joined and blended while it is read.

    A clip is opened when the film reaches it and let go when the film has passed it.

    Args:
        chain: what to show.
        decoded: opens the pixels of one link, `[T, H, W, 3]` uint16, usually a memory-mapped file.
        match: corrects the colour of each clip; without one clips are shown as they were rendered.
        shelf: where runs of it are kept as they were encoded; without one it is encoded as a whole.

    Raises:
        Refusal: the chain has no stages; later, while reading, a clip that does not have the shape it was planned with.
    """

    def __init__(
        self,
        chain: Chain,
        decoded: Callable[[Link], np.ndarray | FootageFrames],
        match: Match | None = None,
        shelf: Shelf | None = None,
    ):
        if not chain.links:
            raise Refusal("the chain has no stages; connect at least one Chain Stage", field="chain")
        self.chain = chain
        self.decoded = decoded
        self.match = match
        self.shelf = shelf
        self.width = chain.width
        self.height = chain.height
        self.frame_rate = chain.fps
        self.frame_count = chain.frames

    @cached_property
    def identity(self) -> str:
        return frames_digest(self)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for scene, clips, grades, frame in self._read(start, stop):
            yield scene.read(clips, grades, frame)

    def frames_8(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """The same in 8 bits, `[H, W, 3]` uint8: corrected and rounded in one."""
        buffer = buffer_8(self.height, self.width)
        for scene, clips, grades, frame in self._read(start, stop):
            yield scene.read_8(clips, grades, frame, buffer)

    def _read(self, start: int, stop: int | None) -> Iterator[tuple[_Scene, _Clips, dict[int, Grade], int]]:
        start, stop = bounds(start, stop, self.frame_count)
        clips: _Clips = {}
        for scene in _scenes(self.chain):
            first, last = max(start, scene.start), min(stop, scene.stop)
            if first >= last:
                continue
            clips = {index: clips[index] if index in clips else self._open(index) for index in scene.clips}
            grades = {index: self._grade(index) for index in scene.clips}
            for frame in range(first, last):
                yield scene, clips, grades, frame

    @property
    def segments(self) -> Segments | None:
        """The film in runs that come from the same clips in the same way, each under what is seen in it."""
        if self.shelf is None:
            return None
        runs = [
            Run(scenes[0].start, scenes[-1].stop, self._seen(scenes), self._cut(scenes[0]))
            for scenes in _runs(_scenes(self.chain))
        ]
        return Segments(runs, self.shelf)

    @property
    def chapters(self) -> list[Chapter]:
        """The stages, each from the first frame that shows it; a fade belongs to the stage that it leads into."""
        spans = zip(starts(self.chain.clips), self.chain.spans, strict=True)
        begins = [start + span.first for start, span in spans]
        parts = zip(begins, [*begins[1:], self.frame_count], self.chain.links, strict=True)
        chapters = []
        for number, (start, stop, link) in enumerate(parts, start=1):
            prompt = str(_facts(link).get("prompt", ""))
            title = textwrap.shorten(prompt, TITLE, placeholder="...") or ("Video" if link.footage else "Stage")
            if start < stop:
                chapters.append(Chapter(start, stop, f"{number}. {title}", prompt))
        return chapters

    @property
    def tags(self) -> dict[str, Any]:
        """What a file says of the film: its chain as the store keeps it, and what each stage was asked for."""
        stored = record.stored(self.chain)
        if stored is None:
            return {}
        links = self.chain.links[-len(stored.entries) :]
        document = stored.as_json()
        document["stages"] = [
            entry | {name: fact for name, fact in _facts(link).items() if name in ASKED}
            for entry, link in zip(document["stages"], links, strict=True)
        ]
        return {CHAIN_TAG: document}

    @property
    def cuts(self) -> frozenset[int]:
        """The frames that show nothing of what is before them."""
        return frozenset(scene.start for scene in _scenes(self.chain) if self._cut(scene))

    def _cut(self, scene: _Scene) -> bool:
        """Whether a scene shows nothing of what is before it."""
        first = scene.clips[-1]
        join = self.chain.links[first].clip.join
        return len(scene.clips) == 1 and scene.start - scene.offsets[0] == 0 and join.transition is Transition.CUT

    def _seen(self, scenes: Sequence[_Scene]) -> str | None:
        """What stands for all that is seen in scenes that follow one another; None where something cannot be told."""
        seen = []
        for scene in scenes:
            clips = [
                [seen_of(self.chain.links[index]), self._grade(index), scene.start - offset]
                for index, offset in zip(scene.clips, scene.offsets, strict=True)
            ]
            fade = [scene.start - scene.fade_start, scene.fade_frames] if len(clips) > 1 else None
            seen.append([clips, scene.stop - scene.start, fade])
        try:
            return digest([MADE, self.width, self.height, seen])
        except Unidentified:
            return None

    def _grade(self, index: int) -> Grade:
        return Grade() if self.match is None else self.match.of(index)

    def _open(self, index: int) -> np.ndarray | FootageFrames:
        link = self.chain.links[index]
        clip = self.decoded(link)
        planned = (link.clip.frames, self.height, self.width, 3)
        if clip.shape != planned or clip.dtype != np.uint16:
            raise Refusal(
                f"its stored frames are {list(clip.shape)} {clip.dtype}, and the chain was planned with "
                f"{list(planned)} uint16; render the stage again",
                stage=index + 1,
            )
        return clip


def _facts(link: Link) -> Mapping[str, Any]:
    """What made a take; nothing of a video, and nothing where that cannot be read."""
    try:
        return {} if link.footage is not None else link.rendered.facts()
    except (Damaged, Unreadable):
        return {}


def fade_weights(frames: int) -> np.ndarray:
    """Weight of the incoming clip in each frame of a fade: evenly from 0 to 1, both reached; 0.5 for a single frame."""
    return np.linspace(0, 1, frames, dtype=np.float32) if frames > 1 else np.array([0.5], np.float32)


@dataclass(frozen=True)
class _Scene:
    """Frames [start, stop) of the film that are made the same way: from one clip, or by a fade between two.

    Attributes:
        clips: the clip shown, or the outgoing and the incoming one.
        offsets: film frame under frame 0 of each of them.
        fade_start, fade_frames: of the whole fade, of which these may be a part; of one alone.
    """

    start: int
    stop: int
    clips: tuple[int, ...]
    offsets: tuple[int, ...]
    fade_start: int = 0
    fade_frames: int = 0

    def read_8(self, clips: _Clips, grades: Mapping[int, Grade], frame: int, out: np.ndarray) -> np.ndarray:
        if len(self.clips) > 1:
            return to_uint8(self.read(clips, grades, frame), out)
        [index], [offset] = self.clips, self.offsets
        return grades[index].at(frame - offset).apply_8(np.asarray(clips[index][frame - offset]), out)

    def read(self, clips: _Clips, grades: Mapping[int, Grade], frame: int) -> np.ndarray:
        shown = [
            grades[index].at(frame - offset).apply(np.asarray(clips[index][frame - offset]))
            for index, offset in zip(self.clips, self.offsets, strict=True)
        ]
        if len(shown) == 1:
            return shown[0]
        outgoing, incoming = shown
        return blend(outgoing, incoming, fade_weights(self.fade_frames)[frame - self.fade_start])


def _scenes(chain: Chain) -> Iterator[_Scene]:
    spans = chain.spans
    end = 0
    before = 0
    for index, span in enumerate(spans):
        start = end - span.fade_in
        offset = start - span.first
        fade_out = spans[index + 1].fade_in if index + 1 < len(spans) else 0
        if span.fade_in:
            yield _Scene(start, end, (index - 1, index), (before, offset), start, span.fade_in)
        end = start + span.stop - span.first
        yield _Scene(start + span.fade_in, end - fade_out, (index,), (offset,))
        before = offset


def _runs(scenes: Iterable[_Scene]) -> Iterator[list[_Scene]]:
    """Scenes as they are kept: long ones in parts, short ones with what follows them.

    Each begins with a key frame, which costs as much as several frames after it.
    """
    run: list[_Scene] = []
    runs: list[list[_Scene]] = []
    for scene in scenes:
        if scene.start == scene.stop:
            continue
        parts = -(-(scene.stop - scene.start) // LONGEST)
        bounds = [scene.start + (scene.stop - scene.start) * part // parts for part in range(parts + 1)]
        for start, stop in pairwise(bounds):
            run.append(replace(scene, start=start, stop=stop))
            if stop - run[0].start >= SHORTEST:
                runs.append(run)
                run = []
    if run and runs:
        runs[-1] += run
    elif run:
        runs.append(run)
    yield from runs
