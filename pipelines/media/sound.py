"""Sound as a stream of samples, so that a long film's sound need not be in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ..errors import Refusal

BLOCK = 65536  # samples handed over at a time: about 1.4 s at 48 kHz


class Sound(Protocol):
    """Samples from the first to the last."""

    sample_rate: int
    channels: int

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield `[channels, n]` float32, nominally -1..1, n at most a few seconds."""


class Waveform:
    """ComfyUI's AUDIO, `{"waveform": [1, C, N] float, "sample_rate": int}`, as a stream of samples.

    Raises:
        Refusal: more than one piece of audio in the batch, or a shape of another kind.
    """

    def __init__(self, audio: dict):
        self.waveform = audio["waveform"]
        self.sample_rate = int(audio["sample_rate"])
        if self.waveform.ndim != 3 or self.waveform.shape[0] != 1:
            raise Refusal(
                f"audio of shape {list(self.waveform.shape)} is given; one piece [1, channels, samples] is needed",
                field="audio",
            )
        self.channels = int(self.waveform.shape[1])

    @cached_property
    def identity(self) -> str:
        return sound_digest(self)

    def blocks(self) -> Iterator[np.ndarray]:
        for first in range(0, self.waveform.shape[2], BLOCK):
            block = self.waveform[0, :, first : first + BLOCK]
            if hasattr(block, "detach"):
                block = block.detach().cpu().float().numpy()
            yield np.asarray(block, np.float32)


class SoundExcerpt:
    """Samples [start, stop) of another sound, or fewer where it ends before."""

    def __init__(self, sound: Sound, start: int, stop: int):
        self.sound = sound
        self.start = start
        self.stop = stop
        self.sample_rate = sound.sample_rate
        self.channels = sound.channels

    @classmethod
    def of_frames(cls, sound: Sound, first: int, stop: int, frame_rate: Fraction) -> SoundExcerpt:
        """What is heard with frames [first, stop)."""
        samples = sound.sample_rate / frame_rate
        return cls(sound, round(first * samples), round(stop * samples))

    @property
    def identity(self) -> list[Any]:
        return [self.sound, self.start, self.stop]

    def blocks(self) -> Iterator[np.ndarray]:
        at = 0
        for block in self.sound.blocks():
            if at >= self.stop:
                return
            piece = block[:, max(self.start - at, 0) : self.stop - at]
            at += block.shape[1]
            if piece.shape[1]:
                yield piece


def converted(samples: np.ndarray, own_rate: int, rate: int, channels: int) -> Waveform:
    """Samples `[channels, samples]` at another rate, with so many channels: one is heard from all, more are mixed to
    one."""
    if own_rate != rate:
        import torch
        from torchaudio.functional import resample

        samples = resample(torch.from_numpy(np.ascontiguousarray(samples)), own_rate, rate).numpy()
    if samples.shape[0] != channels:
        samples = np.repeat(samples.mean(0, keepdims=True), channels, axis=0)
    return Waveform({"waveform": samples[None], "sample_rate": rate})


def sound_digest(sound: Sound) -> str:
    """Hash of every sample, for a sound that no file stands behind. It reads all of it, until that is cancelled."""
    from blake3 import blake3

    from ..progress import stop_if_cancelled

    key = blake3(f"{sound.sample_rate} Hz, {sound.channels} channels".encode())
    for block in sound.blocks():
        stop_if_cancelled()
        # Sample by sample: how the sound is cut into blocks is not what is heard.
        key.update(np.ascontiguousarray(block.T).view(np.uint8).data)
    return key.hexdigest()
