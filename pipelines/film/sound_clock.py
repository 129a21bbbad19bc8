"""The sound of a chain on the film's one clock.

Where a sample lies follows from the frame it is heard with: frame f of the film begins at sample round(f / fps * rate).
Lengths of clips are never added up, so nothing drifts, however many stages there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cached_property

import numpy as np

from ..chain.chain import Chain, Link
from ..media.sound import BLOCK, Sound, sound_digest
from ..timeline.clips import Transition, starts

# The most a stage's loudness is moved to meet the stage before; beyond 12 dB it is another sound, not a jump in level.
MAX_GAIN = 4.0


class FilmSound:
    """A chain heard as one stream: overlaps and fades joined at even power, cuts cut.

    On a smooth seam both stages hold the sound of the overlap. The later one is brought to the level of the earlier
    one there, and from there back to its own level over its length, so that levels meet at every seam and a drift
    cannot add up over many.

    Args:
        chain: what is heard.
        heard: the sound of one link from its frame 0 on, or None for silence.
        sample_rate: samples a second, of every link's sound.
        channels: 1 or more, of every link's sound.
    """

    def __init__(self, chain: Chain, heard: Callable[[Link], Sound | None], sample_rate: int, channels: int) -> None:
        self.chain = chain
        self.heard = heard
        self.sample_rate = sample_rate
        self.channels = channels

    @cached_property
    def identity(self) -> str:
        return sound_digest(self)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield `[C, N]` float32 blocks that together last exactly round(frames / fps * rate) samples.

        Held are a block and what two clips share, however long a clip is.
        """
        before = np.empty((self.channels, 0), np.float32)
        for index, (start, span) in enumerate(zip(starts(self.chain.clips), self.chain.spans, strict=True)):
            samples = self.sample(start + span.stop) - self.sample(start)
            keep = samples - self._shared_with_next(index)
            shared = []
            done = 0
            for block in self._clip(index, samples, before):
                ends = min(max(keep - done, 0), block.shape[1])
                if ends:
                    yield block[:, :ends]
                shared.append(block[:, ends:])
                done += block.shape[1]
            before = np.concatenate(shared, axis=1)

    def sample(self, frame: int) -> int:
        """The sample at which a frame of the film begins."""
        return round(Fraction(frame) / self.chain.fps * self.sample_rate)

    def _clip(self, index: int, samples: int, before: np.ndarray) -> Iterator[np.ndarray]:
        """The sound of a link from its frame 0 on, `samples` long, its head joined to what is shared with the last."""
        sound = self.heard(self.chain.links[index])
        reading = _Reading(iter(()) if sound is None else sound.blocks(), self.channels)
        joined = before.shape[1]
        head = reading.take(joined)
        smooth = self.chain.clips[index].join.transition is Transition.SMOOTH
        gain = _gain(before, head) if smooth else np.float32(1)

        def level(block: np.ndarray, place: int) -> np.ndarray:
            return block if gain == 1 else _eased(block, gain, place, joined, samples)

        yield join(before, level(head, 0))
        for place in range(joined, samples, BLOCK):
            yield level(reading.take(min(BLOCK, samples - place)), place)

    def _shared_with_next(self, index: int) -> int:
        """Samples at the end of a clip that the next one holds too: those of its overlap or fade."""
        clips = self.chain.clips
        if index + 1 == len(clips):
            return 0
        begin = starts(clips)[index + 1]
        return self.sample(starts(clips)[index] + self.chain.spans[index].stop) - self.sample(begin)


def join(outgoing: np.ndarray, incoming: np.ndarray) -> np.ndarray:
    """Lead from one sound into another `[C, N]` at even power.

    Two unlike sounds keep their power under the weights cos and sin. Two like ones would swell by 3 dB in the middle;
    dividing by sqrt(1 + 2 r cos sin), r their correlation, keeps the power even for any likeness.
    """
    samples = outgoing.shape[1]
    if not samples:
        return incoming
    angle = (np.arange(samples, dtype=np.float32) + np.float32(0.5)) / samples * np.float32(np.pi / 2)
    falling, rising = np.cos(angle), np.sin(angle)
    likeness = max(0.0, _correlation(outgoing, incoming))
    return (falling * outgoing + rising * incoming) / np.sqrt(1 + 2 * likeness * falling * rising)


def _gain(before: np.ndarray, head: np.ndarray) -> np.float32:
    """What brings the head of a clip to the level of the same sound in the clip before."""
    loud, quiet = _rms(before), _rms(head)
    return np.float32(1) if loud == 0 or quiet == 0 else np.float32(np.clip(loud / quiet, 1 / MAX_GAIN, MAX_GAIN))


def _eased(block: np.ndarray, gain: np.float32, place: int, joined: int, samples: int) -> np.ndarray:
    """A part of a clip at a gain that is whole over its head of `joined` samples and gone at its end.

    Args:
        place: of the part's first sample in the clip.
    """
    left = samples - place - np.arange(block.shape[1])
    ease = np.clip(left / max(1, samples - joined), 0, 1)
    return (block * gain**ease).astype(np.float32)


class _Reading:
    """A sound taken piece by piece; where it has ended, silence follows."""

    def __init__(self, blocks: Iterator[np.ndarray], channels: int):
        self._blocks = blocks
        self._waiting = np.empty((channels, 0), np.float32)

    def take(self, samples: int) -> np.ndarray:
        """The next `samples` samples `[C, samples]` float32."""
        pieces = [self._waiting]
        missing = samples - self._waiting.shape[1]
        while missing > 0 and (block := next(self._blocks, None)) is not None:
            pieces.append(block)
            missing -= block.shape[1]
        if missing > 0:
            pieces.append(np.zeros((self._waiting.shape[0], missing), np.float32))
        taken, self._waiting = np.split(np.concatenate(pieces, axis=1), [samples], axis=1)
        return taken


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if sound.size else 0.0


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    power = _rms(first) * _rms(second)
    return float(np.mean(first.astype(np.float64) * second)) / power if power else 1.0
