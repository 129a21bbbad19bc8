"""Whether what a clip is conditioned on has the shape that it is conditioned in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SLOTS = 2  # the axis of time, in a latent of picture `[B, C, T, h, w]` as in one of sound `[B, C, T, F]`

_AXES = {4: "batch, channels, slots, bins", 5: "batch, channels, slots, height, width"}


class WrongShape(ValueError):
    """A tensor that does not fit where it is to stand; the message says its shape and the one that was needed."""


def check_part(what: str, part: torch.Tensor, latent: torch.Tensor, first: int = 0) -> None:
    """Raise `WrongShape` unless `part` can stand in a latent from slot `first` on.

    Args:
        what: the part is, for the error.
        part, latent: both `[B, C, T, h, w]` or both `[B, C, T, F]`.
    """
    check_same(what, part, latent)
    room = latent.shape[SLOTS] - first
    if not (first >= 0 and part.shape[SLOTS] <= room):
        raise _wrong(what, part, latent, f"0 to {max(0, room)}", f", from slot {first} on")


def check_same(what: str, part: torch.Tensor, latent: torch.Tensor) -> None:
    """Raise `WrongShape` unless `part` is like `latent` in all but the number of its slots."""
    if part.ndim != latent.ndim or _without_slots(part) != _without_slots(latent):
        raise _wrong(what, part, latent, "any")


def check_mask(what: str, mask: torch.Tensor, latent: torch.Tensor) -> None:
    """Raise `WrongShape` unless a mask is `[T]`, a value for each slot of a latent `[B, C, T, ...]`."""
    slots = latent.shape[SLOTS]
    if tuple(mask.shape) != (slots,):
        raise WrongShape(f"{what}: {list(mask.shape)} given, [{slots}] needed (slots).")


def check_frames(what: str, frames: torch.Tensor, width: int, height: int, most: int) -> None:
    """Raise `WrongShape` unless these are 1 to `most` frames `[T, height, width, 3]`."""
    if frames.ndim != 4 or tuple(frames.shape[1:]) != (height, width, 3) or not 1 <= len(frames) <= most:
        raise WrongShape(
            f"{what}: {list(frames.shape)} given, [1 to {most}, {height}, {width}, 3] needed "
            "(frames, height, width, colours)."
        )


def _without_slots(latent: torch.Tensor) -> list[int]:
    return [size for axis, size in enumerate(latent.shape) if axis != SLOTS]


def _wrong(what: str, part: torch.Tensor, latent: torch.Tensor, slots: str, where: str = "") -> WrongShape:
    needed = [slots if axis == SLOTS else str(size) for axis, size in enumerate(latent.shape)]
    return WrongShape(f"{what}: {list(part.shape)} given, [{', '.join(needed)}] needed ({_AXES[latent.ndim]}){where}.")
