"""The fast way through the demo model computes what ComfyUI computes, loaded by the pack from the committed folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from longtake.demo_model import folder, measure, text, world
from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
from longtake.pipelines.load.diffusers.folder import DEFAULT, open_folder
from longtake.pipelines.model.bundle import VideoModel

STEPS, SEED, FRAMES = 10, 3, 17


def bundle(path: Path) -> VideoModel:
    return bundle_from_folder(open_folder(path.name, [str(path.parent)], DEFAULT), "default", None)


@pytest.fixture(scope="module")
def image_to_video(comfyui: Path) -> VideoModel:
    return bundle(folder.FOLDER)


@pytest.fixture(scope="module")
def text_to_video(comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    path = tmp_path_factory.mktemp("diffusers") / "text"
    folder.write_text_to_video(path)
    return bundle(path)


@pytest.fixture(scope="module")
def model(comfyui: Path) -> Any:
    return folder.read()


@pytest.fixture(scope="module")
def clip() -> world.Clips:
    clips = world.draw(60, torch.Generator().manual_seed(2024))
    return clips[(clips.each("motion") != world.STILL).nonzero().flatten()[:1]]


def images(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels (1, 3, frames, h, w) in -1..1 as ComfyUI's images [frames, h, w, 3] in 0..1."""
    return (pixels[0].permute(1, 2, 3, 0) + 1) / 2


def rendered(bundle: VideoModel, prompt: str, **known: Any) -> torch.Tensor:
    """Pixels by ComfyUI's sampler, experts and VAE."""
    from longtake.pipelines.families.wan22_sampling import SamplingSettings
    from longtake.pipelines.model.shot import Pictures, Shot

    settings = SamplingSettings(steps=STEPS, cfg_high=1.0, cfg_low=1.0, shift=5.0, boundary=0.9)
    with torch.inference_mode():
        words = bundle.encode_prompt(prompt)
        shot = Shot(
            frames=FRAMES,
            width=world.SIZE,
            height=world.SIZE,
            positive=words,
            negative=words,
            settings=settings,
            seed=SEED,
            on_step=lambda *_: None,
            tail=known.pop("tail", None),
            pictures=Pictures(**known),
        )
        latent = bundle.family.sample(bundle, shot)["latent"]
        pixels = bundle.vae.get().decode(latent)
    return pixels.reshape(1, FRAMES, world.SIZE, world.SIZE, 3).permute(0, 4, 1, 2, 3) * 2 - 1


def test_text_alone_renders_the_same(text_to_video: VideoModel, model: Any, clip: world.Clips) -> None:
    native = rendered(text_to_video, clip.prompts()[0])
    assert measure.psnr(native, model.render(clip.prompts(), SEED, steps=STEPS)).item() > 45


def test_a_continuation_renders_the_same(image_to_video: VideoModel, model: Any, clip: world.Clips) -> None:
    from longtake.pipelines.model.shot import Tail

    before = clip.pixels(5)
    native = rendered(image_to_video, clip.prompts()[0], tail=Tail(images(before), None))
    assert measure.psnr(native, model.render(clip.prompts(), SEED, before=before, steps=STEPS)).item() > 45


def test_first_and_last_frame_render_the_same(image_to_video: VideoModel, model: Any, clip: world.Clips) -> None:
    truth = clip.pixels(FRAMES)
    first, last = truth[:, :, :1], truth[:, :, -1:]
    native = rendered(image_to_video, clip.prompts()[0], start=images(first), end=images(last))
    fast = model.render(clip.prompts(), SEED, before=first, end=last[:, :, 0], steps=STEPS)
    assert measure.psnr(native, fast).item() > 45


def test_the_computed_encoder_is_comfyuis(image_to_video: VideoModel, model: Any, clip: world.Clips) -> None:
    import comfy.latent_formats

    pixels = clip.pixels(FRAMES)
    with torch.inference_mode():
        native = comfy.latent_formats.Wan21().process_in(image_to_video.vae.get().encode(images(pixels)))
    assert (native - model.encode(pixels)).abs().max() < 0.01


def test_prompts_are_embedded_the_same(image_to_video: VideoModel, clip: world.Clips) -> None:
    native = image_to_video.encode_prompt(clip.prompts()[0])[0][0]
    fast, length = text.embedded(clip.prompts())
    assert native.shape[1] == text.PLACES
    assert (native[:, : int(length)] - fast).abs().max() < 0.01
    assert not native[:, int(length) :].any()
