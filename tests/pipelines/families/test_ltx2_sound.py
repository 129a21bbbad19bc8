"""A sound that is given to LTX-2 is encoded where it is heard, to its last sample."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from longtake.pipelines.model.variant import Training

torch = pytest.importorskip("torch")

RATE = 44100  # that of ComfyUI's audio VAE


@pytest.fixture(scope="module")
def bundle(comfyui: Path, tiny_models: Path) -> Any:
    """LTX-2.3 with its audio VAE."""
    from longtake.pipelines.load.files import ModelFile
    from longtake.pipelines.load.ltx2 import Ltx2Files, ltx2_bundle

    def file(name: str) -> ModelFile:
        return ModelFile(Path(name).name, str(tiny_models / name))

    return ltx2_bundle(
        Ltx2Files.of_checkpoint(file("checkpoints/ltx-2.3-22b-distilled-fp8.safetensors")),
        file("text_encoders/gemma_3_12B_it_fp4_mixed.safetensors"),
        Training.DISTILLED,
        None,
        Fraction(24),
    )


def noise(samples: int, channels: int = 2) -> Any:
    return torch.randn(channels, samples, generator=torch.Generator().manual_seed(1)) / 4


@pytest.mark.parametrize("samples", [4096 * 11, 4096 * 11 + 1, 4096 * 11 + 2048, 4096 * 12 - 1, 217 * RATE // 24])
def test_no_part_of_a_sound_is_cropped_and_it_begins_where_it_begins(bundle: Any, samples: int) -> None:
    from longtake.pipelines.families.ltx2 import LTX2

    sound = noise(samples)
    with torch.inference_mode():
        encoded = LTX2.sound.encode(bundle, sound, RATE)
        whole = bundle.audio_vae.get().first_stage_model.encode(sound[None])
    # The encoder is causal; only where the sound ends it hears silence here and the sound mirrored there.
    settled = whole.shape[2] - 3
    assert encoded.shape[2] >= whole.shape[2]
    assert torch.allclose(encoded[:, :, :settled].float(), whole[:, :, :settled].float(), atol=1e-5)


@pytest.mark.parametrize("fps", [24, 25, 30, 50])
@pytest.mark.parametrize("frames", [9, 25, 33, 121, 217])
def test_the_model_is_shown_the_number_of_latents_it_was_trained_on(bundle: Any, frames: int, fps: int) -> None:
    """As many as Lightricks' code and diffusers take: the nearest to the clip's length."""
    from longtake.pipelines.families.ltx2 import LTX2
    from longtake.pipelines.families.ltx2_canvas.sound import sound_latents
    from longtake.pipelines.families.ltx2_sampling import Ltx2Sampling
    from longtake.pipelines.model.shot import Shot

    model = SimpleNamespace(audio_vae=bundle.audio_vae, fps=Fraction(fps))
    heard = torch.randn(1, 8, sound_latents(frames, Fraction(fps)), 16)
    shot = Shot(frames, 64, 64, [], [], Ltx2Sampling(), 0, lambda *_: None, sound=heard)
    canvas = LTX2.canvas(model, shot, 1.0)  # type: ignore[arg-type]

    assert canvas.audio is not None
    assert canvas.audio_mask is not None
    count = canvas.audio.shape[2]
    assert count == round(frames / fps * 25.0)
    assert torch.equal(canvas.audio, heard[:, :, :count])
    assert canvas.audio_mask.max() == 0


@pytest.mark.parametrize("first", [16, 41, 300])
def test_a_stage_hears_at_a_time_of_the_film_what_the_stage_before_hears_there(bundle: Any, first: int) -> None:
    """At 25 frames a second every frame is on a latent, so the same latents can be held against each other."""
    from longtake.pipelines.chain.tail import encoded_sound
    from longtake.pipelines.media.sound import Waveform

    sound = Waveform({"waveform": noise(20 * RATE)[None], "sample_rate": RATE})

    def heard(start: int, frames: int) -> Any:
        return encoded_sound(bundle, Fraction(25), sound, Fraction(start, 25), Fraction(frames, 25))

    with torch.inference_mode():
        before, after = heard(0, first + 25), heard(first, 121)
    shared = 25 - 3  # the last of the stage before hear its end
    assert torch.allclose(before[:, :, first : first + shared], after[:, :, :shared], atol=1e-5)
