"""What a clip hands on and what it is asked to end on: the same frames, latents and sound on both sides of a seam."""

from __future__ import annotations

import secrets
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from longtake.pipelines.model.variant import Training

from tests.pipelines.families.test_wan22 import SIZE, bundle, clip_latent, link_of, takes

__all__ = ["takes"]
pytestmark = pytest.mark.usefixtures("takes")

OVERLAPS = [1, 5, 9, 17]


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_tail_is_the_end_of_its_clip_in_frames_and_latents(tiny_models: Path, overlap: int) -> None:
    from longtake.pipelines.chain.decode import decoded
    from longtake.pipelines.chain.tail import tail_of
    from longtake.pipelines.timeline.clips import Carry, Join, Transition

    model = bundle(tiny_models, "i2v-14b")
    link = link_of(model, 17)
    with torch.inference_mode():
        whole = torch.from_numpy(decoded(link).astype("float32") / 65535)
        tails = {carry: tail_of(link, Join(Transition.SMOOTH, overlap, carry=carry)) for carry in Carry}
    slots = (overlap - 1) // 4
    for carry in (Carry.PIXELS, Carry.LATENTS):
        assert torch.equal(tails[carry].frames, whole[17 - overlap :])
        assert tails[carry].frames.shape == (overlap, SIZE["height"], SIZE["width"], 3)
    assert tails[Carry.PIXELS].latent is None and tails[Carry.SVI].frames is None
    for carry in (Carry.LATENTS, Carry.SVI):
        if slots:
            assert torch.equal(tails[carry].latent, link.rendered.latent()[:, :, 5 - slots :])
        else:
            assert tails[carry].latent is None, "an overlap of one frame fills no slot"
    assert all(tail.audio is None and tail.sound_offset == 0 for tail in tails.values())


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_clip_that_keeps_a_tail_hands_the_same_back_as_its_head(tiny_models: Path, overlap: int) -> None:
    """There and back: what the next clip is pinned to is what the clip before it would be asked to end on."""
    from longtake.pipelines.chain.chain import Link
    from longtake.pipelines.chain.decode import decoded
    from longtake.pipelines.chain.head import head_of
    from longtake.pipelines.chain.tail import tail_of
    from longtake.pipelines.takes import store
    from longtake.pipelines.timeline.clips import Carry, Clip, Join, Transition

    model = bundle(tiny_models, "ti2v-5b")
    slots = (overlap - 1) // 4
    with torch.inference_mode():
        tail = tail_of(link_of(model, 17), Join(Transition.SMOOTH, overlap, carry=Carry.LATENTS))
        latent = clip_latent(model, 21)
        if tail.latent is not None:
            latent[:, :, 1 : 1 + slots] = tail.latent
        take = store.here().write(secrets.token_hex(32), {"latent": latent}, {})
        join = Join(Transition.SMOOTH, overlap)
        after = Link(Clip(21, join, 33 - overlap), take, model)
        head = head_of(after, overlap)
        ending = head.ending(model)
        shown = torch.from_numpy(decoded(after)[:overlap].astype("float32") / 65535)
        elsewhere = head.ending(bundle(tiny_models, "i2v-14b"))
    assert torch.equal(ending.latent, latent[:, :, 1 : 1 + slots])
    if tail.latent is not None:
        assert torch.equal(ending.latent, tail.latent)
    assert torch.equal(ending.frames, shown)
    assert (head.key, head.overlap) == (take.key, overlap)
    assert elsewhere.latent is None, "latents of another VAE mean nothing"
    assert torch.equal(elsewhere.frames, shown)


@pytest.mark.parametrize("overlap", [0, 4, 8])
def test_an_overlap_off_the_grid_is_an_error(tiny_models: Path, overlap: int) -> None:
    from longtake.pipelines.chain.head import head_of
    from longtake.pipelines.chain.tail import tail_of
    from longtake.pipelines.timeline.clips import Join, Transition

    model = bundle(tiny_models, "ti2v-5b")
    link = link_of(model, 17)
    with pytest.raises(ValueError, match=f"{overlap} frames are not on the grid 4n"):
        tail_of(link, Join(Transition.SMOOTH, overlap))
    with torch.inference_mode(), pytest.raises(ValueError, match=f"{overlap} frames are not on the grid 4n"):
        head_of(link, overlap).ending(model)


# ---- sound


def sounding(fps: Fraction, frames: int, offset: Fraction) -> Any:
    """A clip of LTX-2 whose latents of sound hold their own numbers."""
    from longtake.pipelines.chain.chain import Link
    from longtake.pipelines.families.ltx2 import LTX2
    from longtake.pipelines.families.ltx2_canvas.sound import sound_latents
    from longtake.pipelines.model.bundle import VideoModel
    from longtake.pipelines.model.part import Part
    from longtake.pipelines.takes import store
    from longtake.pipelines.timeline.clips import Clip, Join

    part = Part.of("nothing", object())
    model = VideoModel(LTX2, LTX2.variant(Training.DISTILLED, "2.3"), part, None, part, part, part, frame_rate=fps)
    count = sound_latents(frames, fps, offset)
    numbered = torch.arange(count, dtype=torch.float32).view(1, 1, -1, 1).expand(1, 8, -1, 16)
    tensors = {"latent": torch.zeros(1, 128, (frames - 1) // 8 + 1, 1, 1), "audio": numbered.contiguous()}
    take = store.here().write(secrets.token_hex(32), tensors, {"sound_offset": str(offset)})
    return Link(Clip(frames, Join(), frames), take, model)


@pytest.mark.parametrize("fps", [24, 25, 30, Fraction(24000, 1001)])
@pytest.mark.parametrize("overlap", [1, 9, 17, 25])
def test_the_sound_of_a_tail_begins_within_half_a_latent_of_its_picture_in_stage_after_stage(
    fps: Fraction, overlap: int
) -> None:
    from longtake.pipelines.chain.tail import _sound_tail

    fps, offset = Fraction(fps), Fraction(0)
    for frames in (25, 33, 57, 41, 121):
        link = sounding(fps, frames, offset)
        audio, after = _sound_tail(link, overlap)
        first = int(audio[0, 0, 0, 0])
        assert abs(after) <= Fraction(1, 50)
        # The latent's own time, and the time at which the next clip says that it lies, are one.
        assert offset + Fraction(first, 25) == (frames - overlap) / fps + after
        assert int(audio[0, 0, -1, 0]) == link.rendered.audio().shape[2] - 1, "to the end of the clip"
        offset = after


def test_a_silent_clip_hands_on_no_sound() -> None:
    from dataclasses import replace

    from longtake.pipelines.chain.tail import _sound_tail

    link = sounding(Fraction(24), 25, Fraction(0))
    silent = replace(link, model=replace(link.model, audio_vae=None))
    assert _sound_tail(silent, 9) == (None, Fraction(0))
