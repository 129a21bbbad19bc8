"""The sound of a pass: how many latents it has, and those that are known at its head and at its end."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import torch

from .canvas import Canvas
from .masks import pinned

SOUND_RATE = Fraction(25)  # latents a second: 16 kHz, hop 160, 4 mel frames a latent
RELEASE = 4  # latents (160 ms) over which a carried sound is let go


def sound_latents(frames: int, fps: Fraction, offset: Fraction = Fraction(0)) -> int:
    """Latents of sound that reach the end of a clip, rounded up.

    ComfyUI's LTXVEmptyLatentAudio reckons in floats and gives one more at a few lengths (249 frames at 25 a second).

    Args:
        offset: seconds from the clip's frame 0 to the first latent; a sound that goes on keeps the grid it began on.
    """
    return math.ceil((frames / fps - offset) * SOUND_RATE)


def pin_sound(canvas: Canvas, sound: torch.Tensor, release: int = RELEASE) -> Canvas:
    """Keep the first latents of the sound and let go of them softly.

    The last `release` of them, at most a quarter, rise from kept to generated along half a cosine, so that what is
    generated takes over from them rather than beginning beside them.

    Args:
        sound: `[1, 8, n, 16]`, n not more than the canvas holds.
    """
    if canvas.audio is None:
        raise ValueError("a silent canvas has no sound to keep")
    kept = kept_sound(sound.shape[2], release)
    audio, mask = pinned("the sound before", canvas.audio, canvas.audio_mask, sound, 0, kept)
    return replace(canvas, audio=audio, audio_mask=mask)


def pin_sound_end(canvas: Canvas, sound: torch.Tensor, first: int) -> Canvas:
    """Keep the sound from latent `first` on, which what is generated arrives at as softly as it leaves a carried one.

    Args:
        sound: `[1, 8, n, 16]`; what lies beyond the canvas is not looked at.
    """
    if canvas.audio is None:
        raise ValueError("a silent canvas has no sound to keep")
    sound = sound[:, :, : max(0, canvas.audio.shape[2] - first)]
    kept = kept_sound(sound.shape[2]).flip(0)
    audio, mask = pinned("the sound after", canvas.audio, canvas.audio_mask, sound, first, kept)
    return replace(canvas, audio=audio, audio_mask=mask)


def kept_sound(count: int, release: int = RELEASE) -> torch.Tensor:
    """Mask `[count]` of carried sound: 0, then half a cosine towards 1 over the last `release`, at most a quarter."""
    release = min(release, count // 4)
    rise = (torch.arange(1, release + 1) / (release + 1) * math.pi).cos()
    return torch.cat([torch.zeros(count - release), (1 - rise) / 2])
