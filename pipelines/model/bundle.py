"""A model bundle, and what its family answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from ..lora.applied import AppliedLora
from ..lora.traits import LoraTraits
from ..timeline.clips import Carry, Grid
from ..weights.pairs import Noise
from .part import Part
from .shot import Shot
from .variant import Mode, Variant

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class VideoModel:
    """Everything one family needs to render: diffusion models, text encoder, VAE.

    Args:
        family, variant: found from the files' headers or the loaded model, never from a file name.
        high: the high-noise expert, or the only diffusion model.
        low: the low-noise expert, where there is one.
        audio_vae: what makes sound of latents; without one the bundle renders silent film.
        latent_upscaler: doubles width and height between two passes; without one there is one pass.
        second_pass: the diffusion model of the second pass, where LoRAs make it another than `high`.
        image_encoder: what Wan 2.1 looks at its images with, besides encoding them.
        frame_rate: frames a second to render at, where the family leaves a choice; None takes the variant's.
        tiled: whether frames are decoded in tiles though memory may do without. No key of a take holds it: it hardly
            changes what is decoded, and who runs out of memory need not render again.
        notes: remarks for the person at the canvas, shown on the node that made the bundle.
    """

    family: Family
    variant: Variant
    high: Part
    low: Part | None
    text_encoder: Part
    vae: Part
    audio_vae: Part | None = None
    latent_upscaler: Part | None = None
    second_pass: Part | None = None
    image_encoder: Part | None = None
    frame_rate: Fraction | None = None
    tiled: bool = field(default=False, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def fps(self) -> Fraction:
        """Frames a second of what it renders."""
        return self.frame_rate or self.variant.fps

    @property
    def loras(self) -> tuple[AppliedLora, ...]:
        """What the diffusion models are patched with, in the order it was put on."""
        parts = (part for part in (self.high, self.low, self.second_pass) if part is not None)
        # One for both passes is on two parts.
        return tuple(sorted({lora for part in parts for lora in _loras(part)}, key=lambda lora: lora.order))

    def loras_of(self, expert: Noise) -> tuple[AppliedLora, ...]:
        """What one expert is patched with, in order; for all passes or for the first."""
        part = self.expert(expert)
        return () if part is None else _loras(part)

    def expert(self, noise: Noise) -> Part | None:
        """The diffusion model for one end of the denoising."""
        return self.high if noise is Noise.HIGH else self.low

    def encode_prompt(self, text: str) -> list[Any]:
        """ComfyUI's CONDITIONING for a text, as its CLIPTextEncode node makes it."""
        clip = self.text_encoder.get()
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def _loras(part: Part) -> tuple[AppliedLora, ...]:
    return tuple(patch for patch in part.patches if isinstance(patch, AppliedLora))


class SoundModel(Protocol):
    """How a family that makes sound holds it."""

    @property
    def rate(self) -> Fraction:
        """Latents a second."""
        ...

    def silence(self, frames: int, fps: Fraction) -> torch.Tensor:
        """Latents `[1, C, T, F]` of no sound yet, for a clip of `frames` frames."""
        ...

    def encode(self, model: VideoModel, waveform: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """The latent `[1, C, T, F]` of a sound `[channels, samples]`; raises `Refusal` without an audio VAE."""
        ...

    def decode(self, model: VideoModel, audio: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Sound `[channels, samples]` of a latent `[1, C, T, F]`, and its samples a second; raises as `encode`."""
        ...


class RetakeModel(Protocol):
    """How a family that can do so renders a part of a clip anew."""

    def settings(self, settings: Any) -> Any:
        """The settings of a retake: those of a stage, in one pass."""
        ...

    def render(
        self, model: VideoModel, shot: Shot, video: Mapping[str, torch.Tensor], anew: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Denoise a part of a clip and keep the rest to the bit.

        Args:
            shot: without tail, pictures or sound of its own; its settings are of `settings`.
            video: `latent` `[1, C, T, h, w]` in VAE space and, with sound, `audio` `[1, C, T, F]`.
            anew: for each of them a mask `[T]`, 1 where it is rendered anew and 0 where it is kept.

        Returns:
            Both as `Family.sample` does.
        """
        ...


class Family(Protocol):
    """One kind of video model."""

    @property
    def name(self) -> str:
        """Short name that chains and takes carry."""
        ...

    @property
    def title(self) -> str:
        """Name that people know it by."""
        ...

    @property
    def grid(self) -> Grid:
        """The lengths it can render."""
        ...

    @property
    def sound(self) -> SoundModel | None:
        """What it makes of sound; None for a family without."""
        ...

    @property
    def retakes(self) -> RetakeModel | None:
        """How it renders a part of a video anew; None for a family that cannot."""
        ...

    @property
    def text_encoder_kind(self) -> str:
        """Member name of ComfyUI's CLIPType."""
        ...

    @property
    def text_encoder_hint(self) -> str:
        """The text encoder and the file most people have for it, for errors."""
        ...

    @property
    def variants(self) -> tuple[Variant, ...]: ...

    @property
    def lora(self) -> LoraTraits:
        """How LoRAs trained for it name its modules."""
        ...

    @property
    def renderer(self) -> str:
        """Who takes its steps, as takes remember it."""
        ...

    def variant_of(self, config: Mapping[str, Any]) -> Variant | None:
        """The variant of a detected `unet_config`, or None where it is not this family's."""
        ...

    def is_text_encoder(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Whether a file with these tensors is the family's text encoder."""
        ...

    def check(self, variant: Variant, mode: Mode, carry: Carry | None, overlap: int, anchored: bool) -> None:
        """Raise `Refusal` for a combination the variant's modes and carries cannot express.

        Args:
            carry: None unless the stage is smooth.
            anchored: whether the stage has an anchor image.
        """
        ...

    def check_settings(self, model: VideoModel, settings: Any) -> None:
        """Raise `Refusal` for settings that this bundle cannot be sampled with."""
        ...

    def sample(self, model: VideoModel, shot: Shot) -> dict[str, torch.Tensor]:
        """Denoise a clip.

        Returns:
            `latent` `[1, C, T, h, w]` in VAE space and, where the bundle has sound, `audio` `[1, C, T, F]`.
        """
        ...

    def decode(self, model: VideoModel, latent: torch.Tensor) -> torch.Tensor:
        """Frames `[T, H, W, 3]` in 0..1 of a latent `[1, C, T, h, w]`."""
        ...
