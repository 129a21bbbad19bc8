"""Masks of a pass, a value for each latent slot: 1 where the model generates, 0 where it keeps what it is given."""

from __future__ import annotations

import torch

from ..shapes import check_part


def all_generated(latent: torch.Tensor) -> torch.Tensor:
    """The mask `[1, 1, T, 1, ...]` of a latent of which nothing is known."""
    return torch.ones((1, 1, latent.shape[2], *(1,) * (latent.ndim - 3)), device=latent.device)


def pinned(
    what: str, latent: torch.Tensor, mask: torch.Tensor | None, part: torch.Tensor, first: int, kept: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A latent in which `part` stands from slot `first` on, and its mask.

    Args:
        what: the part is, for the error.
        mask: of the latent before; None where nothing of it was known.
        kept: mask of the part, one value or one for each of its slots.

    Raises:
        WrongShape: the part is of another size, or reaches beyond the latent.
    """
    check_part(what, part, latent, first)
    latent, mask = latent.clone(), all_generated(latent) if mask is None else mask.clone()
    slots = slice(first, first + part.shape[2])
    latent[:, :, slots] = part
    mask[:, :, slots] = kept.view(1, 1, -1, *(1,) * (latent.ndim - 3))
    return latent, mask
