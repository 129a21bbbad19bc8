"""What one pass of LTX-2 starts from: picture and sound, what of them is known, and guides behind the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch

from ..shapes import WrongShape
from .masks import all_generated

SLOT = 8  # frames per latent slot after the first, which holds one (causal video VAE)
PATCH = 32  # pixels per latent pixel
CHANNELS = 128
SOUND_CHANNELS, SOUND_BINS = 8, 16  # comfy/ldm/lightricks/av_model.py


@dataclass(frozen=True)
class Canvas:
    """Picture and sound before a pass.

    Args:
        video: `[1, 128, T, h, w]` in VAE space, guides at its end.
        video_mask: `[1, 1, T, 1, 1]`, or None where everything is generated.
        audio: `[1, 8, Ta, 16]`, or None for a silent pass.
        audio_mask: `[1, 1, Ta, 1]`, or None where everything is generated.
        pinned: slots at the head of the picture that are known.
        guides: slots at the end of the picture that are guides and no part of the clip.
        values: entries for both conditionings (ComfyUI's conditioning keys).
    """

    video: torch.Tensor
    audio: torch.Tensor | None
    values: dict[str, Any]
    video_mask: torch.Tensor | None = None
    audio_mask: torch.Tensor | None = None
    pinned: int = 0
    guides: int = 0

    @property
    def nested(self) -> Any:
        """Both latents as ComfyUI's samplers take them; the picture's alone where there is no sound."""
        if self.audio is None:
            return self.video
        from comfy.nested_tensor import NestedTensor

        return NestedTensor((self.video, self.audio))

    @property
    def mask(self) -> Any | None:
        """Both masks, or None where nothing is known."""
        if self.video_mask is None and self.audio_mask is None:
            return None
        video = all_generated(self.video) if self.video_mask is None else self.video_mask
        if self.audio is None:
            return video
        from comfy.nested_tensor import NestedTensor

        audio = all_generated(self.audio) if self.audio_mask is None else self.audio_mask
        return NestedTensor((video, audio))

    def over(self, video: torch.Tensor, audio: torch.Tensor | None) -> Canvas:
        """The same knowledge over what an earlier pass has made, which is what is denoised from where nothing is known.

        Args:
            video: `[1, 128, T, h, w]`, of this canvas's size without guides.
            audio: `[1, 8, Ta, 16]` or None.
        """
        clip = self.video.shape[2] - self.guides
        _check_whole("the picture of the pass before", video, self.video[:, :, :clip])
        if audio is not None and self.audio is not None:
            _check_whole("the sound of the pass before", audio, self.audio)
        if self.video_mask is not None:
            video = torch.where(self.video_mask[:, :, :clip] == 0, self.video[:, :, :clip], video)
        video = torch.cat([video, self.video[:, :, clip:]], dim=2)
        if audio is not None and self.audio is not None and self.audio_mask is not None:
            audio = torch.where(self.audio_mask == 0, self.audio, audio)
        return replace(self, video=video, audio=audio)

    def split(self, sampled: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The clip's picture and sound of what a sampler made of this canvas, the guides cropped."""
        video, audio = sampled.unbind() if self.audio is not None else (sampled, None)
        return video[:, :, : video.shape[2] - self.guides], audio


def blank(frames: int, width: int, height: int, fps: Fraction, sound: int) -> Canvas:
    """Nothing known yet.

    Args:
        frames: of the clip, 8n+1.
        width, height: pixels, multiples of 32.
        sound: latents of sound; 0 for a silent pass.
    """
    from comfy.model_management import intermediate_device

    device = intermediate_device()
    video = torch.zeros((1, CHANNELS, (frames - 1) // SLOT + 1, height // PATCH, width // PATCH), device=device)
    audio = torch.zeros((1, SOUND_CHANNELS, sound, SOUND_BINS), device=device) if sound else None
    return Canvas(video, audio, {"frame_rate": float(fps)})


def _check_whole(what: str, before: torch.Tensor, latent: torch.Tensor) -> None:
    if before.shape != latent.shape:
        raise WrongShape(f"{what}: {list(before.shape)} given, {list(latent.shape)} needed.")
