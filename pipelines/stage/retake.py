"""Retake: some seconds of a video rendered anew, the rest kept to the bit in latents."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ..chain import record
from ..chain.begin import begin_with
from ..chain.chain import Chain, Link
from ..chain.tail import encoded_sound
from ..errors import Refusal
from ..families.recognise import FAMILIES
from ..identity import Identity, identity
from ..media.frames import as_images
from ..model.shot import Shot
from ..model.variant import Settings
from ..progress import step_by_step
from ..timeline.clips import Clip, Join
from .guides import unable
from .keys import embeddings_in, model_ingredients
from .prompts import encoded
from .render import keep, stored_or_rendered

if TYPE_CHECKING:
    from ..media.footage import Footage
    from ..media.frames import FrameSource
    from ..media.sound import Sound
    from ..model.bundle import RetakeModel, VideoModel
    from ..progress import Progress
    from ..sampling.resume import Checkpoint
    from ..takes.store import Store
    from ..takes.take import Take


@dataclass(frozen=True)
class Retake:
    """What is rendered anew.

    Args:
        start, end: seconds of the video; latent slots that the range touches are rendered whole.
        sound: whether its sound is rendered anew too; a video without sound then gets one.
    """

    start: float
    end: float
    sound: bool
    prompt: str
    negative_prompt: str
    seed: int


def plan_retake(
    retake: Retake,
    model: VideoModel,
    source: FrameSource,
    sound: Sound | None,
    width: int,
    height: int,
    sampling: Settings | None,
) -> tuple[Chain, Settings]:
    """The video at the model's rate and size, and the settings, before anything is loaded.

    Raises:
        Refusal: the model cannot do it, the video has no frames, or the range lies outside it.
    """
    retakes = _retakes(model)
    if source.frame_count < 1:
        raise Refusal("the video has no frames.", field="video")
    video = begin_with(model, source, sound, width, height, 0.0)
    lasts = float(video.frames / model.fps)
    if not (0 <= retake.start < retake.end <= lasts + 0.5 / float(model.fps)):
        raise Refusal(
            f"{retake.start} to {retake.end} s given; the video lasts {lasts:.2f} s, and the end comes after the "
            "start.",
            field="end_seconds",
        )
    published: Any = model.variant.sampling
    settings = (sampling or published).filled(published)
    settings.check()
    settings = retakes.settings(settings)
    model.family.check_settings(model, settings)
    return video, settings


def render_retake(
    store: Store, retake: Retake, model: VideoModel, video: Chain, settings: Settings, progress: Progress
) -> Chain:
    """A planned retake as a chain of one take, as long as the video; rendered where it is not stored.

    Args:
        video: from `plan_retake`.
    """
    progress.doing("reading the video")
    identified = retake_identity(retake, model, video, settings)
    take = None if identified.unidentified else store.find(identified.key)
    render = partial(_render, store, retake, model, video, settings, identified, progress)
    take = stored_or_rendered(store, identified, take, render, progress, 1, settings.steps)
    clip = Clip(model.family.grid.ceil(video.frames), Join(), video.frames)
    chain = Chain(video.family, video.width, video.height, video.fps, (Link(clip, take, model),))
    record.remember(store, chain)
    return chain


def retake_identity(retake: Retake, model: VideoModel, video: Chain, settings: Settings) -> Identity:
    """What the take of a retake is called: two of the same seconds of the same video are takes of one place."""
    shared = {
        "retake_of": _footage(video).key,
        "seconds": [retake.start, retake.end],
        "sound": retake.sound,
        "width": video.width,
        "height": video.height,
        "family": model.family.name,
        "fps": model.fps,
    }
    ingredients = {
        **shared,
        "prompt": retake.prompt,
        "negative_prompt": retake.negative_prompt,
        "seed": retake.seed,
        "sampling": settings,
        "model": model_ingredients(model),
        "embeddings": embeddings_in(retake.prompt + retake.negative_prompt),
    }
    return identity(ingredients, shared)


def _render(
    store: Store,
    retake: Retake,
    model: VideoModel,
    video: Chain,
    settings: Settings,
    identified: Identity,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> Take:
    started = time.monotonic()
    latents, anew = _latents(retake, model, video)
    progress.doing("reading the prompts")
    positive, negative = encoded(model, retake.prompt), encoded(model, retake.negative_prompt)
    frames = model.family.grid.ceil(video.frames)
    facts = {
        "stage": 1,
        "prompt": retake.prompt,
        "negative_prompt": retake.negative_prompt,
        "seed": retake.seed,
        "width": video.width,
        "height": video.height,
        "frames": frames,
        "shown": video.frames,
        "retake": [retake.start, retake.end],
        **settings.facts(),
    }
    shot = Shot(
        frames=frames,
        width=video.width,
        height=video.height,
        positive=positive,
        negative=negative,
        settings=settings,
        seed=retake.seed,
        on_step=step_by_step(progress, settings.steps),
        checkpoint=checkpoint,
    )
    latents = _retakes(model).render(model, shot, latents, anew)
    return keep(store, identified, model, latents, facts, time.monotonic() - started)


def _retakes(model: VideoModel) -> RetakeModel:
    retakes = model.family.retakes
    if retakes is None:
        able = [family for family in FAMILIES if family.retakes is not None]
        raise unable(model, "render a part of a video anew", able, "model")
    return retakes


def _footage(video: Chain) -> Footage:
    footage = video.links[0].footage
    if footage is None:
        raise ValueError("a retake is of a video")
    return footage


def _latents(
    retake: Retake, model: VideoModel, video: Chain
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Latents of the video and, for each, a mask of its slots that is 1 where it is rendered anew."""
    family, fps, footage = model.family, model.fps, _footage(video)
    frames = family.grid.ceil(video.frames)
    images = as_images(footage.source)
    # Over-production that is cut off again: the last frame held until the grid is met.
    images = torch.cat([images, images[-1:].expand(frames - len(images), -1, -1, -1)])
    first, last = math.floor(retake.start * fps), math.ceil(retake.end * fps) - 1
    latent = model.vae.get().encode(images)
    slots = torch.zeros(latent.shape[2])
    slots[-(-first // family.grid.step) : -(-last // family.grid.step) + 1] = 1
    latents, anew = {"latent": latent}, {"latent": slots}
    if family.sound is None or model.audio_vae is None:
        return latents, anew
    rate = family.sound.rate
    audio = None if footage.sound is None else encoded_sound(model, rate, footage.sound, Fraction(0), frames / fps)
    if audio is not None:
        latents["audio"] = audio
        heard = torch.zeros(audio.shape[2])
        if retake.sound:
            heard[math.floor(retake.start * rate) : math.ceil(retake.end * rate)] = 1
        anew["audio"] = heard
    elif retake.sound:
        latents["audio"] = family.sound.silence(frames, fps)
        anew["audio"] = torch.ones(latents["audio"].shape[2])
    return latents, anew
