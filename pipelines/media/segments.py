"""A film as segments: runs of frames that are encoded once and put into every film that shows them.

A run begins with a key frame that nothing after it looks behind, so its packets stand for themselves: between others
they give the same pictures. A segment on disk holds what the encoder gave for one run, and says when it is damaged. It
is never needed: what is not there, or does not fit between its neighbours, is encoded again.

    8 bytes    how long the index is
    the index  sealed JSON: what a decoder is told first, and time, key mark and size of each packet
    the rest   the packets, one behind the other
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from ..errors import Refusal
from ..files.reading import Damaged, Unreadable, contents
from ..files.sealed import sealed, unsealed
from ..identity import digest

log = logging.getLogger(__name__)

FORMAT = "longtake.segment.v1"
HEAD = 8  # bytes that say how long the index is


@dataclass(frozen=True)
class Run:
    """Frames [start, stop) of a film that are kept together.

    Args:
        seen: what stands for all that is seen in them; None where it cannot be told, so that they are not kept.
    """

    start: int
    stop: int
    seen: str | None


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

    def key(self, run: Run) -> str | None:
        return None if run.seen is None else digest([FORMAT, run.seen, self.asked])


Packets = Iterator[tuple[Sequence[Any], int]]
"""What comes of a film: packets in decoding order, timed in frames of it, and how many frames are done with them."""


def delivered(segments: Segments, settings: Settings, encode: Callable[[int, int, frozenset[int]], Packets]) -> Packets:
    """The packets of a film: of its kept segments, and of runs that are encoded and kept now.

    Args:
        encode: encodes frames [start, stop) of the film, with key frames at the frames given.
    """
    # Each is read when the film has reached it: the packets of a few runs are in memory at a time.
    looked_up = ((run, _kept(segments.shelf, settings, run)) for run in segments.runs)
    for is_kept, pairs in groupby(looked_up, key=lambda pair: pair[1] is not None):
        if is_kept:
            for run, packets in pairs:
                for number, packet in enumerate(packets or (), start=1):
                    packet.pts, packet.dts = packet.pts + run.start, packet.dts + run.start
                    yield [packet], run.start + number
        else:
            runs = [run for run, _ in pairs]
            starts = frozenset(run.start for run in runs)
            yield from _keeping(segments.shelf, settings, runs, encode(runs[0].start, runs[-1].stop, starts))


def _keeping(shelf: Shelf, settings: Settings, runs: Sequence[Run], packets: Packets) -> Packets:
    """The packets of runs, each run being kept as soon as the last of its own has come."""
    following = iter(runs)
    run = next(following)
    own: list[Coded] = []
    for some, done in packets:
        for packet in some:
            if packet.pts >= run.stop:
                _keep(shelf, settings, run, own)
                run, own = next(following), []
            # As it is now: whoever writes it to a file counts its time otherwise.
            own.append(Coded(packet.pts - run.start, packet.dts - run.start, packet.is_keyframe, bytes(packet)))
        yield some, done
    _keep(shelf, settings, run, own)
    shelf.make_room()


def _keep(shelf: Shelf, settings: Settings, run: Run, packets: Sequence[Coded]) -> None:
    key = settings.key(run)
    if key is None or len(packets) != run.stop - run.start:
        return
    try:
        shelf.keep(shelf.segment(key), lambda path: _write(path, settings.extradata, packets))
    except (OSError, Refusal) as error:
        log.warning("Longtake: a segment of the film is not kept: %s", error)


def _write(path: Path, extradata: bytes, packets: Sequence[Coded]) -> None:
    from blake3 import blake3

    index = sealed(
        {
            "format": FORMAT,
            "extradata": extradata.hex(),
            "packets": [[packet.pts, packet.dts, int(packet.key), len(packet.data)] for packet in packets],
            "blake3": blake3(b"".join(packet.data for packet in packets)).hexdigest(),
        }
    )
    with open(path, "wb") as file:
        file.write(len(index).to_bytes(HEAD, "little"))
        file.write(index)
        file.writelines(packet.data for packet in packets)


def _kept(shelf: Shelf, settings: Settings, run: Run) -> list[Any] | None:
    """The packets of a run, timed from its first frame, or None where none are kept that can be used."""
    key = settings.key(run)
    if key is None:
        return None
    path = shelf.segment(key)
    try:
        return _read(path, settings, run.stop - run.start)
    except FileNotFoundError:
        return None
    except Damaged as error:
        log.warning("Longtake: a segment of the film is encoded again: %s", error)
        with contextlib.suppress(OSError):
            path.unlink()
    except Unreadable as error:
        log.warning("Longtake: %s", error)
    return None


def _read(path: Path, settings: Settings, frames: int) -> list[Any]:
    import av
    from blake3 import blake3

    content = contents(path)
    begin = HEAD + int.from_bytes(content[:HEAD], "little")
    index = unsealed(content[HEAD:begin], (FORMAT,))
    payload = memoryview(content)[begin:]
    if blake3(payload).hexdigest() != index["blake3"]:
        raise Damaged(f"{path.name} has changed since it was written")
    if bytes.fromhex(index["extradata"]) != settings.extradata or len(index["packets"]) != frames:
        raise Damaged(f"{path.name} does not fit this film")
    packets, at = [], 0
    for pts, dts, key, size in index["packets"]:
        packet = av.Packet(bytes(payload[at : at + size]))
        packet.pts, packet.dts, packet.duration = pts, dts, 1
        packet.time_base = 1 / settings.frame_rate
        packet.is_keyframe = bool(key)
        packets.append(packet)
        at += size
    with contextlib.suppress(OSError):
        os.utime(path)
    return packets
