"""What might keep a chain from drifting, done to a tail on its way from one stage to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from longtake.pipelines.chain.decode import decoded

if TYPE_CHECKING:
    from longtake.pipelines.chain.chain import Chain
    from longtake.pipelines.model.shot import Tail

MOST = 1.25  # a spread is not brought back by more at one seam: a shape that has gone would be made of noise
NOISE = 0.05  # in parts of the spread of a channel: what the demo model's known slots had at most in training


def colours_of_the_first(tail: Tail, chain: Chain) -> Tail:
    """Mean and spread of red, green and blue as in the first clip."""
    if tail.frames is None:
        raise ValueError("this cure is for tails of pixels")
    first = torch.from_numpy(np.asarray(decoded(chain.links[0])).astype(np.float32) / 65535)
    return replace(tail, frames=_with_moments(tail.frames, first, (0, 1, 2)).clamp(0, 1))


def colours_of_the_first_every_fourth(tail: Tail, chain: Chain) -> Tail:
    """The same, for every fourth stage alone."""
    return tail if len(chain.links) % 4 else colours_of_the_first(tail, chain)


def moments_of_the_first(tail: Tail, chain: Chain) -> Tail:
    """Mean and spread of each channel of the carried latents as in the first clip's."""
    if tail.latent is None:
        raise ValueError("this cure is for tails of latents")
    first = chain.links[0].rendered.latent()[:, :, 1:]  # slot 0 holds one frame and is another kind of latent
    return replace(tail, latent=_with_moments(tail.latent, first, (0, 2, 3, 4)))


def noised(tail: Tail, chain: Chain) -> Tail:
    """A little noise on the carried latents, so that the model mends them as it mends its own."""
    if tail.latent is None:
        raise ValueError("this cure is for tails of latents")
    generator = torch.Generator().manual_seed(len(chain.links))
    spread = tail.latent.std((0, 2, 3, 4), keepdim=True)
    return replace(tail, latent=tail.latent + NOISE * spread * torch.randn(tail.latent.shape, generator=generator))


def spectrum_of_the_first(tail: Tail, chain: Chain) -> Tail:
    """Every frequency, by its distance from none, as strong as in the first clip: what went soft is made sharp."""
    if tail.frames is None:
        raise ValueError("this cure is for tails of pixels")
    first = np.asarray(decoded(chain.links[0])).astype(np.float32) / 65535
    frames = tail.frames.numpy()
    rings = _rings(*frames.shape[1:3])
    gain = np.clip(_amplitudes(first, rings) / np.maximum(_amplitudes(frames, rings), 1e-6), 1 / MOST, MOST)
    gain[0] = 1  # the mean is colour
    sharpened = np.fft.ifft2(np.fft.fft2(frames, axes=(1, 2)) * gain[rings][None, :, :, None], axes=(1, 2)).real
    return replace(tail, frames=torch.from_numpy(sharpened.clip(0, 1).astype(np.float32)))


def _with_moments(values: torch.Tensor, first: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
    mean, spread = values.mean(over, keepdim=True), values.std(over, keepdim=True)
    gain = (first.std(over, keepdim=True) / spread.clamp(min=1e-6)).clamp(1 / MOST, MOST)
    return (values - mean) * gain + first.mean(over, keepdim=True)


def _rings(height: int, width: int) -> np.ndarray:
    """Of each frequency `[H, W]`, its distance from none, rounded; half the smaller side holds what lies beyond."""
    down, across = np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None] * width
    return np.minimum(np.rint(np.hypot(down, across)), min(height, width) // 2).astype(int)


def _amplitudes(frames: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """The root mean square of a clip `[T, H, W, 3]` in each ring."""
    power = (np.abs(np.fft.fft2(frames, axes=(1, 2))) ** 2).mean((0, 3))
    return np.sqrt(np.bincount(rings.ravel(), power.ravel()) / np.bincount(rings.ravel()))
