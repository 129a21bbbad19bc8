"""A guide: an image behind the clip that the picture looks at."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from ..shapes import check_same
from .canvas import PATCH, SLOT, Canvas
from .masks import all_generated


def add_guide(canvas: Canvas, guide: torch.Tensor, frame: int, strength: float) -> Canvas:
    """Append the latent of one image, or of a few frames, that the picture looks at, as ComfyUI's LTXVAddGuide does.

    Args:
        guide: `[1, 128, k, h, w]`.
        frame: the frame of the clip that its first one stands for. Several slots are a whole encode at frame 0, or hold
            eight frames each from a frame 8n+1 on.
        strength: 0..1; below 1 the picture also pays it less attention.
    """
    check_same("a guide", guide, canvas.video)
    from comfy.ldm.lightricks.symmetric_patchifier import SymmetricPatchifier, latent_to_pixel_coords

    _, corners = SymmetricPatchifier(1, start_end=True).patchify(guide)
    places = latent_to_pixel_coords(corners, (SLOT, PATCH, PATCH), causal_fix=frame == 0 or guide.shape[2] == 1)
    places[:, 0] += frame
    values = dict(canvas.values)
    if "keyframe_idxs" in values:
        places = torch.cat([values["keyframe_idxs"], places], dim=2)
    entry = {
        "pre_filter_count": math.prod(guide.shape[2:]),
        "strength": strength,
        "pixel_mask": None,
        "latent_shape": list(guide.shape[2:]),
    }
    values["keyframe_idxs"] = places
    values["guide_attention_entries"] = [*values.get("guide_attention_entries", []), entry]
    mask = all_generated(canvas.video) if canvas.video_mask is None else canvas.video_mask
    return replace(
        canvas,
        video=torch.cat([canvas.video, guide], dim=2),
        video_mask=torch.cat([mask, mask.new_full((1, 1, guide.shape[2], 1, 1), 1.0 - strength)], dim=2),
        guides=canvas.guides + guide.shape[2],
        values=values,
    )
