"""What a clip can keep to: keyframes on frames that nothing else holds, one anchor, a soundtrack long enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.model.shot import Keyframe
from longtake.pipelines.stage.check import check_stage
from longtake.pipelines.stage.guides import Anchor, Soundtrack, guided
from longtake.pipelines.stage.stage import Stage

from .test_check import IMAGE, LTX, T2V, chain, refusal, stage


def keyed(*frames: int, **changes: Any) -> Stage:
    return guided(stage(**changes), [Keyframe(IMAGE, frame) for frame in frames])


def song(seconds: float) -> Soundtrack:
    return Soundtrack({"waveform": torch.zeros(1, 2, round(seconds * 24000)), "sample_rate": 24000})


def test_guides_are_put_on_a_stage_and_no_guide_leaves_it_as_it_was() -> None:
    asked, key, music = stage(), Keyframe(IMAGE, 8), song(1)
    assert guided(asked, []) == asked
    with_all = guided(asked, [key, Anchor(IMAGE, 0.5), music])
    assert with_all.keyframes == (key,)
    assert with_all.anchor_image is IMAGE and with_all.anchor_strength == 0.5
    assert with_all.soundtrack is music.sound


@pytest.mark.parametrize("guides", [[Anchor(IMAGE)] * 2, [song(1)] * 2], ids=["anchors", "soundtracks"])
def test_two_guides_of_a_kind_that_a_stage_has_one_of_are_refused(guides: list[Any]) -> None:
    with pytest.raises(Refusal, match=r"2 of the guides are \w+; connect one"):
        guided(stage(), guides)


@pytest.mark.parametrize("frame", [0, 8, 16, -1, -17])
def test_a_keyframe_may_stand_on_any_frame_that_is_shown(frame: int) -> None:
    assert check_stage(keyed(frame), LTX, None).stage.keyframes[0].frame == frame


@pytest.mark.parametrize("frame", [17, -18])
def test_a_keyframe_outside_the_stage_is_refused_with_the_frames_it_has(frame: int) -> None:
    assert refusal(keyed(frame), LTX).startswith(
        f"stage 1, keyframes: frame {frame} given; the stage has frames 0 to 16"
    )


def test_one_keyframe_a_frame_and_none_where_an_image_stands() -> None:
    assert "2 keyframes stand on frame 16" in refusal(keyed(16, -1), LTX)
    assert "a keyframe stands on frame 0" in refusal(keyed(0, start_image=IMAGE), LTX)
    assert "a keyframe stands on frame 16" in refusal(keyed(-1, end_image=IMAGE, start_image=IMAGE), LTX)


@pytest.mark.parametrize("strength", [0.0, 1.5, -1.0])
def test_a_keyframe_has_a_strength_above_none_and_at_most_one(strength: float) -> None:
    asked = guided(stage(), [Keyframe(IMAGE, 8, strength)])
    assert f"strength {strength} given" in refusal(asked, LTX)


def test_what_a_family_cannot_keep_to_names_one_that_can() -> None:
    assert "LTX-2 can" in refusal(keyed(8), T2V)
    assert "LTX-2 can" in refusal(guided(stage(), [song(9)]), T2V)


def test_a_soundtrack_reaches_to_the_end_of_its_stage() -> None:
    hears = replace(LTX, audio_vae=LTX.vae)
    frames = 17 / float(LTX.fps)
    check_stage(guided(stage(), [song(frames + 0.01)]), hears, None)
    assert "the soundtrack lasts 0.50 s and this stage ends at 0.71 s" in refusal(guided(stage(), [song(0.5)]), hears)
    assert "stage 2, soundtrack" in refusal(
        guided(stage(start_image=IMAGE), [song(frames + 0.01)]), hears, chain(hears)
    )
    assert "this bundle has no audio VAE" in refusal(guided(stage(), [song(9)]), LTX)
