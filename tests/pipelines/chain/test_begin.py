"""A video as the beginning of a film: which of its frames, at which size, and the sound under them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from longtake.pipelines.errors import Refusal

from tests.pipelines.stage.test_keys import bundle

pytestmark = pytest.mark.usefixtures("comfyui")
FRAMES = 32  # two seconds at Wan's rate
VIDEO = torch.linspace(0, 1, FRAMES).reshape(FRAMES, 1, 1, 1).expand(FRAMES, 64, 96, 3)


@pytest.fixture
def model(tiny_models: Path) -> Any:
    return bundle(tiny_models)


def begin(model: Any, width: int = 96, height: int = 64, keep: float = 0.0, sound: Any = None) -> Any:
    from longtake.pipelines.chain.begin import begin_with
    from longtake.pipelines.media.frames import Images

    return begin_with(model, Images(VIDEO, Fraction(16)), sound, width, height, keep)


def test_all_of_a_video_is_one_link_that_is_shown_whole(model):
    chain = begin(model)
    [link] = chain.links
    assert (chain.width, chain.height, chain.fps) == (96, 64, Fraction(16))
    assert (link.clip.frames, link.clip.asked_end, link.clip.join.overlap, link.take) == (FRAMES, FRAMES, 0, None)


def test_what_is_kept_is_the_end_of_the_video_to_the_frame(model):
    whole = np.stack([frame.copy() for frame in begin(model).links[0].footage.source.frames()])
    for keep, frames in ((1.0, 16), (0.5, 8), (2.0, FRAMES)):
        [link] = begin(model, keep=keep).links
        kept = np.stack([frame.copy() for frame in link.footage.source.frames()])
        assert link.clip.frames == frames
        assert np.array_equal(kept, whole[-frames:])


def test_no_size_is_the_videos_own(model):
    chain = begin(model, 0, 0)
    assert (chain.width, chain.height) == (96, 64)


@pytest.mark.parametrize(
    "asked, field",
    [
        ({"width": 0}, "width"),
        ({"height": 0}, "width"),
        ({"keep": -1.0}, "keep"),
        ({"keep": float("nan")}, "keep"),
        ({"keep": float("inf")}, "keep"),
        ({"keep": 2.1}, "keep"),
    ],
    ids=str,
)
def test_what_cannot_begin_a_film_is_refused(model, asked, field):
    with pytest.raises(Refusal) as refusal:
        begin(model, **asked)
    assert refusal.value.field == field


def test_a_size_off_the_models_grid_is_refused(model):
    with pytest.raises(Refusal):
        begin(model, 97, 64)


def test_the_sound_kept_is_that_under_the_frames(model):
    from longtake.pipelines.media.sound import Waveform

    rate = 8000
    waveform = torch.arange(2.0 * rate).reshape(1, 1, -1) / (2 * rate)
    sound = Waveform({"waveform": waveform, "sample_rate": rate})
    kept = begin(model, keep=0.5, sound=sound).links[0].footage.sound
    heard = np.concatenate(list(kept.blocks()), axis=1)
    assert kept.sample_rate == rate
    assert np.array_equal(heard, waveform[0, :, -rate // 2 :].numpy())
