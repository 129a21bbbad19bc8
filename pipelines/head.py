"""What a stage that stays gives the one before it to end on, when that is rendered again: frames and their sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch

from .decode import decoded, sound_offset
from .takes.identity import Unidentified

if TYPE_CHECKING:
    from .bundle.model import Part, VideoModel
    from .chain import Link


@dataclass(frozen=True)
class Ending:
    """The beginning of the next clip, as one is to end on it.

    Args:
        frames: `[K, H, W, 3]` in 0..1, the first K frames of the next clip.
        latent: `[1, C, k, h, w]` in VAE space, its slots 1..k, which hold all of these frames but the first; None where
            it was made by another VAE.
        audio: `[1, C, n, F]`, the latents of its sound; None for a silent clip.
        sound_offset: seconds from the first of these frames to the first of these latents.
    """

    frames: torch.Tensor
    latent: torch.Tensor | None
    audio: torch.Tensor | None
    sound_offset: Fraction


@dataclass(frozen=True)
class Head:
    """Where an `Ending` is read from.

    Args:
        key: of its take.
        overlap: frames.
        vae: decodes it.
        link: where the frames come from.
    """

    key: str
    overlap: int
    vae: Part
    link: Link = field(compare=False)

    def ending(self, model: VideoModel) -> Ending:
        """What a clip of `model` is to end on."""
        frames = torch.from_numpy(decoded(self.link)[: self.overlap].astype(np.float32) / 65535.0)
        tensors = self.link.rendered.tensors()
        slots = model.family.grid.slots(self.overlap)
        latent = tensors["latent"][:, :, 1:slots] if _same(self.vae, model.vae) else None
        return Ending(frames, latent, tensors.get("audio"), sound_offset(self.link))


def head_of(link: Link, overlap: int) -> Head:
    return Head(link.rendered.key, overlap, link.model.vae, link)


def _same(one: Part, other: Part) -> bool:
    try:
        return one is other or one.identity == other.identity
    except Unidentified:
        return False
