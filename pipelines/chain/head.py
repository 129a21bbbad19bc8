"""What a stage that stays gives the one before it to end on, when that is rendered again: where it is read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..identity import Unidentified
from ..model.shot import Ending
from .decode import decoded, sound_offset

if TYPE_CHECKING:
    from ..model.bundle import VideoModel
    from ..model.part import Part
    from .chain import Link


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
        latent = tensors["latent"][:, :, 1:slots] if _same_weights(self.vae, model.vae) else None
        return Ending(frames, latent, tensors.get("audio"), sound_offset(self.link.rendered))


def head_of(link: Link, overlap: int) -> Head:
    return Head(link.rendered.key, overlap, link.model.vae, link)


def _same_weights(part: Part, other: Part) -> bool:
    try:
        return part is other or part.identity == other.identity
    except Unidentified:
        return False
