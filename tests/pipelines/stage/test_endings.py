"""An end image is the last frame that the film shows of its stage, whatever the family, length, rate and joins."""

from __future__ import annotations

import secrets
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from longtake.pipelines.chain.chain import Chain
from longtake.pipelines.errors import Refusal
from longtake.pipelines.families.ltx2 import LTX2
from longtake.pipelines.families.wan22 import WAN22
from longtake.pipelines.model.bundle import VideoModel
from longtake.pipelines.model.part import Part
from longtake.pipelines.model.variant import Training
from longtake.pipelines.stage.check import check_stage, check_stages, split_stage
from longtake.pipelines.stage.stage import Ready, Stage, behind
from longtake.pipelines.timeline.clips import Carry, Join, Length, Transition, film_frames, spans
from longtake.pipelines.timeline.plan import frames_in

IMAGE = torch.zeros(1, 8, 8, 3)
CUT = Join()
PART = Part.of("nothing", object())
WAN_14B, WAN_5B = (next(v for v in WAN22.variants if v.name == name) for name in ("i2v-14b", "ti2v-5b"))
LTX = LTX2.variant(Training.DISTILLED, "2.3")


def bundle(variant: Any, rate: Fraction | None = None) -> VideoModel:
    family = LTX2 if variant is LTX else WAN22
    low = PART if variant is WAN_14B else None
    return replace(VideoModel(family, variant, PART, low, PART, PART), frame_rate=rate)


BUNDLES = st.sampled_from(
    [bundle(WAN_14B), bundle(WAN_5B), *(bundle(LTX, Fraction(rate)) for rate in ("24", "25", "30", "24000/1001"))]
)


def stage(length: Length, join: Join = CUT, ends: bool = False, **changes: Any) -> Stage:
    starts = join.transition is not Transition.SMOOTH
    images = {"start_image": IMAGE if starts else None, "end_image": IMAGE if ends else None}
    return Stage("", "", length, 0, join, **(images | changes))


@st.composite
def films(draw, lengths: str = "either") -> tuple[VideoModel, list[Ready]]:
    """A random chain, its stages checked; what cannot be is left out."""
    model = draw(BUNDLES)
    step = model.family.grid.step
    chain: Chain | None = None
    ready: list[Ready] = []
    for _ in range(draw(st.integers(1, 8))):
        seconds = Length(seconds=draw(st.floats(0.05, 9, allow_nan=False)))
        frames = Length(frames=draw(st.integers(0, 25)) * step + 1)
        length = seconds if lengths == "seconds" else draw(st.sampled_from([seconds, frames]))
        transition = draw(st.sampled_from(Transition)) if ready else Transition.CUT
        join = Join.of(transition, draw(st.integers(0, 4)) * step + 1, draw(st.integers(1, 12)))
        try:
            ready.append(check_stage(stage(length, join, draw(st.booleans())), model, chain))
        except Refusal:
            continue
        chain = ready[-1].behind(chain, model)
    assume(ready)
    return model, ready


@given(films())
def test_an_end_image_is_the_last_frame_its_stage_was_asked_for_and_is_shown(film) -> None:
    model, ready = film
    clips = [one.clip for one in ready]
    for index, (one, span) in enumerate(zip(ready, spans(clips), strict=True)):
        if one.stage.end_image is None:
            continue
        assert span.first < one.shown <= span.stop, "the frame it stands on is in the film"
        assert one.start + one.shown == one.clip.asked_end
        continued = index + 1 < len(ready) and ready[index + 1].stage.join.transition is Transition.SMOOTH
        if not continued:
            assert one.shown == span.stop, "nothing is shown after it"
        if not model.variant.ends_anywhere:
            assert one.shown == one.clip.frames, "the only frame the model can put it on"
        assert model.family.grid.ceil(one.shown) == one.clip.frames, "it lies in the last latent slot"


@given(films(lengths="seconds"))
def test_a_film_in_seconds_has_its_frames_but_where_only_the_end_of_the_grid_can_hold_the_last_image(film) -> None:
    model, ready = film
    clips = [one.clip for one in ready]
    asked = sum(frames_in(one.stage.length.seconds, model.fps) for one in ready)
    assert film_frames(clips) - asked == clips[-1].surplus
    assert 0 <= clips[-1].surplus < model.family.grid.step
    if model.variant.ends_anywhere or ready[-1].stage.end_image is None:
        assert clips[-1].surplus == 0
    for one in ready:
        assert bool(one.clip.surplus) == any("frame later" in note or "frames later" in note for note in one.notes)


@pytest.mark.parametrize(
    ("model", "seconds", "film", "image_on", "rendered"),
    [
        (bundle(WAN_5B), [0.5], 12, 11, 13),
        (bundle(WAN_14B), [0.5], 9, 8, 9),
        (bundle(LTX), [0.75], 18, 17, 25),
        (bundle(LTX), [6.1], 146, 145, 153),
        (bundle(WAN_14B), [5, 5], 161, 84, 85),
        (bundle(LTX, Fraction(30)), [5, 5], 300, 163, 169),
    ],
)
def test_the_last_stage_shows_its_end_image(model, seconds, film, image_on, rendered) -> None:
    join = Join(Transition.SMOOTH, model.variant.overlap)
    stages = [stage(Length(seconds=one), join if index else Join()) for index, one in enumerate(seconds)]
    stages[-1] = replace(stages[-1], end_image=IMAGE)
    last = check_stages(stages, [model] * len(stages))[-1]
    assert (last.clip.asked_end, last.shown - 1, last.clip.frames) == (film, image_on, rendered)


def test_the_stage_after_an_end_image_takes_up_what_was_shown_beyond_the_time_asked() -> None:
    model = bundle(WAN_14B)
    for transition in Transition:
        second = stage(Length(seconds=5), Join.of(transition, 5, 8))
        first, after = check_stages([stage(Length(seconds=5), ends=True), second], [model] * 2)
        assert (first.clip.asked_end, first.clip.surplus, after.clip.asked_end) == (81, 1, 160)
        assert "it ends on its image, 1 frame later than asked" in first.notes[0]
    with pytest.raises(Refusal, match=r"stage 2, seconds: 0\.1 s would add no frame: on its grid the stage before"):
        check_stages([stage(Length(seconds=4.9), ends=True), stage(Length(seconds=0.1))], [model] * 2)


def test_a_stage_of_one_frame_cannot_be_both_its_images() -> None:
    with pytest.raises(Refusal, match="stage 1, end_image: it shows 1 frame, which cannot be both images"):
        check_stage(stage(Length(frames=1), ends=True), bundle(LTX), None)


def test_a_keyframe_counts_from_where_its_stage_ends() -> None:
    from longtake.pipelines.model.shot import Keyframe
    from longtake.pipelines.stage.render import _pictures

    asked = stage(Length(seconds=0.75), keyframes=(Keyframe(IMAGE, -1),))
    ready = check_stage(asked, bundle(LTX), None)
    assert [key.frame for key in _pictures(asked, None, ready.shown, 8, 8).keyframes] == [17]
    with pytest.raises(Refusal, match="keyframes: frame 18 given; the stage has frames 0 to 17"):
        check_stage(stage(Length(seconds=0.75), keyframes=(Keyframe(IMAGE, 18),)), bundle(LTX), None)


@pytest.fixture
def takes(comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))


def stored(ready: list[Ready]) -> Chain:
    """The chain of checked stages as if they were rendered."""
    from longtake.pipelines.takes import store

    chain: Chain | None = None
    for one in ready:
        take = store.here().write(secrets.token_hex(32), {"latent": torch.zeros(1)}, {})
        chain = one.behind(chain, one.model, take)
    assert chain is not None
    return chain


@pytest.mark.usefixtures("takes")
@pytest.mark.parametrize("model", [bundle(WAN_14B), bundle(WAN_5B), bundle(LTX), bundle(LTX, Fraction(30))])
@pytest.mark.parametrize("seconds", [0.7, 1.0, 1.1, 2.3])
def test_the_far_end_of_a_bridge_is_the_last_frame_shown(model: VideoModel, seconds: float) -> None:
    """A smooth stage after it shows all of its clip, whatever was asked in seconds; a cut shows it to its own end."""
    from longtake.pipelines.stage.bridge import check_bridge

    length, step = Length(seconds=seconds), model.family.grid.step
    joins = (CUT, Join(Transition.SMOOTH, step + 1), Join(Transition.SMOOTH, step + 1), CUT)
    chain = stored(check_stages([stage(length, join) for join in joins], [model] * 4))
    for number, ends in ((1, True), (2, True), (3, False)):
        asked = stage(length, start_image=IMAGE if number == 1 else None)
        ready, _ = check_bridge(chain, number, asked, model)
        assert ready.clip == chain.clips[number - 1]
        assert (ready.stage.until is not None) is ends
        assert ready.shown == spans(chain.clips)[number - 1].stop
        if ends:
            assert ready.shown == ready.clip.frames


@pytest.mark.usefixtures("takes")
@pytest.mark.parametrize("carry", [Carry.PIXELS, Carry.LATENTS])
def test_a_bridge_in_a_chain_that_is_opened_again_carries_over_as_the_stage_did(carry: Carry) -> None:
    from longtake.pipelines.chain import record
    from longtake.pipelines.stage.bridge import check_bridge
    from longtake.pipelines.takes import chains, store

    model = bundle(LTX)
    smooth = Join(Transition.SMOOTH, 9, carry=carry)
    parts = [stage(Length(frames=25), join, start_image=None) for join in (CUT, smooth, smooth)]
    chain = stored(check_stages(parts, [model] * 3))
    record.remember(store.here(), chain)
    opened = record.opened(store.here(), chains.find(store.here(), record.id_of(chain)), model, 1, 3)
    assert opened.clips == chain.clips
    ready, _ = check_bridge(opened, 2, stage(Length(frames=25), start_image=None), model)
    assert ready.stage.join == smooth


@pytest.mark.usefixtures("takes")
def test_a_keyframe_of_a_bridge_counts_from_where_the_old_stage_ends() -> None:
    from longtake.pipelines.model.shot import Keyframe
    from longtake.pipelines.stage.bridge import check_bridge

    model = bundle(LTX)
    chain = stored(check_stages([stage(Length(seconds=0.75))] * 2, [model] * 2))
    asked = stage(Length(frames=1), keyframes=(Keyframe(IMAGE, 18),))
    with pytest.raises(Refusal, match="stage 1, keyframes: frame 18 given; the stage has frames 0 to 17"):
        check_bridge(chain, 1, asked, model)
    ready, _ = check_bridge(chain, 1, replace(asked, keyframes=(Keyframe(IMAGE, -1),)), model)
    assert ready.shown == 18


@pytest.mark.usefixtures("takes")
def test_a_stored_chain_knows_what_was_shown_beyond_the_time_asked() -> None:
    from longtake.pipelines.chain import record
    from longtake.pipelines.takes import chains, store

    model = bundle(WAN_14B)
    chain = stored(check_stages([stage(Length(seconds=5), ends=True)], [model]))
    record.remember(store.here(), chain)
    found = chains.find(store.here(), record.id_of(chain))
    assert found is not None and found.entries[0].clip == chain.clips[0] and found.entries[0].clip.surplus == 1
    opened = record.opened(store.here(), found, model, 1, 1)
    assert check_stage(stage(Length(seconds=5)), model, opened).clip.asked_end == 160


# ---- stages longer than a model does well


@given(BUNDLES, st.floats(0.5, 200), st.sampled_from(Transition), st.floats(0.5, 8), st.booleans(), st.booleans())
def test_a_long_stage_as_a_chain_ends_where_it_would_end_as_one(model, seconds, transition, opening, ends, framed):
    step = model.family.grid.step
    length = Length(seconds=seconds) if not framed else Length(frames=int(seconds * 3) * step + 1)
    whole = stage(length, Join.of(transition, step + 1, 8), ends)
    try:
        chain = check_stage(stage(Length(seconds=opening)), model, None).behind(None, model)
        one = check_stage(whole, model, chain)
    except Refusal:
        assume(False)
    parts = split_stage(whole, model, chain)
    ready = check_stages(parts, [model] * len(parts), chain)
    assert ready[-1].clip.asked_end - ready[-1].clip.surplus == one.clip.asked_end - one.clip.surplus
    assert film_frames(behind(ready, chain).clips) == ready[-1].clip.asked_end
    assert len(parts) == 1 or all(part.clip.frames <= model.variant.clip_frames for part in ready)
    assert (len(parts) > 1) == any("long_stages: chain" in note for note in one.notes)
    assert not any("long_stages" in note for part in ready for note in part.notes) or len(parts) == 1
    assert [part.end_image is not None for part in parts] == [False] * (len(parts) - 1) + [ends]
    assert len({part.seed for part in parts}) == len(parts)


def test_thirty_seconds_of_wan_are_seven_stages_that_it_does_well() -> None:
    model = bundle(WAN_14B)
    parts = split_stage(stage(Length(seconds=30), ends=True, image_strength=1.0), model, None)
    ready = check_stages(parts, [model] * len(parts))
    assert [one.clip.frames for one in ready] == [81, 81, 81, 81, 81, 53, 53]
    assert ready[-1].clip.asked_end - ready[-1].clip.surplus == 480
    assert [one.stage.join.transition.value for one in ready] == ["cut"] + ["smooth"] * 6
    assert [one.start_image is not None for one in parts] == [True] + [False] * 6
    assert [one.seed for one in parts] == [0, 1000, 2000, 3000, 4000, 5000, 6000]


def test_keyframes_of_a_long_stage_go_to_the_stage_that_shows_them() -> None:
    from longtake.pipelines.model.shot import Keyframe

    model = bundle(LTX)
    keys = tuple(Keyframe(IMAGE, frame) for frame in (60, 120, 121, 700, -1))
    whole = stage(Length(seconds=30), keyframes=keys)
    parts = split_stage(whole, model, None)
    ready = check_stages(parts, [model] * len(parts))
    placed = sorted(one.start + key.frame for one in ready for key in one.stage.keyframes)
    assert placed == [60, 120, 121, 700, 719]
    for one in ready:
        assert all(one.stage.join.overlap <= key.frame < one.shown for key in one.stage.keyframes)


def test_a_take_is_of_one_stage_and_no_long_one() -> None:
    with pytest.raises(Refusal, match="stage 1, take: a long stage becomes many"):
        split_stage(stage(Length(seconds=30), take=2), bundle(WAN_14B), None)
