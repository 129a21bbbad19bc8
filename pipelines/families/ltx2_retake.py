"""A part of a clip that LTX-2 renders anew, in one pass; the rest is kept to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from .ltx2_canvas.canvas import Canvas
from .ltx2_sampling import Ltx2Sampling, first_pass
from .shapes import check_mask

if TYPE_CHECKING:
    from ..model.bundle import VideoModel
    from ..model.shot import Shot


@dataclass(frozen=True)
class Ltx2Retakes:
    def settings(self, settings: Ltx2Sampling) -> Ltx2Sampling:
        return replace(settings, second_sigmas=())

    def render(
        self, model: VideoModel, shot: Shot, video: Mapping[str, torch.Tensor], anew: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        for name, latent in video.items():
            check_mask(f"what is rendered anew of the {name}", anew[name], latent)
        masks = {name: anew[name].view(1, 1, -1, *(1,) * (latent.ndim - 3)) for name, latent in video.items()}
        # What is rendered anew starts from nothing, as a stage does.
        kept = {name: latent * (1 - masks[name].to(latent)) for name, latent in video.items()}
        canvas = Canvas(
            kept["latent"],
            kept.get("audio"),
            {"frame_rate": float(model.fps)},
            video_mask=masks["latent"],
            audio_mask=masks.get("audio"),
        )
        finished, latents = (0, {}) if shot.checkpoint is None else shot.checkpoint.finished()
        if not finished:
            latents = first_pass(model, canvas, shot)
        return {name: torch.where(masks[name] == 0, video[name].to(new), new) for name, new in latents.items()}


LTX2_RETAKES = Ltx2Retakes()
