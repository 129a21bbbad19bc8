"""Decoding in tiles, where whole frames do not fit into memory.

A pixel near the edge of a tile misses what lies beyond it. So tiles overlap: what is nearest to an edge is thrown away,
and over the rest of the overlap one tile leads into the next. Time is not cut: video VAEs go through it slot by slot.

ComfyUI's own tiles throw nothing away. A picture decoded by the demo model's VAE in those it falls back to, 256 pixels
that overlap by 64, was up to 4.0 code values away from the same decoded whole, and in these up to 0.02.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

SIDES = (512, 256)  # pixels of a tile; the second where the first needs too much memory
# Thrown away at an edge: pixels, and latents where those are larger.
THROWN, THROWN_LATENTS = 32, 2
LEADING = 64  # pixels over which one tile leads into the next


class NoMemory(MemoryError):
    """A piece that the VAE cannot decode at once."""


def decode(vae: Any, latent: torch.Tensor, tiled: bool) -> torch.Tensor:
    """Frames `[1, T, H, W, 3]` in 0..1 of a latent `[1, C, T, h, w]`, in tiles where memory runs out.

    Args:
        vae: ComfyUI's VAE of a video model.
        tiled: not to try without tiles.
    """
    careful = _without_own_tiles(vae)
    if not tiled:
        try:
            return careful.decode(latent)
        except NoMemory:
            log.warning("Longtake: there is not enough memory to decode whole frames; they are decoded in tiles.")
    for side in SIDES:
        try:
            return _in_tiles(careful, latent, side)
        except NoMemory:
            log.warning("Longtake: there is not enough memory to decode tiles of %s pixels.", side)
    return vae.decode(latent)


def _without_own_tiles(vae: Any) -> Any:
    """The VAE; it raises `NoMemory` where it would fall back to tiles of its own."""

    def stop(*_: Any, **__: Any) -> None:
        raise NoMemory

    careful = copy.copy(vae)
    careful.decode_tiled_3d = careful._decode_tiled_owned = stop
    return careful


def _in_tiles(vae: Any, latent: torch.Tensor, side: int) -> torch.Tensor:
    import torch

    pixels = vae.spacial_compression_decode()
    height, width = (length * pixels for length in latent.shape[-2:])
    rows, columns = (list(tiles_of(length, side // pixels, pixels)) for length in latent.shape[-2:])
    frames = torch.empty(0)
    for (top, bottom, down), (left, right, across) in product(rows, columns):
        tile = vae.decode(latent[..., top:bottom, left:right])
        if not len(frames):
            frames = torch.zeros((*tile.shape[:-3], height, width, tile.shape[-1]))
        place = frames[..., top * pixels : bottom * pixels, left * pixels : right * pixels, :]
        place += tile.float().cpu() * (down[:, None] * across)[..., None]
    return frames


def tiles_of(length: int, side: int, pixels: int) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Tiles along one direction: where each begins and ends, in latents, and the weight of each of its pixels.

    At every pixel the weights of all tiles add up to 1.

    Args:
        length, side: latents of the frame and of a tile.
        pixels: of a latent.
    """
    import torch

    leading = -(-LEADING // pixels)
    overlap = leading + 2 * max(-(-THROWN // pixels), THROWN_LATENTS)
    count = 1 if length <= side else -(-(length - overlap) // (side - overlap))
    spread = (length - side) / max(count - 1, 1)
    tiles = [(round(number * spread), min(round(number * spread) + side, length)) for number in range(count)]
    place = torch.arange(length * pixels) + 0.5
    # How far each tile has taken over from the one before it: 0 to 1 around the middle of what both hold.
    risen = [torch.ones(len(place))]
    for (_, end), (begin, _) in pairwise(tiles):
        middle = (begin + end) / 2 * pixels
        risen.append(((place - middle) / (leading * pixels) + 0.5).clamp(0, 1))
    risen.append(torch.zeros(len(place)))
    for (begin, end), mine, following in zip(tiles, risen, risen[1:], strict=False):
        yield begin, end, (mine - following)[begin * pixels : end * pixels]
