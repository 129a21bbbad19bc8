"""What a clip is conditioned on has the shape of the clip, or the error says both shapes."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from longtake.pipelines.families.ltx2 import LTX2  # noqa: E402
from longtake.pipelines.families.ltx2_canvas.canvas import Canvas  # noqa: E402
from longtake.pipelines.families.ltx2_canvas.guide import add_guide  # noqa: E402
from longtake.pipelines.families.ltx2_canvas.picture import pin_end, pin_head  # noqa: E402
from longtake.pipelines.families.ltx2_canvas.sound import kept_sound, pin_sound, pin_sound_end  # noqa: E402
from longtake.pipelines.families.ltx2_retake import LTX2_RETAKES  # noqa: E402
from longtake.pipelines.families.shapes import WrongShape  # noqa: E402
from longtake.pipelines.families.wan22 import WAN22  # noqa: E402
from longtake.pipelines.model.bundle import VideoModel  # noqa: E402
from longtake.pipelines.model.part import Part  # noqa: E402
from longtake.pipelines.model.shot import Pictures, Shot, Tail  # noqa: E402

HEIGHT, WIDTH = 64, 96


def canvas() -> Canvas:
    """33 frames of 96x64 with their sound, nothing of them known."""
    return Canvas(torch.zeros(1, 128, 5, 2, 3), torch.zeros(1, 8, 35, 16), {"frame_rate": 24.0})


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_pinned_head_comes_out_as_it_went_in_and_nothing_else_is_kept(slots: int) -> None:
    head = torch.randn(1, 128, slots, 2, 3)
    pinned = pin_head(canvas(), head)
    assert torch.equal(pinned.video[:, :, :slots], head)
    assert pinned.video[:, :, slots:].abs().sum() == 0
    assert pinned.video_mask.flatten().tolist() == [0] * slots + [1] * (5 - slots)
    assert pinned.pinned == slots


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_a_head_that_is_kept_less_firmly_is_generated_more(strength: float) -> None:
    assert pin_head(canvas(), torch.ones(1, 128, 1, 2, 3), strength).video_mask[0, 0, 0].item() == 1 - strength


def test_a_pinned_end_stands_behind_a_pinned_head() -> None:
    pinned = pin_end(pin_head(canvas(), torch.ones(1, 128, 1, 2, 3)), torch.full((1, 128, 2, 2, 3), 2.0))
    assert pinned.video[0, 0, :, 0, 0].tolist() == [1, 0, 0, 2, 2]
    assert pinned.video_mask.flatten().tolist() == [0, 1, 1, 0, 0]
    assert pinned.pinned == 1


def test_sound_is_left_as_softly_as_it_is_arrived_at() -> None:
    sound = torch.randn(1, 8, 16, 16)
    before, after = pin_sound(canvas(), sound), pin_sound_end(canvas(), sound, 19)
    assert torch.equal(before.audio[:, :, :16], sound) and torch.equal(after.audio[:, :, 19:], sound)
    assert torch.equal(before.audio_mask[0, 0, :16, 0], kept_sound(16))
    assert torch.equal(before.audio_mask.flip(2), after.audio_mask)


def test_sound_that_begins_where_the_clip_ends_changes_nothing_of_it() -> None:
    pinned = pin_sound_end(canvas(), torch.ones(1, 8, 4, 16), 35)
    assert torch.equal(pinned.audio, canvas().audio)
    assert pinned.audio_mask.min() == 1


@pytest.mark.parametrize(
    ("pin", "shape", "sentence"),
    [
        (pin_head, (1, 128, 2, 4, 3), "the head of the clip: [1, 128, 2, 4, 3] given, [1, 128, any, 2, 3] needed"),
        (pin_head, (1, 16, 2, 2, 3), "the head of the clip: [1, 16, 2, 2, 3] given, [1, 128, any, 2, 3] needed"),
        (pin_head, (2, 128, 2, 2, 3), "the head of the clip: [2, 128, 2, 2, 3] given, [1, 128, any, 2, 3] needed"),
        (
            pin_head,
            (1, 128, 6, 2, 3),
            "[1, 128, 6, 2, 3] given, [1, 128, 0 to 5, 2, 3] needed (batch, channels, slots,",
        ),
        (pin_end, (1, 128, 1, 2, 1), "the end of the clip: [1, 128, 1, 2, 1] given, [1, 128, any, 2, 3] needed"),
        (pin_end, (1, 128, 6, 2, 3), "the end of the clip: [1, 128, 6, 2, 3] given"),
        (pin_sound, (1, 8, 36, 16), "the sound before: [1, 8, 36, 16] given, [1, 8, 0 to 35, 16] needed"),
        (pin_sound, (1, 8, 4, 1), "the sound before: [1, 8, 4, 1] given, [1, 8, any, 16] needed"),
    ],
)
def test_what_does_not_fit_an_ltx2_clip_is_said_with_both_shapes(pin: Any, shape: tuple, sentence: str) -> None:
    with pytest.raises(WrongShape) as wrong:
        pin(canvas(), torch.ones(shape))
    assert sentence in str(wrong.value)


def test_a_guide_of_another_size_is_not_put_behind_the_clip() -> None:
    with pytest.raises(WrongShape, match=r"a guide: \[1, 128, 1, 1, 1\] given, \[1, 128, any, 2, 3\] needed"):
        add_guide(canvas(), torch.ones(1, 128, 1, 1, 1), 8, 1.0)


def test_a_second_pass_takes_a_picture_of_its_own_size() -> None:
    video, audio = torch.ones(1, 128, 5, 2, 3), torch.ones(1, 8, 35, 16)
    assert torch.equal(canvas().over(video, audio).video, video)
    with pytest.raises(WrongShape, match=r"pass before: \[1, 128, 5, 1, 1\] given, \[1, 128, 5, 2, 3\] needed"):
        canvas().over(video[..., :1, :1], audio)


PART = Part.of("nothing", object())  # what is checked is checked before anything is loaded


def condition(name: str, tail: Tail | None = None, **pictures: Any) -> Any:
    variant = next(variant for variant in WAN22.variants if variant.name == name)
    model = VideoModel(WAN22, variant, PART, None, PART, PART)
    shot = Shot(17, WIDTH, HEIGHT, [], [], None, 0, lambda *_: None, tail, Pictures(**pictures))
    return WAN22.condition(model, shot)


@pytest.mark.parametrize("name", ["i2v-14b", "ti2v-5b"])
@pytest.mark.parametrize("picture", ["start", "end", "anchor"])
def test_a_picture_of_another_size_than_a_wan_clip_is_said_with_both_sizes(
    comfyui: object, name: str, picture: str
) -> None:
    pictures = {"start": torch.ones(1, HEIGHT, WIDTH, 3), picture: torch.ones(1, 32, 48, 3)}
    with pytest.raises(
        WrongShape, match=rf"the {picture} image: \[1, 32, 48, 3\] given, \[1 to 17, 64, 96, 3\] needed"
    ):
        condition(name, **pictures)


def test_more_frames_than_a_clip_has_are_not_carried_over(comfyui: object) -> None:
    tail = Tail(torch.ones(21, HEIGHT, WIDTH, 3), None)
    with pytest.raises(WrongShape, match=r"carried over: \[21, 64, 96, 3\] given, \[1 to 17, 64, 96, 3\] needed"):
        condition("i2v-14b", tail)


def test_what_is_rendered_anew_is_said_for_each_slot_of_the_clip() -> None:
    words = [[torch.zeros(1), {}]]
    part = Part.of("a part", object())
    model = VideoModel(LTX2, LTX2.variants[0], part, None, part, part)
    shot = Shot(25, 128, 64, words, words, None, 1, lambda *_: None)
    latents, anew = {"latent": torch.zeros(1, 128, 4, 2, 4)}, {"latent": torch.ones(3)}
    with pytest.raises(WrongShape, match=r"rendered anew of the latent: \[3\] given, \[4\] needed \(slots\)"):
        LTX2_RETAKES.render(model, shot, latents, anew)
