"""Wan 2.2: two experts of 14B for text or images to video, and one model of 5B for both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ..errors import Refusal
from ..lora.traits import LoraTraits
from ..lora.wan22 import WAN_LORA
from ..model import tiles
from ..model.bundle import RetakeModel, SoundModel
from ..model.shot import Pictures, Shot
from ..model.variant import Mode, Variant
from ..timeline.clips import Carry, Grid
from .shapes import check_frames, check_part
from .wan22_sampling import Expert, SamplingSettings, Split, Start, denoise, with_shift

if TYPE_CHECKING:
    from ..model.bundle import VideoModel
    from ..model.part import Part
    from ..model.shot import Tail

SLOT = 4  # frames per latent slot after the first, which holds one (causal video VAE)
GRID = Grid(SLOT)

CARRIED = "the latents carried over"

_AREAS = {"480p": 832 * 480, "720p": 1280 * 720}
_WITH_IMAGE = frozenset({Mode.IMAGE, Mode.FIRST_LAST, Mode.CONTINUE, Mode.CONTINUE_TO_LAST})

# Half as long again as the 5 s all three were trained on and are published with (81 frames at 16 a second, 121 at 24);
# far beyond, the motion of a clip turns back to where it began.
LONGEST = Fraction(15, 2)

# Steps, guidance, shift and boundary as in wan/configs of the Wan 2.2 release (wan_t2v_A14B, wan_i2v_A14B,
# wan_ti2v_5B); euler and uni_pc with the simple schedule as in ComfyUI's templates for these models.
VARIANTS = (
    Variant(
        name="t2v-14b",
        modes=frozenset({Mode.TEXT}),
        carries=frozenset(),
        fps=Fraction(16),
        clip_frames=81,
        overlap=5,
        width=832,
        height=480,
        size_step=16,
        areas=_AREAS,
        latent_channels=16,
        ends_anywhere=False,
        longest=LONGEST,
        experts=2,
        vae_hint="wan_2.1_vae.safetensors",
        vae_scale=8,
        keeps_slots=False,
        sampling=SamplingSettings(steps=40, cfg_high=4.0, cfg_low=3.0, shift=12.0, boundary=0.875),
    ),
    Variant(
        name="i2v-14b",
        modes=_WITH_IMAGE,
        carries=frozenset({Carry.PIXELS, Carry.LATENTS, Carry.SVI}),
        fps=Fraction(16),
        clip_frames=81,
        overlap=5,
        width=832,
        height=480,
        size_step=16,
        areas=_AREAS,
        latent_channels=16,
        ends_anywhere=False,
        longest=LONGEST,
        experts=2,
        vae_hint="wan_2.1_vae.safetensors",
        vae_scale=8,
        keeps_slots=False,
        sampling=SamplingSettings(steps=40, cfg_high=3.5, cfg_low=3.5, shift=5.0, boundary=0.900),
    ),
    Variant(
        name="ti2v-5b",
        modes=_WITH_IMAGE | {Mode.TEXT},
        carries=frozenset({Carry.PIXELS, Carry.LATENTS}),
        fps=Fraction(24),
        clip_frames=121,
        overlap=5,
        width=1280,
        height=704,
        size_step=32,
        areas=_AREAS | {"720p": 1280 * 704},
        latent_channels=48,
        # An end image stands in the whole last slot, so it is there wherever in it the stage ends.
        ends_anywhere=True,
        longest=LONGEST,
        experts=1,
        vae_hint="wan2.2_vae.safetensors",
        vae_scale=16,
        keeps_slots=True,
        sampling=SamplingSettings(steps=50, cfg_high=5.0, cfg_low=5.0, shift=5.0, sampler="uni_pc"),
    ),
)

# Input and output channels of the diffusion model; image-to-video takes 4 of mask and 16 of image beside the noise.
_CHANNELS = {(16, 16): "t2v-14b", (36, 16): "i2v-14b", (48, 48): "ti2v-5b"}


@dataclass(frozen=True)
class Wan22:
    name: str = "wan22"
    title: str = "Wan 2.2"
    grid: Grid = GRID
    sound: SoundModel | None = None
    retakes: RetakeModel | None = None
    text_encoder_kind: str = "WAN"  # a member of ComfyUI's CLIPType
    text_encoder_hint: str = "UMT5-XXL (umt5_xxl_fp8_e4m3fn_scaled.safetensors)"
    variants: tuple[Variant, ...] = VARIANTS
    lora: LoraTraits = WAN_LORA
    renderer: str = "ComfyUI"

    def variant_of(self, config: Mapping[str, Any]) -> Variant | None:
        # Only the plain transformer: "i2v" here is Wan 2.1's, which looks at the image through CLIP, and VACE, S2V,
        # Animate and the like take inputs of their own.
        if config.get("image_model") != "wan2.1" or config.get("model_type") != "t2v":
            return None
        name = _CHANNELS.get((config["in_dim"], config["out_dim"]))
        return next((v for v in self.variants if v.name == name), None)

    def is_text_encoder(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        # UMT5 has a relative attention bias in every block; T5, its look-alike, only in the first.
        return "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight" in tensors

    def check(self, variant: Variant, mode: Mode, carry: Carry | None, overlap: int, anchored: bool) -> None:
        if anchored and carry is not Carry.SVI:
            raise Refusal(
                f"{self.title} uses an anchor image only with a smooth transition and carry-over svi (and an "
                f"SVI LoRA).",
                field="anchor_image",
            )
        if carry is not Carry.SVI:
            return
        if not anchored:
            raise Refusal("carry-over svi needs an anchor image, usually the film's first image.", field="anchor_image")
        if mode is Mode.CONTINUE_TO_LAST:
            raise Refusal("carry-over svi cannot be steered to an end image; use pixels or latents.", field="end_image")
        if self.grid.slots(overlap) < 2:
            raise Refusal(
                f"{overlap} given; carry-over svi hands on at least one latent slot: 5, 9, 13 ...", field="overlap"
            )

    def check_settings(self, model: VideoModel, settings: SamplingSettings) -> None:
        missing = model.variant.experts == 2 and model.low is None and settings.split is not Split.SINGLE
        if missing and not (settings.split is Split.STEP and settings.split_step >= settings.steps):
            raise Refusal(
                f"{model.variant.name} is two models and the low-noise one is not given. Choose it in the loader, or "
                "set the expert split of Wan Sampling to 'single model' for a checkpoint that does every step.",
                field="low_noise_model",
            )

    def sample(self, model: VideoModel, shot: Shot) -> dict[str, torch.Tensor]:
        start = self.condition(model, shot)
        return {"latent": denoise(self.experts(model, shot.settings), start, shot)}

    def experts(self, model: VideoModel, settings: SamplingSettings) -> list[Expert]:
        """The diffusion models in the order they denoise, with their guidance."""
        published: Any = model.variant.sampling
        parts = [(model.high, settings.cfg_high)]
        if model.low is not None and settings.split is not Split.SINGLE:
            parts.append((model.low, settings.cfg_low))
        return [Expert(partial(_shifted, part, settings.shift, published.shift), cfg) for part, cfg in parts]

    def condition(self, model: VideoModel, shot: Shot) -> Start:
        """Text alone starts from an empty latent; 14B takes images as extra channels, 5B as kept latent slots."""
        from comfy.model_management import intermediate_device

        tail, pictures = shot.tail, shot.pictures
        size = (shot.height // model.variant.vae_scale, shot.width // model.variant.vae_scale)
        shape = (1, model.variant.latent_channels, self.grid.slots(shot.frames), *size)
        empty = torch.zeros(shape, device=intermediate_device())
        if tail is None and pictures.start is None:
            return Start(empty, {})
        _check_pictures(shot)
        vae = model.vae.get()
        if model.variant.keeps_slots:
            return _kept_slots(vae, empty, tail, pictures)
        if tail is not None and tail.frames is None:  # svi hands on latents alone
            return _svi_channels(vae, empty, tail, pictures.anchor)
        start = _image_channels(vae, empty, shot.frames, tail, pictures)
        if model.image_encoder is None:
            return start
        clip_vision = _through_clip(model.image_encoder.get(), _beginning(tail, pictures)[:1], pictures.end)
        return replace(start, values={**start.values, "clip_vision_output": clip_vision})

    def decode(self, model: VideoModel, latent: torch.Tensor) -> torch.Tensor:
        frames = tiles.decode(model.vae.get(), latent, model.tiled)
        return frames.reshape(-1, *frames.shape[-3:])


def _shifted(part: Part, shift: float | None, published: float | None) -> Any:
    return with_shift(part.get(), shift, published)


def _check_pictures(shot: Shot) -> None:
    """Raise `WrongShape` for frames that are not of the shot's size, or more than it has."""
    tail, pictures = shot.tail, shot.pictures
    frames = {
        "the frames carried over": None if tail is None else tail.frames,
        "the start image": pictures.start,
        "the anchor image": pictures.anchor,
        "the end image": pictures.end,
    }
    for what, images in frames.items():
        if images is not None:
            check_frames(what, images, shot.width, shot.height, shot.frames)


def _image_channels(vae: Any, empty: torch.Tensor, frames: int, tail: Tail | None, pictures: Pictures) -> Start:
    """14B image-to-video: the known frames in a grey clip, encoded, beside a mask that is 0 where they are known.

    With an end image the mask has a channel for each frame of a slot, as in ComfyUI's WanFirstLastFrameToVideo;
    without one it has a single channel, as in WanImageToVideo.
    """
    head = _beginning(tail, pictures)
    slots, height, width = empty.shape[2:]
    clip = torch.full((frames, *head.shape[1:3], 3), 0.5)
    clip[: len(head)] = head
    pinned = (len(head) - 1) // SLOT + 1
    if pictures.end is not None:
        clip[-len(pictures.end) :] = pictures.end
        mask = torch.ones((1, 1, slots * SLOT, height, width))
        mask[:, :, : len(head) + SLOT - 1] = 0.0
        mask[:, :, -len(pictures.end) :] = 0.0
        mask = mask.view(1, slots, SLOT, height, width).transpose(1, 2)
    else:
        mask = torch.ones((1, 1, slots, height, width))
        mask[:, :, :pinned] = 0.0
    image = vae.encode(clip)
    check_part("the encoded images", image, empty)
    if tail is not None and tail.latent is not None:
        # Slot 0 stays the fresh encode of the single frame before the carried slots (causal: it sees no other frame).
        check_part(CARRIED, tail.latent, image[:, :, :pinned], 1)
        image[:, :, 1:pinned] = tail.latent
    return Start(empty, {"concat_latent_image": image, "concat_mask": mask}, pinned=pinned)


def _beginning(tail: Tail | None, pictures: Pictures) -> torch.Tensor:
    """The frames `[K, H, W, 3]` that the clip begins with."""
    frames = pictures.start if tail is None else tail.frames
    if frames is None:
        raise ValueError("nothing to begin with")
    return frames


def _through_clip(encoder: Any, first: torch.Tensor, end: torch.Tensor | None) -> Any:
    """What Wan 2.1 takes of a clip's first frame `[1, H, W, 3]` and its last through CLIP, squeezed into a square."""
    from comfy.clip_vision import Output

    images = [first] if end is None else [first, end[-1:]]
    states = [encoder.encode_image(image, crop=False).penultimate_hidden_states for image in images]
    output = Output()
    output.penultimate_hidden_states = torch.cat(states, dim=-2)
    return output


def _svi_channels(vae: Any, empty: torch.Tensor, tail: Tail, anchor: torch.Tensor | None) -> Start:
    """Stable Video Infinity 2.0 Pro: anchor latent, the last latents of the clip before, then the model's zeros.

    Layout from the SVI 2.0 Pro release notes: the mask is 0 on the anchor slot only, and the zeros are zero after
    normalisation, so they are denormalised here.
    """
    from comfy.latent_formats import Wan21

    if anchor is None or tail.latent is None:
        raise ValueError("svi needs an anchor and carried latents")
    image = Wan21().process_out(torch.zeros_like(empty))
    image[:, :, :1] = vae.encode(anchor)
    check_part(CARRIED, tail.latent, image, 1)
    carried = tail.latent.shape[2]
    image[:, :, 1 : 1 + carried] = tail.latent
    mask = torch.ones((1, 1, *empty.shape[2:]))
    mask[:, :, :1] = 0.0
    return Start(empty, {"concat_latent_image": image, "concat_mask": mask}, pinned=1 + carried)


def _kept_slots(vae: Any, empty: torch.Tensor, tail: Tail | None, pictures: Pictures) -> Start:
    """5B: known slots are kept in the latent under a noise mask, as in ComfyUI's Wan22ImageToVideoLatent."""
    from comfy.latent_formats import Wan22 as LatentFormat

    head = _beginning(tail, pictures)
    latent = empty.clone()
    mask = torch.ones((1, 1, *empty.shape[2:]), device=empty.device)
    encoded = vae.encode(head)
    check_part("the encoded images", encoded, latent)
    pinned = encoded.shape[2]
    latent[:, :, :pinned] = encoded
    if tail is not None and tail.latent is not None:
        check_part(CARRIED, tail.latent, encoded, 1)
        latent[:, :, 1:pinned] = tail.latent
    mask[:, :, :pinned] = 0.0
    if pictures.end is not None:
        # A slot after the first holds four frames, so the first slot of an encode has no place at the end of a clip. An
        # image stands still for one slot of that kind; of several frames, all but the first fill such slots.
        end = pictures.end if len(pictures.end) > 1 else pictures.end.expand(1 + SLOT, -1, -1, -1)
        slots = vae.encode(end)[:, :, 1:]
        latent[:, :, -slots.shape[2] :] = slots
        mask[:, :, -slots.shape[2] :] = 0.0
    # What is generated starts from zero as the model sees it; the whole latent is shifted on its way in.
    latent = LatentFormat().process_out(empty) * mask + latent * (1.0 - mask)
    return Start(latent, {}, noise_mask=mask, pinned=pinned)


WAN22 = Wan22()
