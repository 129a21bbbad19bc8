"""Frames between two others by a model that ComfyUI loads for its own FrameInterpolate, a pair at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from .frames import from_float
from .interpolate import pairs

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Seen:
    """A frame, the same as the model takes it, and what the model sees in it, which two pairs share."""

    frame: np.ndarray
    image: torch.Tensor
    features: Any


class ByModel:
    """Each frame made by a RIFE or FILM model of the two beside it.

    Args:
        patcher: ComfyUI's INTERP_MODEL.
    """

    name = None  # nothing tells one such model from another
    reach = 0

    def __init__(self, patcher: Any):
        self._patcher = patcher
        self._model = patcher.model

    def frames(
        self, film: Iterator[np.ndarray], first: int, places: Sequence[Fraction], step: Fraction
    ) -> Iterator[np.ndarray]:
        import torch
        from comfy import model_management

        loaded = False
        seen: list[_Seen] = []
        for before, after, weight in pairs(film, first, places):
            if after is None:
                yield before
                continue
            # ComfyUI says so for the thread that runs prompts, and a film is read in another.
            with torch.inference_mode():
                if not loaded:
                    memory = self._model.memory_used_forward((1, *before.shape), self._patcher.model_dtype())
                    model_management.load_models_gpu([self._patcher], memory_required=memory)
                    loaded = True
                seen = [
                    next((shown for shown in seen if shown.frame is frame), None) or self._seen(frame)
                    for frame in (before, after)
                ]
                earlier, later = seen
                cache = {"img0": earlier.features, "img1": later.features}
                between = self._model(earlier.image, later.image, timestep=float(weight), cache=cache)
                picture = between[0, :, : before.shape[0], : before.shape[1]].movedim(0, -1).float().cpu().numpy()
            yield from_float(picture)

    def _seen(self, frame: np.ndarray) -> _Seen:
        import torch
        from comfy.ldm.common_dit import pad_to_patch_size

        image = torch.from_numpy(np.divide(frame, np.float32(65535))).movedim(-1, 0)[None]
        image = image.to(dtype=self._patcher.model_dtype(), device=self._patcher.load_device)
        align = getattr(self._model, "pad_align", 1)
        image = pad_to_patch_size(image, (align, align), padding_mode="reflect") if align > 1 else image
        return _Seen(frame, image, self._model.extract_features(image))
