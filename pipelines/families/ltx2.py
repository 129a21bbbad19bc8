"""LTX-2: picture and sound from one model of 19B (2.0) or 22B (2.3), as trained (dev) or distilled to eight steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ..errors import Refusal
from ..lora.ltx2 import LTX2_LORA
from ..lora.traits import LoraTraits
from ..media.pictures import fit_film
from ..model import tiles
from ..model.bundle import RetakeModel, SoundModel
from ..model.shot import Shot
from ..model.variant import Mode, Training, Variant
from ..timeline.clips import Carry, Grid
from .ltx2_canvas.canvas import PATCH, SLOT, Canvas, blank
from .ltx2_canvas.guide import add_guide
from .ltx2_canvas.picture import pin_end, pin_head
from .ltx2_canvas.sound import SOUND_RATE, pin_sound, pin_sound_end, sound_latents
from .ltx2_retake import LTX2_RETAKES
from .ltx2_sampling import DISTILLED_SIGMAS, Guidance, Ltx2Sampling, Pass, denoise_pass, first_pass
from .ltx2_sound import LTX2_SOUND
from .shapes import check_part

if TYPE_CHECKING:
    from ..model.bundle import VideoModel
    from ..model.shot import Ending, Tail

IS_LTX_2_5 = "is LTX-2.5, which Longtake does not know yet; LTX-2.0 and 2.3 can be used."

GRID = Grid(SLOT)
# The longest clip its makers offer (docs.ltx.video/models), and the span of time its positions were trained on
# (positional_embedding_max_pos in the checkpoints).
LONGEST = Fraction(20)
ANCHOR_STRENGTH = 0.4  # what mold, an earlier chain renderer, settled on for its anchor

# Steps and guidance: ltx_pipelines/utils/constants.py of the LTX-2 release. Image compression: its default of 33, and
# 18 in ComfyUI's templates for 2.3.
_DEV = Guidance(cfg=3.0, cfg_audio=7.0, stg=1.0, modality=3.0, rescale=0.7)
_SAMPLING = {
    (Training.DISTILLED, "2.0"): Ltx2Sampling(DISTILLED_SIGMAS, 0, Guidance(), image_crf=33),
    (Training.DISTILLED, "2.3"): Ltx2Sampling(DISTILLED_SIGMAS, 0, Guidance(), image_crf=18),
    (Training.DEV, "2.0"): Ltx2Sampling((), 40, replace(_DEV, stg_block=29), image_crf=33),
    (Training.DEV, "2.3"): Ltx2Sampling((), 30, replace(_DEV, stg_block=28), image_crf=18),
}

VARIANTS = tuple(
    Variant(
        name=f"{training.value}-{release}",
        modes=frozenset(Mode),
        carries=frozenset({Carry.PIXELS, Carry.LATENTS}),
        fps=Fraction(24),
        clip_frames=121,
        overlap=17,
        width=768,
        height=512,
        size_step=32,
        areas={"480p": 832 * 480, "720p": 1280 * 704},
        latent_channels=128,
        ends_anywhere=True,
        longest=LONGEST,
        experts=1,
        vae_hint="the one inside the LTX-2 checkpoint",
        vae_scale=PATCH,
        keeps_slots=True,
        sampling=sampling,
        release=release,
        training=training,
    )
    for (training, release), sampling in _SAMPLING.items()
)


@dataclass(frozen=True)
class Ltx2:
    name: str = "ltx2"
    title: str = "LTX-2"
    grid: Grid = GRID
    sound: SoundModel | None = LTX2_SOUND
    retakes: RetakeModel | None = LTX2_RETAKES
    text_encoder_kind: str = "LTXV"  # a member of ComfyUI's CLIPType
    text_encoder_hint: str = "Gemma 3 12B (gemma_3_12B_it_fp4_mixed.safetensors)"
    variants: tuple[Variant, ...] = VARIANTS
    lora: LoraTraits = LTX2_LORA
    renderer: str = "ComfyUI"

    def variant_of(self, config: Mapping[str, Any]) -> Variant | None:
        """The distilled variant of the release that made the weights; they cannot tell whether they are distilled."""
        if config.get("image_model") != "ltxav":
            return None
        if config.get("ff_bias") is False or config.get("use_prompt_adaln_single") is False:
            raise Refusal(f"this {IS_LTX_2_5}")
        if "rope_type" not in config:
            raise Refusal(
                "this LTX-2 file has lost the metadata that says how its weights are meant: ComfyUI would load it "
                "without a word and render noise. Use the file as it was published, or a conversion that keeps its "
                "metadata."
            )
        return self.variant(Training.DISTILLED, "2.3" if config.get("cross_attention_adaln") else "2.0")

    def variant(self, training: Training, release: str) -> Variant:
        """The variant of a release, "2.0" or "2.3"."""
        return next(v for v in self.variants if (v.training, v.release) == (training, release))

    def is_text_encoder(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        # Gemma 3 normalises queries and the output of its feed-forward layers; Gemma 2 and Llama do not do both.
        layer = "model.layers.0."
        return f"{layer}self_attn.q_norm.weight" in tensors and f"{layer}post_feedforward_layernorm.weight" in tensors

    def check(self, variant: Variant, mode: Mode, carry: Carry | None, overlap: int, anchored: bool) -> None:
        pass

    def check_settings(self, model: VideoModel, settings: Ltx2Sampling) -> None:
        if settings.second_sigmas and model.latent_upscaler is None:
            raise Refusal(
                "a second pass needs a latent upscaler; choose one in Load LTX-2, or leave the second pass off.",
                field="second_sigmas",
            )
        if model.second_pass is not None and not settings.second_sigmas:
            raise Refusal(
                "a LoRA is on one of the two passes alone, and the second pass is off; put it on both, or leave the "
                "second pass as published.",
                field="second_sigmas",
            )

    def sample(self, model: VideoModel, shot: Shot) -> dict[str, torch.Tensor]:
        two_passes = bool(shot.settings.second_sigmas)
        finished, latents = (0, {}) if shot.checkpoint is None else shot.checkpoint.finished()
        if finished == 0:
            first = replace(shot, width=shot.width // 2, height=shot.height // 2) if two_passes else shot
            latents = first_pass(model, self.canvas(model, first, shot.settings.image_strength), shot)
        if finished < 2 and two_passes:
            latents = _second_pass(model, shot, latents)
        # The model is shown the nearest number of latents, as it was trained; the film hears all that reach its end.
        return latents if shot.sound is None else {**latents, "audio": shot.sound}

    def canvas(self, model: VideoModel, shot: Shot, strength: float) -> Canvas:
        """What is known of a clip before a pass at the shot's size.

        Args:
            strength: how firmly a start image is kept, 0..1.
        """
        tail, pictures = shot.tail, shot.pictures
        encoded = partial(_encoded, model, shot, shot.settings.image_crf or 0)
        offset = Fraction(0) if tail is None else tail.sound_offset
        sound = 0 if model.audio_vae is None else sound_latents(shot.frames, model.fps, offset)
        if shot.sound is not None:
            sound = round(shot.frames / model.fps * SOUND_RATE)
        canvas = blank(shot.frames, shot.width, shot.height, model.fps, sound)
        if tail is not None:
            canvas = pin_head(canvas, _head(model, tail, shot))
            if tail.audio is not None and sound and shot.sound is None:
                canvas = pin_sound(canvas, tail.audio[:, :, :sound])
        elif pictures.start is not None:
            canvas = pin_head(canvas, encoded(pictures.start), strength)
        if shot.ending is not None:
            canvas = _arriving(model, canvas, shot, shot.ending, offset)
        if shot.sound is not None:
            canvas = pin_sound(canvas, shot.sound[:, :, :sound], release=0)
        if pictures.anchor is not None:
            after = 0 if tail is None or tail.frames is None else len(tail.frames)
            canvas = add_guide(canvas, encoded(pictures.anchor), after, pictures.anchor_strength or ANCHOR_STRENGTH)
        if shot.ending is None and pictures.end is not None:
            canvas = add_guide(canvas, encoded(pictures.end), pictures.end_frame % shot.frames, 1.0)
        for keyframe in pictures.keyframes:
            canvas = add_guide(canvas, encoded(keyframe.image), keyframe.frame, keyframe.strength)
        return canvas

    def decode(self, model: VideoModel, latent: torch.Tensor) -> torch.Tensor:
        frames = tiles.decode(model.vae.get(), latent, model.tiled)
        return frames.reshape(-1, *frames.shape[-3:])


def _second_pass(model: VideoModel, shot: Shot, first: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The latent of half the size doubled, then refined; tail and images are given to each pass at that pass's size.

    Args:
        first: what the first pass made.
    """
    from comfy_extras.nodes_lt_upsampler import LTXVLatentUpsampler

    settings = shot.settings
    if model.latent_upscaler is None or not settings.second_sigmas:
        raise ValueError("two passes need an upscaler and a second schedule")
    doubled = LTXVLatentUpsampler.execute({"samples": first["latent"]}, model.latent_upscaler.get(), model.vae.get())[0]
    canvas = LTX2.canvas(model, shot, 1.0).over(doubled["samples"], first.get("audio"))
    before = settings.steps - len(settings.second_sigmas) + 1
    second = Pass(1, torch.tensor(settings.second_sigmas), Guidance(), before)
    return denoise_pass((model.second_pass or model.high).get(), canvas, second, shot)


def _arriving(model: VideoModel, canvas: Canvas, shot: Shot, ending: Ending, offset: Fraction) -> Canvas:
    """A canvas that ends on the beginning of the clip after, picture and sound.

    All but the first frame of an overlap fill whole slots, there as here, so these slots stand at the end of the clip
    as they are; at another size, or of another VAE, the same frames are encoded. An overlap of one frame fills no slot
    and is a guide.

    Args:
        offset: seconds from the clip's frame 0 to its first latent of sound.
    """
    frames = len(ending.frames)
    size = (shot.height // PATCH, shot.width // PATCH)
    if frames == 1:
        canvas = add_guide(canvas, _encoded(model, shot, 0, ending.frames), shot.frames - 1, 1.0)
    elif ending.latent is not None and ending.latent.shape[-2:] == size:
        canvas = pin_end(canvas, ending.latent)
    else:
        encoded = model.vae.get().encode(fit_film(ending.frames, shot.width, shot.height))
        canvas = pin_end(canvas, encoded[:, :, 1:])
    if ending.audio is None or canvas.audio is None or shot.sound is not None:
        return canvas
    place = ((shot.frames - frames) / model.fps + ending.sound_offset - offset) * SOUND_RATE
    return pin_sound_end(canvas, ending.audio, round(place))


def _head(model: VideoModel, tail: Tail, shot: Shot) -> torch.Tensor:
    """The overlap's latent `[1, 128, k + 1, h, w]` at the size of a pass.

    A causal VAE's slot 0 holds one frame, so carried latents stand in slots 1..k behind a fresh encode of the frame
    before them. They have the size of the film; a smaller pass is given the same frames, scaled and encoded.
    """
    if tail.frames is None:
        raise ValueError("an LTX-2 tail carries its frames")
    head = model.vae.get().encode(fit_film(tail.frames, shot.width, shot.height))
    if tail.latent is not None and head.shape[-2:] == tail.latent.shape[-2:]:
        check_part("the latents carried over", tail.latent, head, 1)
        head[:, :, 1:] = tail.latent
    return head


def _encoded(model: VideoModel, shot: Shot, crf: int, image: torch.Tensor) -> torch.Tensor:
    """The latent of an image `[1, H, W, 3]` of the stage's size, compressed like the video the model was trained on.

    A first pass of two has half the size: there bilinear is the mean of four pixels, as in LTXVImgToVideoInplace.
    """
    from comfy.utils import common_upscale
    from comfy_extras.nodes_lt import LTXVPreprocess

    image = LTXVPreprocess.execute(image, crf)[0]
    if image.shape[1:3] != (shot.height, shot.width):
        image = common_upscale(image.movedim(-1, 1), shot.width, shot.height, "bilinear", "center").movedim(1, -1)
    return model.vae.get().encode(image)


LTX2 = Ltx2()
