"""The sound of a film, encoded beside its picture."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Refusal
from .sound import Sound
from .sound_codecs import LAYOUTS, SoundCodec

if TYPE_CHECKING:
    import av

PIECE = 1024  # samples handed to the encoder at a time, as many as an AAC frame holds


def check_sound(codec: SoundCodec, sound: Sound) -> None:
    """Raise `Refusal` for sound that a codec cannot hold."""
    if codec.rate is None and codec.rates and sound.sample_rate not in codec.rates:
        rates = ", ".join(map(str, codec.rates))
        raise Refusal(f"it has {sound.sample_rate} samples a second; {codec.title} takes {rates}", field="audio")
    if sound.channels not in LAYOUTS:
        raise Refusal(f"it has {sound.channels} channels; 1, 2 or 6 (5.1) can be written", field="audio")


def rate_of(codec: SoundCodec, sound: Sound) -> int:
    """Samples a second that a sound is written with."""
    return sound.sample_rate if not codec.rates or sound.sample_rate in codec.rates else codec.rate or sound.sample_rate


class SoundTrack:
    """The sound of a film, written a little at a time so that it lies beside its picture in the file."""

    def __init__(self, container: av.container.OutputContainer, codec: SoundCodec, sound: Sound, frame_rate: Fraction):
        self._container = container
        self._rate = sound.sample_rate
        self._layout = LAYOUTS[sound.channels]
        stream: Any = container.add_stream(codec.encoder, rate=rate_of(codec, sound), layout=self._layout)
        self._stream = stream
        if codec.bits_a_second:
            # less where AAC's 6 bits a sample would be passed
            stream.bit_rate = min(codec.bits_a_second, 3 * sound.sample_rate) * sound.channels
        self._samples_a_frame = sound.sample_rate / frame_rate
        self._blocks = sound.blocks()
        self._waiting = np.empty((sound.channels, 0), np.float32)
        self._written = 0

    def reach(self, frame: int) -> None:
        """Write the whole pieces that end at or before film frame `frame`."""
        end = round(frame * self._samples_a_frame)
        while self._written + PIECE <= end:
            self._encode(self._take(PIECE))

    def finish(self, frame: int) -> None:
        """Write up to film frame `frame`, to the sample."""
        self.reach(frame)
        rest = round(frame * self._samples_a_frame) - self._written
        if rest:
            self._encode(self._take(rest))
        self._container.mux(self._stream.encode(None))

    def _take(self, count: int) -> np.ndarray:
        while self._waiting.shape[1] < count:
            block = next(self._blocks, None)
            if block is None:
                block = np.zeros((self._waiting.shape[0], count), np.float32)
            elif not np.isfinite(block).all():
                raise Refusal("it holds samples that are not finite numbers (NaN or infinity)", field="audio")
            self._waiting = np.concatenate((self._waiting, block), axis=1)
        taken, self._waiting = np.split(self._waiting, [count], axis=1)
        return np.ascontiguousarray(taken)

    def _encode(self, samples: np.ndarray) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._written
        self._written += samples.shape[1]
        self._container.mux(self._stream.encode(frame))
