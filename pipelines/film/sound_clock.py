"""The sound of a chain on the film's one clock.

Where a sample lies follows from the frame it is heard with: frame f of the film begins at sample round(f / fps * rate).
Lengths of clips are never added up, so nothing drifts, however many stages there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from ..chain import Chain, Link, Transition, starts

# The most a stage's loudness is moved to meet the stage before; beyond 12 dB it is another sound, not a jump in level.
MAX_GAIN = 4.0


class FilmSound:
    """A chain heard as one stream: overlaps and fades joined at even power, cuts cut.

    On a smooth seam both stages hold the sound of the overlap. The later one is brought to the level of the earlier
    one there, and from there back to its own level over its length, so that levels meet at every seam and a drift
    cannot add up over many.

    Args:
        chain: what is heard.
        decoded: the sound of one link from its frame 0 on, `[C, N]` float -1..1, or None for silence.
        sample_rate: samples a second.
        channels: 1 or more; what `decoded` gives.
    """

    def __init__(
        self, chain: Chain, decoded: Callable[[Link], np.ndarray | None], sample_rate: int, channels: int
    ) -> None:
        self.chain = chain
        self.decoded = decoded
        self.sample_rate = sample_rate
        self.channels = channels

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield `[C, N]` float32 blocks that together last exactly round(frames / fps * rate) samples."""
        before = np.empty((self.channels, 0), np.float32)
        for index, (start, span) in enumerate(zip(starts(self.chain.clips), self.chain.spans, strict=True)):
            origin = self.sample(start)
            clip = self._clip(self.chain.links[index], self.sample(start + span.stop) - origin)
            joined = before.shape[1]
            if self.chain.clips[index].join.transition is Transition.SMOOTH:
                clip = _level(clip, before)
            clip[:, :joined] = join(before, clip[:, :joined])
            shared = self._shared_with_next(index)
            keep = clip.shape[1] - shared
            yield clip[:, :keep]
            before = clip[:, keep:]

    def sample(self, frame: int) -> int:
        """The sample at which a frame of the film begins."""
        return round(Fraction(frame) / self.chain.fps * self.sample_rate)

    def _clip(self, link: Link, samples: int) -> np.ndarray:
        """The sound of a link from its frame 0 on, `samples` long; what it lacks is silence."""
        clip = np.zeros((self.channels, samples), np.float32)
        sound = self.decoded(link)
        if sound is not None:
            count = min(samples, sound.shape[1])
            clip[:, :count] = sound[:, :count]
        return clip

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


def _level(clip: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Bring the head of a clip to the level of the sound it shares with the one before, easing back over its length."""
    shared = before.shape[1]
    loud, quiet = _rms(before), _rms(clip[:, :shared])
    if loud == 0 or quiet == 0:
        return clip
    gain = np.clip(loud / quiet, 1 / MAX_GAIN, MAX_GAIN)
    ease = np.clip((clip.shape[1] - np.arange(clip.shape[1])) / max(1, clip.shape[1] - shared), 0, 1)
    return (clip * gain**ease).astype(np.float32)


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if sound.size else 0.0


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    power = _rms(one) * _rms(other)
    return float(np.mean(one.astype(np.float64) * other)) / power if power else 1.0
