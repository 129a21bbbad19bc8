"""LTX-2's arithmetic: how much sound belongs to a clip, where it goes on, and how a carried one is let go."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st
from longtake.pipelines.families.ltx2 import LTX2
from longtake.pipelines.families.ltx2_canvas.sound import kept_sound, sound_latents
from longtake.pipelines.families.ltx2_sampling import DISTILLED_SIGMAS, Guidance, Ltx2Sampling
from longtake.pipelines.model.variant import Training

RATES = st.sampled_from([Fraction(24), Fraction(25), Fraction(30), Fraction(50)])
CLIPS = st.integers(1, 60).map(lambda slots: 8 * slots + 1)


@given(CLIPS, RATES)
def test_a_clip_has_as_many_latents_of_sound_as_reach_its_end(frames: int, fps: Fraction) -> None:
    latents = sound_latents(frames, fps)
    assert (latents - 1) / Fraction(25) < frames / fps <= latents / Fraction(25)


@given(st.lists(CLIPS, min_size=2, max_size=20), RATES, st.sampled_from([1, 9]))
def test_the_sound_of_a_clip_never_begins_more_than_half_a_latent_off_its_picture(
    clips: list[int], fps: Fraction, overlap: int
) -> None:
    """The rule of `tail._sound_tail`, clip after clip: nothing adds up."""
    offset = Fraction(0)
    for frames in clips:
        place = ((frames - overlap) / fps - offset) * 25
        first = max(0, round(place))
        offset = (first - place) / 25
        assert abs(offset) <= Fraction(1, 50)
        assert first < sound_latents(frames, fps, Fraction(0)) + 1
        if fps == 25:
            assert offset == 0


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (4, 3), (8, 6), (18, 14), (40, 36)])
def test_carried_sound_is_kept_and_let_go_over_at_most_a_quarter(count: int, kept: int) -> None:
    mask = kept_sound(count).tolist()
    assert mask[:kept] == [0.0] * kept
    assert all(0 < low < high < 1 for low, high in zip(mask[kept:], mask[kept + 1 :], strict=False))
    assert len(mask) == count


@pytest.mark.parametrize(
    ("name", "steps", "guidance"),
    [
        ("distilled-2.0", 8, Guidance()),
        ("distilled-2.3", 8, Guidance()),
        ("dev-2.0", 40, Guidance(3.0, 7.0, 1.0, 29, 3.0, 0.7)),
        ("dev-2.3", 30, Guidance(3.0, 7.0, 1.0, 28, 3.0, 0.7)),
    ],
)
def test_variants_carry_their_published_values(name: str, steps: int, guidance: Guidance) -> None:
    settings = next(v.sampling for v in LTX2.variants if v.name == name)
    assert isinstance(settings, Ltx2Sampling)
    assert (settings.steps, settings.guidance) == (steps, guidance)


@pytest.mark.parametrize(
    ("slots", "second"),
    [
        # Every clip begins at 1 and ends at 0.1 before 0; the more there is of it, the longer it stays noisy.
        (4, 0.6656),
        (16, 0.7342),
    ],
)
def test_the_schedule_of_dev_models_is_computed_from_the_size_of_the_clip(
    comfyui: object, slots: int, second: float
) -> None:
    import torch
    from longtake.pipelines.families.ltx2_sampling import computed_sigmas

    sigmas = computed_sigmas(3, torch.zeros(1, 128, slots, 16, 16)).tolist()
    assert sigmas == pytest.approx([1.0, second, 0.1, 0.0], abs=1e-4)


def test_what_settings_leave_open_is_taken_from_the_published_ones() -> None:
    published = LTX2.variant(Training.DISTILLED, "2.3").sampling
    filled = Ltx2Sampling(sampler="lcm").filled(published)
    assert (filled.sigmas, filled.sampler, filled.image_crf) == (DISTILLED_SIGMAS, "lcm", 18)
    assert math.isclose(sum(filled.sigmas or ()), sum(DISTILLED_SIGMAS))
    assert Ltx2Sampling(sigmas=(), schedule_steps=20).filled(published).steps == 20


@pytest.mark.parametrize(("slots", "frame"), [(1, 0), (1, 17), (1, 24), (2, 0), (2, 9), (3, 1)])
def test_a_guide_of_any_length_stands_where_the_stock_node_puts_it(comfyui: object, slots: int, frame: int) -> None:
    import torch
    from comfy_extras.nodes_lt import LTXVAddGuide
    from longtake.pipelines.families.ltx2_canvas.canvas import blank
    from longtake.pipelines.families.ltx2_canvas.guide import add_guide

    canvas = blank(33, 64, 96, Fraction(24), 0)
    first, guide = torch.rand(1, 128, 1, 3, 2), torch.rand(1, 128, slots, 3, 2)
    canvas = add_guide(add_guide(canvas, first, 8, 1.0), guide, frame, 0.25)

    words, mask = [[torch.zeros(1, 1, 1), {}]], torch.ones(1, 1, 5, 1, 1)
    theirs = (words, words, canvas.video[:, :, :5], mask)
    for latent, place, strength in ((first, 8, 1.0), (guide, frame, 0.25)):
        positive, negative, video, mask = theirs
        theirs = LTXVAddGuide.append_keyframe(positive, negative, place, video, mask, latent, strength, (8, 32, 32))
    assert torch.equal(canvas.values["keyframe_idxs"], theirs[0][0][1]["keyframe_idxs"])
    assert torch.equal(canvas.video, theirs[2]) and torch.equal(canvas.video_mask, theirs[3])
    assert canvas.guides == 1 + slots
    assert canvas.split(canvas.video)[0].shape[2] == 5


def test_guidance_that_pushes_nowhere_changes_nothing() -> None:
    import torch
    from longtake.pipelines.families.ltx2_sampling import guide

    given = torch.randn(1, 8, 4, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(guide(given, [], 0.0), given)
    away = given + 1
    assert torch.allclose(guide(given, [(2.0, away)], 0.0), given - 2)
    pushed = guide(given, [(2.0, -given)], 1.0)
    assert torch.allclose(pushed.std(), given.std())


def test_a_video_without_frames_is_not_retaken() -> None:
    import torch
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.media.frames import Images
    from longtake.pipelines.model.bundle import VideoModel
    from longtake.pipelines.model.part import Part
    from longtake.pipelines.stage.retake import Retake, plan_retake

    part = Part.of("nothing", object())
    model = VideoModel(LTX2, LTX2.variant(Training.DISTILLED, "2.0"), part, None, part, part)
    empty = Images(torch.zeros(0, 64, 64, 3), Fraction(24))
    with pytest.raises(Refusal, match="video: the video has no frames"):
        plan_retake(Retake(0.0, 1.0, True, "", "", 0), model, empty, None, 0, 0, None)
