"""What can be seen in clips of the closed world, from their pixels alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .world import COLOURS, GROUNDS, MOTIONS, SHAPES, SIZE, STANDS, STILL, coverage


@dataclass(frozen=True)
class Seen:
    """What is in each clip of a batch.

    Attributes:
        ground, colour, shape: indices of the nearest names; the shape's is of the last frame.
        area: share of the picture that the shape covers.
        centre: (clips, frames, 2) in pixels, going on over the border.
    """

    ground: Tensor
    colour: Tensor
    shape: Tensor
    area: Tensor
    centre: Tensor

    def motion(self, first: int = 0, last: int = -1) -> Tensor:
        """Index of the motion between two frames."""
        rate = self.velocity(first, last)
        motion = (rate @ torch.tensor(list(MOTIONS.values()))[:STILL].T).argmax(1)
        return torch.where(rate.norm(dim=1) < STANDS, STILL, motion)

    def velocity(self, first: int = 0, last: int = -1) -> Tensor:
        """Pixels a frame, x and y, between two frames."""
        last = last % self.centre.shape[1]
        return (self.centre[:, last] - self.centre[:, first]) / (last - first)


def look(pixels: Tensor) -> Seen:
    """Measure clips (n, 3, frames, SIZE, SIZE) in -1..1.

    The ground is the median colour of the whole clip; the shape is what differs from it.
    """
    rgb = (pixels.clamp(-1, 1) + 1) / 2
    ground_rgb = rgb.flatten(2).median(dim=2).values
    ground = torch.cdist(ground_rgb, torch.tensor(list(GROUNDS.values()))).argmin(1)
    difference = (rgb - ground_rgb[:, :, None, None, None]).norm(dim=1)
    strong = difference > 0.6 * difference.flatten(1).quantile(0.98, dim=1)[:, None, None, None]
    colour_rgb = (rgb * strong[:, None]).sum((2, 3, 4)) / strong.sum((1, 2, 3)).clamp(min=1)[:, None]
    colour = torch.cdist(colour_rgb, torch.tensor(list(COLOURS.values()))).argmin(1)
    centre = _path((difference - 0.15).clamp(min=0))
    area = (difference > 0.25).float().mean((1, 2, 3))
    return Seen(ground, colour, _shape(difference[:, -1], centre[:, -1]), area, centre)


def _path(weight: Tensor) -> Tensor:
    """The centroid of (clips, frames, SIZE, SIZE) on the torus, frame after frame."""
    angle = (torch.arange(SIZE) + 0.5) / SIZE * 2 * torch.pi
    wave = torch.exp(1j * angle)
    centre = torch.stack([(weight.sum(2) * wave).sum(-1).angle(), (weight.sum(3) * wave).sum(-1).angle()], -1)
    centre = centre / (2 * torch.pi) * SIZE
    steps = (centre[:, 1:] - centre[:, :-1] + SIZE / 2) % SIZE - SIZE / 2
    return torch.cat([centre[:, :1], centre[:, :1] + steps.cumsum(1)], 1)


def _shape(difference: Tensor, centre: Tensor) -> Tensor:
    """Which shape, of any size, painted where the centroid is, comes nearest to one frame."""
    n = len(difference)
    alpha = (difference / difference.flatten(1).quantile(0.97, dim=1)[:, None, None].clamp(min=0.2)).clamp(0, 1)
    best, shape = torch.full((n,), torch.inf), torch.zeros(n, dtype=torch.long)
    for kind in range(len(SHAPES)):
        for down in (-1.0, 0.0, 1.0):
            for radius in torch.arange(9.0, 15.1, 0.5):
                at = centre[:, None] + torch.tensor([0.0, down])
                cover = coverage(torch.full((n,), kind), radius.expand(n), at)[:, 0]
                error = (cover - alpha).square().mean((1, 2))
                shape = torch.where(error < best, kind, shape)
                best = torch.minimum(best, error)
    return shape


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Of each clip in dB; pixels in -1..1."""
    error = (a.clamp(-1, 1) - b.clamp(-1, 1)).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)
