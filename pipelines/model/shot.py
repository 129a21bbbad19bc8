"""What the sampler is to make a clip of."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from ..sampling.resume import Checkpoint
    from ..sampling.span import Conditioning, StepCallback


@dataclass(frozen=True)
class Tail:
    """The end of a clip, as the next one is pinned to it.

    Args:
        frames: `[K, H, W, 3]` in 0..1, the last K frames; None where only latents are carried.
        latent: `[1, C, k, h, w]` in VAE space, the last k = (K - 1) / grid slots; None where only pixels are carried.
        audio: `[1, C, n, F]`, the latents of the sound from there to the end of the clip; None for a silent clip.
        sound_offset: seconds from the first of the last K frames to the first of these latents.
    """

    frames: torch.Tensor | None
    latent: torch.Tensor | None
    audio: torch.Tensor | None = None
    sound_offset: Fraction = Fraction(0)


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
class Keyframe:
    """An image that a clip passes through.

    Args:
        image: `[1, H, W, C]` in 0..1, or what reads it when it is used; a family is given it read.
        frame: of the clip, overlap included, counted from 0; negative counts from where the stage ends.
        strength: 0..1, how much it counts.
    """

    image: Any
    frame: int
    strength: float = 1.0


@dataclass(frozen=True)
class Pictures:
    """Images of a stage, each `[1, H, W, 3]` in 0..1 at the stage's size, or None.

    Args:
        end_frame: the frame of the clip that `end` is, counted from 0; -1 is the last that is rendered.
        anchor_strength: how much the anchor counts, 0..1; 0 is the family's usual.
        keyframes: their frames counted from 0.
    """

    start: torch.Tensor | None = None
    end: torch.Tensor | None = None
    anchor: torch.Tensor | None = None
    anchor_strength: float = 0.0
    keyframes: tuple[Keyframe, ...] = ()
    end_frame: int = -1


@dataclass(frozen=True)
class Shot:
    """What the sampler is to make a clip of, and how.

    Args:
        frames: length of the clip, on the family's grid.
        width, height: pixels.
        positive, negative: the prompts as the text encoder reads them.
        settings: of the family, checked and filled.
        seed: of the noise.
        on_step: told after each step how many of all steps are done.
        tail: the end of the clip before that this one is pinned to, or None.
        ending: the beginning of the clip after, whose frames `pictures.end` holds, for a family that can be pinned to
            more than frames.
        sound: latents `[1, C, T, F]` of a given sound for the whole clip, or None where the model makes it.
        checkpoint: keeps the clip while it is being denoised, to go on from there.
    """

    frames: int
    width: int
    height: int
    positive: Conditioning
    negative: Conditioning
    settings: Any
    seed: int
    on_step: StepCallback
    tail: Tail | None = None
    pictures: Pictures = field(default_factory=Pictures)
    ending: Ending | None = None
    sound: torch.Tensor | None = None
    checkpoint: Checkpoint | None = None
