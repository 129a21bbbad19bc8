"""A film as segments: runs of frames that are encoded once and put into every film that shows them.

A segment on disk holds what the encoder gave for one run. One that begins with a key frame stands for itself. One that
does not looks behind at the run before it, and fits behind exactly the packets that it was encoded behind. In either
nothing looks ahead. Segments are never needed: what is not there, or damaged, or does not fit, is encoded again.

    8 bytes    how long the index is
    the index  sealed JSON: what a decoder is told first, and time, key mark and size of each packet
    the rest   the packets, one behind the other
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Refusal
from ..files.reading import Damaged, Unreadable, contents
from ..files.sealed import sealed, unsealed
from ..identity import digest

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

FORMAT = "longtake.segment.v1"
HEAD = 8  # bytes that say how long the index is
# A key frame costs as much as many frames after it, and where a run changes, those that look behind at it are encoded
# again with it: two runs share one, or more where they are short.
SHARED = 160  # frames; two runs of Wan's usual length
SHARED_MOST = 250  # frames; x264's own distance of key frames
# Further on in a film more may share one: the part of the film before it that is encoded again stays as small.
OF_FILM = 6


@dataclass(frozen=True)
class Run:
    """Frames [start, stop) of a film that are kept together.

    Args:
        seen: what stands for all that is seen in them; None where it cannot be told, so that they are not kept.
        cut: whether they show nothing of what is before them, so that a key frame costs nothing.
    """

    start: int
    stop: int
    seen: str | None
    cut: bool = True


class Shelf(Protocol):
    """Where segments are kept."""

    def segment(self, key: str) -> Path:
        """Where the segment of a key lies, or would."""
        ...

    def keep(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write a segment, whole or not at all; raises `OSError` or `Refusal`."""
        ...

    def make_room(self) -> None:
        """Forget what was not used for long, where too much is kept."""
        ...


@dataclass(frozen=True)
class Segments:
    """The runs of a film, which tile it, and where they are kept."""

    runs: Sequence[Run]
    shelf: Shelf

    @property
    def key_frames(self) -> frozenset[int]:
        """The frames that a film which is encoded as a whole has key frames at."""
        frames = set()
        sharing, begun = 0, 0
        for run in self.runs:
            shared = run.stop - begun
            room = SHARED_MOST if sharing == 1 else max(SHARED, min(SHARED_MOST, begun // OF_FILM))
            if run.cut or not sharing or shared > room:
                frames.add(run.start)
                sharing, begun = 0, run.start
            sharing += 1
        return frozenset(frames)


@dataclass(frozen=True)
class Settings:
    """What of an encoder makes packets fit behind one another.

    Args:
        asked: everything that was asked of it, and its version.
        extradata: what it tells a decoder before the first packet.
        frame_rate: of the film; packets are timed in frames.
    """

    asked: Any
    extradata: bytes
    frame_rate: Fraction


@dataclass(frozen=True)
class Coded:
    """One packet of a run.

    Args:
        pts, dts: when it is shown and decoded, in frames from the first of the run.
        key: whether it is a key frame.
    """

    pts: int
    dts: int
    key: bool
    data: bytes


@dataclass(frozen=True)
class Segment:
    """A run as it was encoded.

    Args:
        behind: the mark of what it was encoded behind; empty where it begins with a key frame.
    """

    packets: Sequence[Coded]
    behind: str = ""

    @property
    def mark(self) -> str:
        """What tells its packets, and those that they look behind at, from all others."""
        from blake3 import blake3

        key = blake3(self.behind.encode())
        for packet in self.packets:
            key.update(packet.data)
        return key.hexdigest()


Packets = Iterator[tuple[Sequence[Any], int]]
"""What comes of a film: packets in decoding order, timed in frames of it, and how many frames are done with them."""

Encode = Callable[[int, int, frozenset[int], frozenset[int]], Packets]
"""Encodes frames [start, stop), with key frames at some, and others that nothing before them looks ahead of."""


def delivered(segments: Segments, settings: Settings, encode: Encode) -> Packets:
    """The packets of a film: of its kept segments, and of runs that are encoded and kept now."""
    shelf = _Shelf(segments.shelf, settings)
    runs, behind, at = segments.runs, "", 0
    while at < len(runs):
        segment = shelf.find(runs[at], behind) or shelf.find(runs[at], "")
        if segment is not None:
            yield from _copied(segment, runs[at].start, settings.frame_rate)
            behind, at = segment.mark, at + 1
            continue
        end = at + 1
        while end < len(runs) and not shelf.has(runs[end]):
            end += 1
        behind = yield from _encoded(shelf, runs[at:end], segments.key_frames, encode)
        at = end
    segments.shelf.make_room()


def packet_of(data: bytes) -> av.Packet:
    """A packet with room of its own: one that PyAV 17.0 makes of bytes loses them while the muxer waits with it."""
    import av

    packet = av.Packet(len(data))
    packet.update(data)
    return packet


def _copied(segment: Segment, start: int, frame_rate: Fraction) -> Packets:
    for number, coded in enumerate(segment.packets, start=1):
        packet = packet_of(coded.data)
        packet.pts, packet.dts, packet.duration = coded.pts + start, coded.dts + start, 1
        packet.time_base = 1 / frame_rate
        packet.is_keyframe = coded.key
        yield [packet], start + number


def _encoded(
    shelf: _Shelf, runs: Sequence[Run], key_frames: frozenset[int], encode: Encode
) -> Generator[tuple[Sequence[Any], int], None, str]:
    """The packets of runs that follow one another, each kept as soon as its last has come; the mark of the last."""
    keys = key_frames & {run.start for run in runs} | {runs[0].start}
    lasts = frozenset(run.stop - 1 for run in runs)
    own: list[list[Coded]] = [[]]
    mark = ""

    def keep() -> str:
        run = runs[len(own) - 1]
        segment = Segment(own[-1], "" if run.start in keys else mark)
        shelf.keep(run, segment)
        return segment.mark

    for some, done in encode(runs[0].start, runs[-1].stop, keys, lasts):
        for packet in some:
            if packet.pts >= runs[len(own) - 1].stop:
                mark = keep()
                own.append([])
            run = runs[len(own) - 1]
            # As it is now: whoever writes it to a file counts its time otherwise.
            coded = Coded(packet.pts - run.start, packet.dts - run.start, packet.is_keyframe, bytes(packet))
            own[-1].append(coded)
        yield some, done
    return keep()


class _Shelf:
    """The segments that fit one film's settings."""

    def __init__(self, shelf: Shelf, settings: Settings):
        self._shelf = shelf
        self._settings = settings

    def has(self, run: Run) -> bool:
        """Whether a segment may be there that begins with a key frame."""
        path = self._path(run, "")
        return path is not None and path.is_file()

    def find(self, run: Run, behind: str) -> Segment | None:
        """The segment of a run that fits behind another, or with no mark behind any; None where none can be used."""
        path = self._path(run, behind)
        if path is None:
            return None
        try:
            segment = _read(path, self._settings.extradata, behind)
            if sorted(packet.pts for packet in segment.packets) != list(range(run.stop - run.start)):
                raise Damaged("it has other frames than the film")
            return segment
        except FileNotFoundError:
            return None
        except Damaged as error:
            log.warning("Longtake: a segment of the film, %s, is encoded again: %s", path.name, error)
            with contextlib.suppress(OSError):
                path.unlink()
        except Unreadable as error:
            log.warning("Longtake: %s", error)
        return None

    def keep(self, run: Run, segment: Segment) -> None:
        path = self._path(run, segment.behind)
        if path is None or len(segment.packets) != run.stop - run.start:
            return
        try:
            self._shelf.keep(path, lambda unfinished: _write(unfinished, self._settings.extradata, segment))
        except (OSError, Refusal) as error:
            log.warning("Longtake: a segment of the film is not kept: %s", error)

    def _path(self, run: Run, behind: str) -> Path | None:
        if run.seen is None:
            return None
        return self._shelf.segment(digest([FORMAT, run.seen, self._settings.asked, behind]))


def _write(path: Path, extradata: bytes, segment: Segment) -> None:
    index = sealed(
        {
            "format": FORMAT,
            "extradata": extradata.hex(),
            "packets": [[packet.pts, packet.dts, int(packet.key), len(packet.data)] for packet in segment.packets],
            "behind": segment.behind,
            "mark": segment.mark,
        }
    )
    with open(path, "wb") as file:
        file.write(len(index).to_bytes(HEAD, "little"))
        file.write(index)
        file.writelines(packet.data for packet in segment.packets)


def _read(path: Path, extradata: bytes, behind: str) -> Segment:
    content = contents(path)
    at = HEAD + int.from_bytes(content[:HEAD], "little")
    index = unsealed(content[HEAD:at], (FORMAT,))
    packets = []
    for pts, dts, key, size in index["packets"]:
        packets.append(Coded(pts, dts, bool(key), content[at : at + size]))
        at += size
    segment = Segment(packets, behind)
    if at != len(content) or segment.mark != index["mark"] or index["behind"] != behind:
        raise Damaged("its content has changed since it was written")
    if bytes.fromhex(index["extradata"]) != extradata:
        raise Damaged("it was made by another encoder")
    with contextlib.suppress(OSError):
        os.utime(path)
    return segment
