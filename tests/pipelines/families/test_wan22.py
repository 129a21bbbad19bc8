"""How Wan 2.2 is conditioned, on tiny models inside this process."""

from __future__ import annotations

import secrets
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

SIZE = {"width": 96, "height": 64}
FILES = {
    "i2v-14b": ("wan2.2_i2v_high_noise_14B_fp8_scaled", "wan2.2_i2v_low_noise_14B_fp8_scaled", "wan_2.1_vae"),
    "ti2v-5b": ("wan2.2_ti2v_5B_fp16", None, "wan2.2_vae"),
}


def bundle(models: Path, variant: str) -> Any:
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.load.files import ModelFile, bundle_from_files

    def file(folder: str, name: str) -> ModelFile:
        return ModelFile(name, str(models / folder / f"{name}.safetensors"))

    high, low, vae = FILES[variant]
    return bundle_from_files(
        WAN22,
        file("diffusion_models", high),
        None if low is None else file("diffusion_models", low),
        file("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled"),
        file("vae", vae),
    )


def clip_latent(model: Any, frames: int) -> Any:
    """A latent `[1, C, T, h, w]` of noise, as a stage before would have left it."""
    scale = model.variant.vae_scale
    shape = (1, model.variant.latent_channels, (frames - 1) // 4 + 1, SIZE["height"] // scale, SIZE["width"] // scale)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def takes(comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))


def link_of(model: Any, frames: int) -> Any:
    from longtake.pipelines.chain.chain import Link
    from longtake.pipelines.takes import store
    from longtake.pipelines.timeline.clips import Clip, Join

    take = store.here().write(secrets.token_hex(32), {"latent": clip_latent(model, frames)}, {})
    return Link(Clip(frames, Join(), frames), take, model)


def shot_of(settings: Any = None, words: Any = (), frames: int = 17, **changes: Any) -> Any:
    from longtake.pipelines.model.shot import Shot

    return Shot(frames, SIZE["width"], SIZE["height"], words, words, settings, 5, lambda *_: None, **changes)


def start_of(model: Any, tail: Any, frames: int = 17, **pictures: Any) -> Any:
    from longtake.pipelines.model.shot import Pictures

    with torch.inference_mode():
        return model.family.condition(model, shot_of(frames=frames, tail=tail, pictures=Pictures(**pictures)))


@pytest.mark.usefixtures("takes")
@pytest.mark.parametrize("variant", FILES)
@pytest.mark.parametrize("overlap", [1, 5, 9, 13])
def test_carried_latents_stand_in_slots_of_their_own_kind(tiny_models: Path, variant: str, overlap: int) -> None:
    from longtake.pipelines.chain.decode import decoded
    from longtake.pipelines.chain.tail import tail_of
    from longtake.pipelines.timeline.clips import Carry, Join, Transition

    model = bundle(tiny_models, variant)
    link = link_of(model, 17)
    with torch.inference_mode():
        tail = tail_of(link, Join(Transition.SMOOTH, overlap, carry=Carry.LATENTS))
        start = start_of(model, tail)
        before = torch.from_numpy(decoded(link)[17 - overlap : 18 - overlap].astype("float32") / 65535)
        single = model.vae.get().encode(before)
    known = start.values["concat_latent_image"] if start.values else start.latent
    carried = (overlap - 1) // 4

    assert torch.equal(known[:, :, :1], single), "slot 0 is a fresh encode of the one frame before the carried slots"
    assert torch.equal(known[:, :, 1 : 1 + carried], link.rendered.latent()[:, :, 5 - carried :])
    assert start.pinned == 1 + carried


@pytest.mark.usefixtures("takes")
def test_svi_hands_on_anchor_then_latents_then_the_models_zeros(tiny_models: Path) -> None:
    from longtake.pipelines.chain.tail import tail_of
    from longtake.pipelines.timeline.clips import Carry, Join, Transition

    model = bundle(tiny_models, "i2v-14b")
    link = link_of(model, 17)
    anchor = torch.rand(1, SIZE["height"], SIZE["width"], 3, generator=torch.Generator().manual_seed(1))
    start = start_of(model, tail_of(link, Join(Transition.SMOOTH, 9, carry=Carry.SVI)), frames=21, anchor=anchor)
    image, mask = start.values["concat_latent_image"], start.values["concat_mask"]

    from comfy.latent_formats import Wan21

    with torch.inference_mode():
        assert torch.equal(image[:, :, :1], model.vae.get().encode(anchor))
    assert torch.equal(image[:, :, 1:3], link.rendered.latent()[:, :, -2:])
    assert Wan21().process_in(image[:, :, 3:]).abs().max() == 0
    assert mask[0, 0, :, 0, 0].tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.usefixtures("takes")
def test_a_last_frame_for_5b_keeps_the_last_slot(tiny_models: Path) -> None:
    model = bundle(tiny_models, "ti2v-5b")
    first, last = torch.rand(2, 1, SIZE["height"], SIZE["width"], 3, generator=torch.Generator().manual_seed(1))
    start = start_of(model, None, start=first, end=last)

    assert start.noise_mask[0, 0, :, 0, 0].tolist() == [0, 1, 1, 1, 0]
    with torch.inference_mode():
        still = model.vae.get().encode(last.expand(5, -1, -1, -1))
    assert torch.equal(start.latent[:, :, -1:], still[:, :, 1:])


@pytest.mark.usefixtures("takes")
def test_a_model_loads_when_it_is_first_needed(tiny_models: Path) -> None:
    model = bundle(tiny_models, "i2v-14b")
    parts = (model.high, model.low, model.text_encoder, model.vae)
    assert not any(part.loaded for part in parts)
    model.encode_prompt("a fox")
    assert [part.loaded for part in parts] == [False, False, True, False]


@pytest.mark.usefixtures("takes")
def test_rendering_leaves_the_random_state_of_others_alone(tiny_models: Path) -> None:
    from longtake.pipelines.families.wan22_sampling import Expert, SamplingSettings, Start, denoise

    model = bundle(tiny_models, "ti2v-5b")
    words = model.encode_prompt("a fox")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with torch.inference_mode():
        start = Start(torch.zeros(1, 48, 2, 4, 6), {})
        denoise([Expert(model.high.get, 1.0)], start, shot_of(SamplingSettings(2, 1.0, 1.0), words))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("takes")
def test_a_preview_shows_a_frame_that_is_not_pinned(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The previewer ComfyUI hands out draws latent slot 0, which a continuation is pinned to."""
    import latent_preview
    from longtake.pipelines.chain.tail import tail_of
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, denoise
    from longtake.pipelines.timeline.clips import Join, Transition

    seen = []

    class Previewer(latent_preview.LatentPreviewer):
        def decode_latent_to_preview(self, x0: Any) -> Any:
            seen.append(x0.clone())
            return None

    monkeypatch.setattr(latent_preview, "get_previewer", lambda *_: Previewer())
    model = bundle(tiny_models, "ti2v-5b")
    words = model.encode_prompt("a fox")
    with torch.inference_mode():
        start = start_of(model, tail_of(link_of(model, 17), Join(Transition.SMOOTH, 9)))
        settings = SamplingSettings(2, 1.0, 1.0, shift=5.0)
        experts = model.family.experts(model, settings)
        denoise(experts, start, shot_of(settings, words))
    assert start.pinned == 3
    pinned = [
        model.high.get().model.process_latent_in(start.latent[:, :, slot : slot + 1].clone()) for slot in range(3)
    ]
    assert len(seen) == 2
    assert all(x0.shape[2] == 1 for x0 in seen)
    assert all((x0 - slot).abs().max() > 1e-3 for x0 in seen for slot in pinned)


def test_the_published_boundary_splits_steps_by_sigma(comfyui: Path, tiny_models: Path) -> None:
    """20 steps: shift 5 gives 8 steps at or above 0.9 and 9 at or above 0.875, shift 8 gives 10 and 11."""
    import comfy.samplers
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, high_noise_steps, with_shift

    high = bundle(tiny_models, "i2v-14b").high.get()
    for shift, boundary, expected in ((5.0, 0.9, 8), (5.0, 0.875, 9), (8.0, 0.9, 10), (8.0, 0.875, 11)):
        model = with_shift(high, shift, None)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 20)
        assert high_noise_steps(sigmas, SamplingSettings(20, 1.0, 1.0, boundary=boundary)) == expected


def test_variants_carry_what_they_were_published_with() -> None:
    from longtake.pipelines.families.wan22 import WAN22

    facts = {
        v.name: (v.fps, v.clip_frames, v.sampling.steps, v.sampling.shift, v.sampling.boundary) for v in WAN22.variants
    }
    assert facts == {
        "t2v-14b": (Fraction(16), 81, 40, 12.0, 0.875),
        "i2v-14b": (Fraction(16), 81, 40, 5.0, 0.9),
        "ti2v-5b": (Fraction(24), 121, 50, 5.0, None),
    }


def test_a_family_without_sound_has_none_to_ask() -> None:
    from longtake.pipelines.families.recognise import FAMILIES

    assert {family.title: family.sound and family.sound.rate for family in FAMILIES} == {"Wan 2.2": None, "LTX-2": 25}
