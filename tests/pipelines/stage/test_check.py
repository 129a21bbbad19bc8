"""What a stage cannot be: refused before anything is loaded, naming the stage and the field."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from longtake.pipelines.chain.chain import Chain
from longtake.pipelines.document import MAX_SEED
from longtake.pipelines.errors import Refusal
from longtake.pipelines.families.ltx2 import LTX2
from longtake.pipelines.families.wan22 import WAN22
from longtake.pipelines.model.bundle import VideoModel
from longtake.pipelines.model.part import Part
from longtake.pipelines.model.variant import Training
from longtake.pipelines.stage.check import check_stage
from longtake.pipelines.stage.stage import Stage
from longtake.pipelines.timeline.clips import Carry, Join, Length, Transition

IMAGE = torch.zeros(1, 8, 8, 3)
CUT, SMOOTH = Join(), Join(Transition.SMOOTH, 5)
PART = Part.of("nothing", object())
T2V = VideoModel(WAN22, WAN22.variants[0], PART, PART, PART, PART)
I2V, TI2V = (replace(T2V, variant=next(v for v in WAN22.variants if v.name == name)) for name in ("i2v-14b", "ti2v-5b"))
LTX = VideoModel(LTX2, LTX2.variant(Training.DISTILLED, "2.3"), PART, None, PART, PART)


def stage(**changes: Any) -> Stage:
    return replace(Stage("", "", Length(frames=17), 0, CUT), **changes)


def chain(model: VideoModel = I2V) -> Chain:
    ready = check_stage(stage(start_image=IMAGE), model, None)
    return ready.behind(None, model)


def refusal(asked: Stage, model: VideoModel, before: Chain | None = None) -> str:
    with pytest.raises(Refusal) as refused:
        check_stage(asked, model, before)
    return str(refused.value)


@pytest.mark.parametrize("seed", [0, MAX_SEED])
def test_a_stage_that_can_be_is_ready_as_it_was_asked_for(seed: int) -> None:
    asked = stage(start_image=IMAGE, seed=seed)
    ready = check_stage(asked, I2V, None)
    assert ready.stage is asked and ready.model is I2V
    assert (ready.number, ready.start, ready.shown, ready.clip.frames) == (1, 0, 17, 17)
    assert (ready.width, ready.height) == (I2V.variant.width, I2V.variant.height)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_lies_where_torch_takes_it(seed: int) -> None:
    assert refusal(stage(start_image=IMAGE, seed=seed), I2V).startswith(f"stage 1, seed: {seed} given")


@pytest.mark.parametrize("frames", [0, 2, 4, 16, 18])
def test_a_length_off_the_grid_names_the_field(frames: int) -> None:
    assert refusal(stage(start_image=IMAGE, length=Length(frames=frames)), I2V).startswith("stage 1, frames")


def test_all_stages_of_a_chain_share_family_rate_and_size() -> None:
    asked = stage(start_image=IMAGE)
    assert refusal(asked, LTX, chain()) == "stage 2, model: a bundle of LTX-2 cannot continue a chain of wan22."
    faster = replace(LTX, frame_rate=Fraction(30))
    assert "runs at 30 frames a second, the chain so far at 24" in refusal(asked, faster, chain(LTX))
    narrow = stage(start_image=IMAGE, width=416, height=I2V.variant.height)
    assert refusal(narrow, I2V, chain()).startswith(f"stage 2, width: 416x{I2V.variant.height} given")


def test_a_mode_that_a_variant_has_not_names_those_that_have_it() -> None:
    assert "i2v-14b" in refusal(stage(start_image=IMAGE), T2V)
    assert refusal(stage(), I2V).startswith("stage 1, start_image: i2v-14b cannot render from text alone")
    assert refusal(stage(join=SMOOTH), T2V, chain()).startswith("stage 2, transition")


def test_a_smooth_stage_takes_no_start_image_and_a_carry_over_that_its_variant_has() -> None:
    assert refusal(stage(join=SMOOTH, start_image=IMAGE), TI2V, chain(TI2V)).startswith("stage 2, start_image")
    svi = replace(SMOOTH, carry=Carry.SVI)
    assert "ti2v-5b has no carry-over svi" in refusal(stage(join=svi), TI2V, chain(TI2V))


def test_one_frame_cannot_be_two_images() -> None:
    asked = stage(start_image=IMAGE, end_image=IMAGE, length=Length(frames=1))
    assert refusal(asked, I2V).startswith("stage 1, end_image: it shows 1 frame")
