"""Slots of the picture that are known, at the head of a clip and at its end."""

from __future__ import annotations

from dataclasses import replace

import torch

from .canvas import Canvas
from .masks import pinned


def pin_head(canvas: Canvas, head: torch.Tensor, strength: float = 1.0) -> Canvas:
    """Keep the first slots, as ComfyUI's LTXVImgToVideoInplace does.

    Args:
        head: `[1, 128, t, h, w]`.
        strength: 1 keeps them to the bit; less lets the model change them.
    """
    kept = torch.tensor(1.0 - strength)
    video, mask = pinned("the head of the clip", canvas.video, canvas.video_mask, head, 0, kept)
    return replace(canvas, video=video, video_mask=mask, pinned=head.shape[2])


def pin_end(canvas: Canvas, ending: torch.Tensor) -> Canvas:
    """Keep the last slots to the bit; before any guide is added.

    Args:
        ending: `[1, 128, k, h, w]`.
    """
    first = canvas.video.shape[2] - ending.shape[2]
    video, mask = pinned("the end of the clip", canvas.video, canvas.video_mask, ending, first, torch.tensor(0.0))
    return replace(canvas, video=video, video_mask=mask)
