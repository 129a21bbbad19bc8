"""What a family answers, and the values it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from ..chain import Grid
from .traits import LoraTraits

if TYPE_CHECKING:
    import torch

    from ..bundle.model import VideoModel
    from ..head import Ending
    from ..span import Conditioning, StepCallback
    from ..tail import Tail
    from ..takes.resume import Checkpoint


class Mode(str, Enum):
    """What a stage is made from; the values finish the sentence "this model can ..."."""

    TEXT = "render from text alone"
    IMAGE = "start from an image"
    TO_LAST = "arrive at a last frame from text alone"
    FIRST_LAST = "go from a first to a last frame"
    CONTINUE = "continue from the stage before"
    CONTINUE_TO_LAST = "continue to a last frame"
    KEYFRAMES = "pass through keyframes"
    SOUNDTRACK = "follow a soundtrack"
    RETAKE = "render a part of a video anew"


class Carry(str, Enum):
    """What the next stage is pinned to."""

    PIXELS = "pixels"
    LATENTS = "latents"
    SVI = "svi"


class Settings(Protocol):
    """How a stage is denoised, in the words of one family."""

    @property
    def steps(self) -> int:
        """Denoising steps of a stage, all passes together."""
        ...

    def check(self) -> None:
        """Raise `Refusal` for values no sampler can work with."""
        ...

    def filled(self, published: Any) -> Settings:
        """The same settings with what was left open taken from the published ones.

        Raises:
            Refusal: these are another family's settings.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """What a take made with them remembers, as JSON values."""
        ...

    def with_image_strength(self, strength: float) -> Settings:
        """The same settings with a start image kept this firmly, 0..1.

        Raises:
            Refusal: the family knows no such strength.
        """
        ...


@dataclass(frozen=True)
class Variant:
    """What one kind of checkpoint can do, and the values it was published with.

    Args:
        fps: frames per second it was trained at.
        clip_frames: length of a clip it was trained at, in frames.
        overlap: frames a continuation is pinned to unless the stage says otherwise.
        size_step: width and height are multiples of this many pixels.
        area: pixels of a frame at its published resolutions, by name.
        ends_anywhere: whether an end image can stand on any frame of a clip, or only on its last.
        longest: seconds that it does well in one clip.
        experts: diffusion models that share the denoising, 1 or 2.
        vae_hint: the file most people have for it, for errors.
    """

    name: str
    modes: frozenset[Mode]
    carries: frozenset[Carry]
    fps: Fraction
    clip_frames: int
    overlap: int
    width: int
    height: int
    size_step: int
    areas: Mapping[str, int]
    latent_channels: int
    ends_anywhere: bool
    longest: Fraction
    experts: int
    vae_hint: str
    sampling: Settings


@dataclass(frozen=True)
class Keyframe:
    """An image that a clip passes through.

    Args:
        image: `[1, H, W, C]` in 0..1, or what reads it when it is used; a family is given it read.
        frame: of the clip, overlap included, counted from 0; negative counts from where the stage ends.
        strength: 0..1, how much it counts.
    """

    image: Any
    frame: int
    strength: float = 1.0


@dataclass(frozen=True)
class Pictures:
    """Images of a stage, each `[1, H, W, 3]` in 0..1 at the stage's size, or None.

    Args:
        end_frame: the frame of the clip that `end` is, counted from 0; -1 is the last that is rendered.
        anchor_strength: how much the anchor counts, 0..1; 0 is the family's usual.
        keyframes: their frames counted from 0.
    """

    start: torch.Tensor | None = None
    end: torch.Tensor | None = None
    anchor: torch.Tensor | None = None
    anchor_strength: float = 0.0
    keyframes: tuple[Keyframe, ...] = ()
    end_frame: int = -1


@dataclass(frozen=True)
class Shot:
    """What the sampler is to make a clip of.

    Args:
        frames: length of the clip, on the family's grid.
        width, height: pixels.
        tail: the end of the clip before that this one is pinned to, or None.
        sound: latents `[1, C, T, F]` of a given sound for the whole clip, or None where the model makes it.
        checkpoint: keeps the clip while it is being denoised, to go on from there.
        ending: the beginning of the clip after, whose frames `pictures.end` holds, for a family that can be pinned to
            more than frames.
    """

    frames: int
    width: int
    height: int
    tail: Tail | None
    pictures: Pictures
    sound: torch.Tensor | None = None
    checkpoint: Checkpoint | None = None
    ending: Ending | None = None


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
    def sound_rate(self) -> Fraction | None:
        """Latents of sound a second; None for a family without sound."""
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

    def sample(
        self,
        model: VideoModel,
        shot: Shot,
        positive: Conditioning,
        negative: Conditioning,
        settings: Any,
        seed: int,
        on_step: StepCallback,
    ) -> dict[str, torch.Tensor]:
        """Denoise a clip.

        Args:
            settings: of this family, checked and filled.
            on_step: told after each step how many of all steps are done.

        Returns:
            `latent` `[1, C, T, h, w]` in VAE space and, where the bundle has sound, `audio` `[1, C, T, F]`.
        """
        ...

    def retake_settings(self, settings: Any) -> Any:
        """The settings of a retake: those of a stage, in one pass."""
        ...

    def retake(
        self,
        model: VideoModel,
        known: Mapping[str, torch.Tensor],
        anew: Mapping[str, torch.Tensor],
        positive: Conditioning,
        negative: Conditioning,
        settings: Any,
        seed: int,
        on_step: StepCallback,
        checkpoint: Checkpoint | None = None,
    ) -> dict[str, torch.Tensor]:
        """Denoise a part of a clip and keep the rest to the bit.

        Args:
            known: `latent` `[1, C, T, h, w]` in VAE space and, with sound, `audio` `[1, C, T, F]`.
            anew: for each of them a mask `[T]`, 1 where it is rendered anew and 0 where it is kept.
            checkpoint: keeps it while it is being denoised, to go on from there.
        """
        ...

    def silence(self, frames: int, fps: Fraction) -> torch.Tensor:
        """Latents `[1, C, T, F]` of no sound yet, for a clip of `frames` frames."""
        ...

    def decode(self, model: VideoModel, latent: torch.Tensor) -> torch.Tensor:
        """Frames `[T, H, W, 3]` in 0..1 of a latent `[1, C, T, h, w]`."""
        ...

    def encode_sound(self, model: VideoModel, waveform: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """The latent `[1, C, T, F]` of a sound `[channels, samples]`."""
        ...

    def decode_sound(self, model: VideoModel, audio: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Sound `[channels, samples]` of a latent `[1, C, T, F]`, and its samples a second."""
        ...
