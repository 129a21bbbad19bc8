"""What one pass of LTX-2 starts from: picture and sound, what of them is known, and guides behind the picture.

Masks are 1 where the model generates and 0 where it keeps what it is given, one value for each latent slot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch

SLOT = 8  # frames per latent slot after the first, which holds one (causal video VAE)
PATCH = 32  # pixels per latent pixel
CHANNELS = 128
SOUND_CHANNELS, SOUND_BINS = 8, 16  # comfy/ldm/lightricks/av_model.py
SOUND_RATE = Fraction(25)  # latents a second: 16 kHz, hop 160, 4 mel frames a latent
RELEASE = 4  # latents (160 ms) over which a carried sound is let go


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
        video = _ones(self.video) if self.video_mask is None else self.video_mask
        if self.audio is None:
            return video
        from comfy.nested_tensor import NestedTensor

        audio = _ones(self.audio) if self.audio_mask is None else self.audio_mask
        return NestedTensor((video, audio))

    def over(self, video: torch.Tensor, audio: torch.Tensor | None) -> Canvas:
        """The same knowledge over what an earlier pass has made, which is what is denoised from where nothing is known.

        Args:
            video: `[1, 128, T, h, w]`, of this canvas's size without guides.
            audio: `[1, 8, Ta, 16]` or None.
        """
        clip = video.shape[2]
        if self.video_mask is not None:
            video = torch.where(self.video_mask[:, :, :clip] == 0, self.video[:, :, :clip], video)
        made = torch.cat([video, self.video[:, :, clip:]], dim=2)
        if audio is not None and self.audio is not None and self.audio_mask is not None:
            audio = torch.where(self.audio_mask == 0, self.audio, audio)
        return replace(self, video=made, audio=audio)

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


def sound_latents(frames: int, fps: Fraction, offset: Fraction = Fraction(0)) -> int:
    """Latents of sound that reach the end of a clip, rounded up.

    ComfyUI's LTXVEmptyLatentAudio reckons in floats and gives one more at a few lengths (249 frames at 25 a second).

    Args:
        offset: seconds from the clip's frame 0 to the first latent; a sound that goes on keeps the grid it began on.
    """
    return math.ceil((frames / fps - offset) * SOUND_RATE)


def pin_head(canvas: Canvas, head: torch.Tensor, strength: float = 1.0) -> Canvas:
    """Keep the first slots, as ComfyUI's LTXVImgToVideoInplace does.

    Args:
        head: `[1, 128, t, h, w]`.
        strength: 1 keeps them to the bit; less lets the model change them.
    """
    video, mask = canvas.video.clone(), _ones(canvas.video) if canvas.video_mask is None else canvas.video_mask.clone()
    slots = head.shape[2]
    video[:, :, :slots] = head
    mask[:, :, :slots] = 1.0 - strength
    return replace(canvas, video=video, video_mask=mask, pinned=slots)


def pin_end(canvas: Canvas, ending: torch.Tensor) -> Canvas:
    """Keep the last slots to the bit; before any guide is added.

    Args:
        ending: `[1, 128, k, h, w]`.
    """
    video, mask = canvas.video.clone(), _ones(canvas.video) if canvas.video_mask is None else canvas.video_mask.clone()
    first = video.shape[2] - ending.shape[2]
    video[:, :, first:] = ending
    mask[:, :, first:] = 0.0
    return replace(canvas, video=video, video_mask=mask)


def add_guide(canvas: Canvas, guide: torch.Tensor, frame: int, strength: float) -> Canvas:
    """Append the latent of one image, or of a few frames, that the picture looks at, as ComfyUI's LTXVAddGuide does.

    Args:
        guide: `[1, 128, k, h, w]`.
        frame: the frame of the clip that its first one stands for. Several slots are a whole encode at frame 0, or hold
            eight frames each from a frame 8n+1 on.
        strength: 0..1; below 1 the picture also pays it less attention.
    """
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
    mask = _ones(canvas.video) if canvas.video_mask is None else canvas.video_mask
    return replace(
        canvas,
        video=torch.cat([canvas.video, guide], dim=2),
        video_mask=torch.cat([mask, mask.new_full((1, 1, guide.shape[2], 1, 1), 1.0 - strength)], dim=2),
        guides=canvas.guides + guide.shape[2],
        values=values,
    )


def pin_sound(canvas: Canvas, known: torch.Tensor, release: int = RELEASE) -> Canvas:
    """Keep the first latents of the sound and let go of them softly.

    The last `release` of them, at most a quarter, rise from kept to generated along half a cosine, so that what is
    generated takes over from them rather than beginning beside them.

    Args:
        known: `[1, 8, n, 16]`, n not more than the canvas holds.
    """
    if canvas.audio is None:
        raise ValueError("a silent canvas has no sound to keep")
    audio, mask = canvas.audio.clone(), _ones(canvas.audio) if canvas.audio_mask is None else canvas.audio_mask.clone()
    count = known.shape[2]
    audio[:, :, :count] = known
    mask[:, :, :count] = kept_sound(count, release).view(1, 1, -1, 1)
    return replace(canvas, audio=audio, audio_mask=mask)


def pin_sound_end(canvas: Canvas, known: torch.Tensor, first: int) -> Canvas:
    """Keep the sound from latent `first` on, which what is generated arrives at as softly as it leaves a carried one.

    Args:
        known: `[1, 8, n, 16]`; what lies beyond the canvas is not looked at.
    """
    if canvas.audio is None:
        raise ValueError("a silent canvas has no sound to keep")
    audio, mask = canvas.audio.clone(), _ones(canvas.audio) if canvas.audio_mask is None else canvas.audio_mask.clone()
    known = known[:, :, : audio.shape[2] - first]
    last = first + known.shape[2]
    audio[:, :, first:last] = known
    mask[:, :, first:last] = kept_sound(known.shape[2]).flip(0).view(1, 1, -1, 1)
    return replace(canvas, audio=audio, audio_mask=mask)


def kept_sound(count: int, release: int = RELEASE) -> torch.Tensor:
    """Mask `[count]` of carried sound: 0, then half a cosine towards 1 over the last `release`, at most a quarter."""
    release = min(release, count // 4)
    rise = (torch.arange(1, release + 1) / (release + 1) * math.pi).cos()
    return torch.cat([torch.zeros(count - release), (1 - rise) / 2])


def _ones(latent: torch.Tensor) -> torch.Tensor:
    return torch.ones((1, 1, latent.shape[2], *(1,) * (latent.ndim - 3)), device=latent.device)
