"""Whether a stage can be rendered as it was asked for; nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..chain.chain import Chain, check_same_film
from ..document import MAX_SEED
from ..errors import Refusal
from ..media.pictures import check_single
from ..model.variant import Mode, Settings, check_size
from ..timeline.clips import Carry, Clip, Format, Transition, starts
from ..timeline.plan import is_long, piece_of, pieces, plan_clip, remarks
from .guides import check_given
from .stage import Ready, Stage, mode_of

if TYPE_CHECKING:
    from ..model.bundle import VideoModel


def check_stage(stage: Stage, model: VideoModel, chain: Chain | None, sampling_known: bool = True) -> Ready:
    """Plan a stage behind a chain, before anything is loaded.

    Args:
        sampling_known: False where the stage's settings are still to be made; then nothing is said of them.

    Raises:
        Refusal: naming the stage and the field, when the stage cannot be rendered as asked.
    """
    number = 1 if chain is None else len(chain.links) + 1
    try:
        if chain is not None:
            check_same_film(model, chain.family, chain.fps)
            _check_tail(stage, chain)
        width, height = _size(stage, model, chain)
        _check_mode(stage, model)
        sampling = _sampling(stage, model) if sampling_known else model.variant.sampling
        if not 0 <= stage.seed <= MAX_SEED:
            raise Refusal(f"{stage.seed} given; a whole number from 0 to {MAX_SEED} is needed.", field="seed")
        before = () if chain is None else chain.clips
        clip = plan_stage(stage, model, chain)
        ready = Ready(stage, model, clip, width, height, sampling, number, starts((*before, clip))[-1])
        _check_room(ready)
        check_given(stage, model, clip, ready.shown)
    except Refusal as refusal:
        raise refusal.at(stage=number) from None
    return replace(ready, notes=tuple(remarks(before, clip, format_of(model))))


def plan_stage(stage: Stage, model: VideoModel, chain: Chain | None) -> Clip:
    """The clip of a stage behind a chain; raises `Refusal` as `plan_clip` does."""
    before = () if chain is None else chain.clips
    to_grid = stage.end_image is not None and not model.variant.ends_anywhere
    return plan_clip(before, stage.length, stage.join, model.family.grid, model.fps, to_grid)


def format_of(model: VideoModel) -> Format:
    variant = model.variant
    return Format(
        model.family.grid,
        model.fps,
        variant.clip_frames,
        variant.overlap,
        ends_anywhere=variant.ends_anywhere,
        longest=variant.longest,
    )


def split_stage(stage: Stage, model: VideoModel, chain: Chain | None) -> list[Stage]:
    """A stage that is longer than its model does well as stages that it does; any other as it is.

    Raises:
        Refusal: naming the stage and the field.
    """
    before = () if chain is None else chain.clips
    clip = plan_stage(stage, model, chain)
    if not is_long(before, clip, format_of(model)):
        return [stage]
    try:
        if stage.take:
            raise Refusal("a long stage becomes many, and a take is of one; leave it at 0.", field="take")
        # A cut or a fade says nothing of an overlap.
        parts = pieces(before, clip, format_of(model), stage.join.overlap or model.variant.overlap)
    except Refusal as refusal:
        raise refusal.at(stage=len(before) + 1) from None
    shown = clip.asked_end - starts((*before, clip))[-1]
    whole = replace(stage, keyframes=tuple(replace(key, frame=key.frame % shown) for key in stage.keyframes))
    return [replace(whole, join=part.join, **piece_of(whole, parts, index)) for index, part in enumerate(parts)]


def check_stages(
    stages: Sequence[Stage], models: Sequence[VideoModel], chain: Chain | None = None, sampling_known: bool = True
) -> list[Ready]:
    """Plan stages one behind the other, before anything is loaded; raises `Refusal` like `check_stage`.

    Args:
        models: the bundle of each stage.
        sampling_known: as of `check_stage`.
    """
    ready = []
    for stage, model in zip(stages, models, strict=True):
        ready.append(check_stage(stage, model, chain, sampling_known))
        chain = ready[-1].behind(chain, model)
    return ready


def _check_tail(stage: Stage, chain: Chain) -> None:
    smooth = stage.join.transition is Transition.SMOOTH
    if smooth and chain.links[-1].footage is not None and stage.join.carry is not Carry.PIXELS:
        raise Refusal(
            f"{stage.join.carry.value} cannot be carried over from a video, which has none; use pixels.",
            field="carry_over",
        )


def _size(stage: Stage, model: VideoModel, chain: Chain | None) -> tuple[int, int]:
    default = (model.variant.width, model.variant.height) if chain is None else (chain.width, chain.height)
    width, height = stage.width or default[0], stage.height or default[1]
    check_size(width, height, model.variant)
    if chain is not None and (width, height) != default:
        raise Refusal(
            f"{width}x{height} given, but the chain is {chain.width}x{chain.height}; all stages of a chain share one "
            "size (automatic follows the chain).",
            field="width" if width != chain.width else "height",
        )
    return width, height


def _check_mode(stage: Stage, model: VideoModel) -> None:
    variant, mode = model.variant, mode_of(stage)
    smooth = stage.join.transition is Transition.SMOOTH
    if stage.until is not None and stage.end_image is not None:
        raise Refusal("the stage after it says where it ends; disconnect the image.", field="end_image")
    if mode is Mode.TO_LAST and mode not in variant.modes:
        if stage.until is not None:
            raise Refusal("it ends on the stage after it, and needs a start image too.", field="start_image")
        raise Refusal("an end image needs a start image, or a stage before it to continue.", field="end_image")
    if smooth and stage.start_image is not None:
        raise Refusal(
            "a smooth stage starts from the end of the stage before it and cannot take a start image too. "
            "Choose transition cut or fade, or disconnect the image.",
            field="start_image",
        )
    if mode not in variant.modes:
        able = [v.name for v in model.family.variants if mode in v.modes]
        if smooth:
            hint = f"Give this stage a bundle of {' or '.join(able)}, or choose transition cut."
        elif mode is Mode.TEXT:
            hint = f"Connect a start image, or use a bundle of {' or '.join(able)}."
        else:
            hint = f"Use a bundle of {' or '.join(able)}, or disconnect the images."
        field = "transition" if smooth else "start_image"
        raise Refusal(f"{variant.name} cannot {mode.value}. {hint}", field=field)
    if smooth and stage.join.carry not in variant.carries:
        raise Refusal(
            f"{variant.name} has no carry-over {stage.join.carry.value}; it has "
            f"{', '.join(sorted(c.value for c in variant.carries))}.",
            field="carry_over",
        )
    anchored = stage.anchor_image is not None
    model.family.check(variant, mode, stage.join.carry if smooth else None, stage.join.overlap, anchored)
    for field in ("start_image", "end_image", "anchor_image"):
        image = getattr(stage, field)
        if image is not None and not callable(image):
            check_single(image, field)


def _sampling(stage: Stage, model: VideoModel) -> Settings:
    published = model.variant.sampling
    sampling = (stage.sampling or published).filled(published)
    if stage.image_strength is not None:
        sampling = sampling.with_image_strength(stage.image_strength)
    sampling.check()
    model.family.check_settings(model, sampling)
    return sampling


def _check_room(ready: Ready) -> None:
    """Refuse a stage too short to show both images it is given."""
    stage = ready.stage
    if ready.shown < 2 and stage.start_image is not None and stage.end_image is not None:
        raise Refusal("it shows 1 frame, which cannot be both images; make the stage longer.", field="end_image")
