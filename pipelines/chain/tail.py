"""What a stage hands on to the next: its last frames, as pixels and as latents, and the sound of that time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..media.sound import Sound, SoundExcerpt
from ..model.shot import Tail
from ..timeline.clips import Carry, Join
from .decode import decoded, sound_offset

if TYPE_CHECKING:
    from ..model.bundle import VideoModel
    from .chain import Link

# Latents of sound encoded before those that are asked for: LTX-2's encoder looks back over 104 frames of its spectrum,
# which are 26 latents (1.04 s), and the first frame of a spectrum hears the sound mirrored.
CONTEXT = 27


def tail_of(link: Link, join: Join) -> Tail:
    """The end of a clip that a smooth stage is pinned to.

    Carried latents are slot-aware: slot 0 of a causal video VAE holds one frame, later slots several, so a clip's last
    k slots can only stand in slots 1..k of the next. Slot 0 is then encoded afresh from the frame before them, which
    is `frames[0]`.

    Args:
        join: of that stage; its overlap is on the family's grid and not longer than the clip.
    """
    overlap = join.overlap
    slots = link.model.family.grid.slots(overlap) - 1
    latent = link.rendered.latent()[:, :, -slots:] if join.carry is not Carry.PIXELS and slots else None
    frames = None
    if join.carry is not Carry.SVI:
        frames = torch.from_numpy(decoded(link)[-overlap:].astype(np.float32) / 65535.0)
    return Tail(frames, latent, *_sound_tail(link, overlap))


def _sound_tail(link: Link, overlap: int) -> tuple[torch.Tensor | None, Fraction]:
    """The latents of sound that belong to the overlap, and how far from its first frame they begin.

    Latents of sound come 25 a second; at 24 or 30 frames a second the overlap mostly begins between two of them. The
    nearer one is taken, and the clip that goes on keeps that grid: its sound begins up to half a latent (20 ms) before
    or after its picture, known exactly and accounted for when it is heard, so that both clips hold the same sound at
    the same time of the film and nothing adds up from seam to seam.
    """
    if link.model.family.sound is None or link.model.audio_vae is None:
        return None, Fraction(0)
    rate = link.model.family.sound.rate
    if link.footage is not None:
        return _sound_of_footage(link, rate, overlap), Fraction(0)
    audio = link.rendered.audio()
    if audio is None:
        return None, Fraction(0)
    place = ((link.clip.frames - overlap) / link.model.fps - sound_offset(link.rendered)) * rate
    first = max(0, round(place))
    return audio[:, :, first:], (first - place) / rate


def _sound_of_footage(link: Link, rate: Fraction, overlap: int) -> torch.Tensor | None:
    """The last `overlap` frames' sound of a video as latents, encoded together with what is heard just before them."""
    sound = None if link.footage is None else link.footage.sound
    if sound is None:
        return None
    start = (link.clip.frames - overlap) / link.model.fps
    return encoded_sound(link.model, rate, sound, start, overlap / link.model.fps)


@dataclass(frozen=True)
class Heard:
    """A part of a sound as an encoder is given it, with what is heard just before.

    Args:
        waveform: `[channels, samples]`; what the sound lacks of the part is silence.
        context: latents at its head that come before the part.
    """

    waveform: torch.Tensor
    sample_rate: int
    context: int


def heard_of(sound: Sound, rate: Fraction, start: Fraction, seconds: Fraction) -> Heard | None:
    """A part of a sound; None where it has ended before.

    Args:
        rate: latents a second.
        start, seconds: where the part begins and how long it is.
    """
    context = min(CONTEXT, math.floor(start * rate))
    first, stop = (round(time * sound.sample_rate) for time in (start - context / rate, start + seconds))
    blocks = [torch.from_numpy(block) for block in SoundExcerpt(sound, first, stop).blocks()]
    if not blocks:
        return None
    waveform = torch.nn.functional.pad(together := torch.cat(blocks, dim=1), (0, stop - first - together.shape[1]))
    return Heard(waveform, sound.sample_rate, context)


def encoded_sound(
    model: VideoModel, rate: Fraction, sound: Sound, start: Fraction, seconds: Fraction
) -> torch.Tensor | None:
    """Latents of a part of a sound, encoded together with what is heard just before it; None where it has ended.

    Args:
        rate: latents a second.
        start, seconds: where the part begins and how long it is; what the sound lacks of it is silence.
    """
    heard = heard_of(sound, rate, start, seconds)
    if heard is None or model.family.sound is None:
        return None
    latents = model.family.sound.encode(model, heard.waveform, heard.sample_rate)
    return latents[:, :, heard.context : heard.context + math.ceil(seconds * rate)]
