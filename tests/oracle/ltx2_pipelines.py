"""Whole denoisings of LTX-2, from words to final latents: diffusers' pipelines and the pack's Chain Stage."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from longtake.pipelines.model.variant import Training

from .bench import FRAMES, HEIGHT, SEED, STEPS, WIDTH, Bench, Tensors, difference, stage_latents
from .ltx2_components import (
    LTX_2_0,
    LTX_2_3,
    denormalised,
    gates_at_the_other_sigma,
    normalised,
    sound_statistics,
)
from .table import row
from .wan_pipelines import photo

GROUP = "LTX-2: final latents of a stage, picture and sound"
WORDS, NOT_WORDS = "a red fox runs over the snow", "blurry"
SOUND = 10  # latents of 9 frames at 24 a second, rounded up

OFF = {"cfg": 1.0, "cfg_audio": 1.0}
CFG = {"cfg": 3.0, "cfg_audio": 3.0}
ALL = {"cfg": 3.0, "cfg_audio": 7.0, "stg": 1.0, "stg_block": 1, "modality": 3.0, "rescale": 0.7}


def noise_of(width: int = WIDTH, height: int = HEIGHT) -> tuple[torch.Tensor, torch.Tensor]:
    """The noise that a stage of SEED starts from, as ComfyUI draws it: picture and sound."""
    import comfy.sample
    from comfy.nested_tensor import NestedTensor

    empty = (torch.zeros(1, 128, (FRAMES - 1) // 8 + 1, height // 32, width // 32), torch.zeros(1, 8, SOUND, 16))
    video, audio = comfy.sample.prepare_noise(NestedTensor(empty), SEED).unbind()
    return video, audio


def guidance_of(cfg: float, cfg_audio: float, stg: float = 0.0, stg_block: int = 0, modality: float = 1.0,
                rescale: float = 0.0) -> dict[str, Any]:  # fmt: skip
    """The pack's guidance in the words of diffusers."""
    return {
        "guidance_scale": cfg,
        "audio_guidance_scale": cfg_audio,
        "stg_scale": stg,
        "audio_stg_scale": stg,
        "spatio_temporal_guidance_blocks": [stg_block],
        "modality_scale": modality,
        "audio_modality_scale": modality,
        "guidance_rescale": rescale,
        "audio_guidance_rescale": rescale,
    }


def theirs(
    bench: Bench, name: str, kind: str, scheduler: Any, guidance: Any, size: tuple[int, int] = (WIDTH, HEIGHT),
    **given: Any,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Final latents of a pipeline, as the transformer sees them.

    Args:
        given: `video` and `audio` to begin with instead of noise, and arguments of the pipeline.
    """
    tokenizer = bench.components(LTX_2_0)["tokenizer"]
    pipeline = bench.pipeline(name, kind, scheduler=scheduler, tokenizer=tokenizer)
    vae, (mean, deviation) = pipeline.vae, sound_statistics(pipeline.audio_vae)
    noise, sound_noise = noise_of(*size)
    video, audio = given.pop("video", noise), given.pop("audio", sound_noise)
    with ExitStack() as corrected:
        if "image" in given:
            start = vae.encode(given["image"].unsqueeze(2) * 2 - 1).latent_dist.mode()
            video = torch.cat((normalised(vae, start), video[:, :, 1:]), dim=2)
            corrected.enter_context(gates_at_the_other_sigma(pipeline.transformer))
            given["use_cross_timestep"] = False
        picture, sound = pipeline(
            prompt=WORDS, negative_prompt=NOT_WORDS, width=size[0], height=size[1], num_frames=FRAMES, frame_rate=24.0,
            latents=denormalised(vae, video), audio_latents=audio * deviation + mean, output_type="latent",
            return_dict=False, **guidance_of(**guidance), **given,
        )  # fmt: skip
    return normalised(vae, picture), (sound - mean) / deviation


def ours(bench: Bench, name: str, sigmas: tuple[float, ...], guidance: Any, **pictures: Any) -> Tensors:
    """What a Chain Stage denoises.

    Args:
        sigmas: empty for those computed for STEPS.
    """
    from longtake.pipelines.families.ltx2_sampling import Guidance, Ltx2Sampling

    model = bench.bundle(name)
    sampling = Ltx2Sampling(sigmas, 0 if sigmas else STEPS, Guidance(**guidance), second_sigmas=(), image_crf=0)
    words, not_words = model.encode_prompt(WORDS), model.encode_prompt(NOT_WORDS)
    made = stage_latents(model, sampling, words, not_words, **pictures)
    return made["latent"], made["audio"]


def computed(bench: Bench, name: str, kind: str, guidance: Any, **image: Any) -> float:
    """Largest difference at the sigmas that dev models have computed from the size."""
    from tests.tiny.diffusers_ltx2 import dev_scheduler

    start = {"start_image": photo()} if image else {}
    a = theirs(bench, name, kind, dev_scheduler(), guidance, num_inference_steps=STEPS, **image)
    return difference(a, ours(bench, name, (), guidance, **start))


def picture() -> dict[str, torch.Tensor]:
    return {"image": photo().movedim(-1, 1)}


@row(GROUP, "LTX-2.0 from text, guided", "LTX2Pipeline, dynamic shift")
def t2v_2_0(bench: Bench) -> float:
    return computed(bench, LTX_2_0, "LTX2Pipeline", CFG)


@row(GROUP, "LTX-2.3 from text, guided", "LTX2Pipeline, dynamic shift")
def t2v_2_3(bench: Bench) -> float:
    return computed(bench, LTX_2_3, "LTX2Pipeline", CFG)


@row(GROUP, "LTX-2.3 from text, every guidance of the dev models", "LTX2Pipeline: cfg, stg, modality, rescale")
def guided_2_3(bench: Bench) -> float:
    return computed(bench, LTX_2_3, "LTX2Pipeline", ALL)


@row(GROUP, "LTX-2.0 from an image, guided", "LTX2ImageToVideoPipeline, its gates as in Lightricks' code")
def i2v_2_0(bench: Bench) -> float:
    return computed(bench, LTX_2_0, "LTX2ImageToVideoPipeline", CFG, **picture())


@row(GROUP, "LTX-2.3 from an image, guided", "LTX2ImageToVideoPipeline, its gates as in Lightricks' code")
def i2v_2_3(bench: Bench) -> float:
    return computed(bench, LTX_2_3, "LTX2ImageToVideoPipeline", CFG, **picture())


@row(GROUP, "LTX-2.3 as distilled, from an image", "LTX2ImageToVideoPipeline at those sigmas, its gates likewise")
def distilled(bench: Bench) -> float:
    from diffusers import FlowMatchEulerDiscreteScheduler
    from longtake.pipelines.families.ltx2_sampling import DISTILLED_SIGMAS

    scheduler = FlowMatchEulerDiscreteScheduler()
    a = theirs(
        bench, LTX_2_3, "LTX2ImageToVideoPipeline", scheduler, OFF, sigmas=list(DISTILLED_SIGMAS[:-1]), **picture()
    )
    return difference(a, ours(bench, LTX_2_3, DISTILLED_SIGMAS, OFF, start_image=photo()))


@row(GROUP, "LTX-2.0 as distilled, in two passes", "LTX2Pipeline, LTX2LatentUpsamplePipeline, LTX2Pipeline")
def two_passes(bench: Bench) -> float:
    from diffusers import FlowMatchEulerDiscreteScheduler, LTX2LatentUpsamplePipeline
    from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel
    from longtake.pipelines.families.ltx2_sampling import DISTILLED_SIGMAS, SECOND_SIGMAS
    from longtake.pipelines.load.diffusers.folder import OWN
    from longtake.pipelines.load.diffusers.ltx2 import Ltx2Choices

    def run(size: tuple[int, int], sigmas: tuple[float, ...], **begun: Any) -> tuple[torch.Tensor, torch.Tensor]:
        scheduler = FlowMatchEulerDiscreteScheduler()
        return theirs(bench, LTX_2_0, "LTX2Pipeline", scheduler, OFF, size, sigmas=list(sigmas[:-1]), **begun)

    small, large = (WIDTH // 2 // 32 * 32, HEIGHT // 2), (WIDTH // 2 // 32 * 64, HEIGHT)
    video, audio = run(small, DISTILLED_SIGMAS)
    upscaler = LTX2LatentUpsamplerModel.from_pretrained(bench.folders / LTX_2_0 / "latent_upsampler")
    pipeline = LTX2LatentUpsamplePipeline(bench.components(LTX_2_0)["vae"], upscaler)
    doubled = pipeline(latents=video, latents_normalized=True, output_type="latent", return_dict=False)[0]
    first, (noise, sound_noise) = SECOND_SIGMAS[0], noise_of(*large)
    begun = first * noise + (1 - first) * normalised(pipeline.vae, doubled)
    a = run(large, SECOND_SIGMAS, video=begun, audio=first * sound_noise + (1 - first) * audio)

    model = bench.bundle(LTX_2_0, choices=Ltx2Choices(Training.DISTILLED, OWN))
    words, not_words = model.encode_prompt(WORDS), model.encode_prompt(NOT_WORDS)
    made = stage_latents(model, None, words, not_words, *large)
    return difference(a, (made["latent"], made["audio"]))
