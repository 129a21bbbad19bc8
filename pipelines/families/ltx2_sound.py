"""The sound of LTX-2: latents of a sound, and the sound of latents."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

from ..errors import Refusal
from .ltx2_canvas.canvas import SOUND_BINS, SOUND_CHANNELS
from .ltx2_canvas.sound import SOUND_RATE, sound_latents

if TYPE_CHECKING:
    from ..model.bundle import VideoModel

SILENT = "this bundle has no audio VAE, so it is silent; load a checkpoint with one, or give its file in Load LTX-2."


@dataclass(frozen=True)
class Ltx2Sound:
    rate: Fraction = SOUND_RATE

    def silence(self, frames: int, fps: Fraction) -> torch.Tensor:
        return torch.zeros(1, SOUND_CHANNELS, sound_latents(frames, fps), SOUND_BINS)

    def encode(self, model: VideoModel, waveform: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """As ComfyUI's LTXVAudioVAEEncode does, of the whole sound; more than two channels are mixed to one.

        ComfyUI's VAE first crops a sound evenly on both sides to a multiple of 4096 samples, which moves it by up to
        46 ms. Silence behind it leaves nothing to crop.
        """
        from torchaudio.functional import resample

        if model.audio_vae is None:
            raise Refusal(SILENT, field="audio_vae")
        vae = model.audio_vae.get()
        if waveform.shape[0] > 2:
            waveform = waveform.mean(0, keepdim=True)
        waveform = resample(waveform, sample_rate, vae.audio_sample_rate)
        silence = -waveform.shape[1] % vae.spacial_compression_encode()
        return vae.encode(torch.nn.functional.pad(waveform, (0, silence))[None].movedim(1, -1))

    def decode(self, model: VideoModel, audio: torch.Tensor) -> tuple[torch.Tensor, int]:
        if model.audio_vae is None:
            raise Refusal(SILENT, field="audio_vae")
        vae = model.audio_vae.get()
        return vae.decode(audio).movedim(-1, 1)[0], int(vae.first_stage_model.output_sample_rate)


LTX2_SOUND = Ltx2Sound()
