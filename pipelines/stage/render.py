"""Rendering stages: those of a chain that are not stored yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any

from ..chain import record
from ..chain.chain import Chain
from ..chain.tail import tail_of
from ..errors import Refusal
from ..media.pictures import fit, pixels
from ..model.shot import Keyframe, Pictures, Shot
from ..progress import step_by_step
from ..sampling.resume import NOT_KEPT, Checkpoint
from ..takes import housekeeping, numbers
from ..takes.claim import claimed
from ..timeline.clips import Transition
from .guides import given_sound
from .keys import Planned, look_up
from .prompts import Prompts
from .stage import Ready, Stage
from .thumbnail import thumbnail

if TYPE_CHECKING:
    import torch

    from ..identity import Identity
    from ..model.bundle import VideoModel
    from ..model.shot import Ending, Tail
    from ..progress import Progress
    from ..takes.store import Store
    from ..takes.take import Take

log = logging.getLogger(__name__)

POLL = 0.5  # seconds between two looks at a stage that another server renders
SAID_EVERY = 5  # seconds between two words about it


class StageFailed(RuntimeError):
    """A stage that could not be rendered; the message names it and says what is kept."""


def render_stages(
    store: Store,
    ready: Sequence[Ready],
    progress: Progress,
    chain: Chain | None = None,
    chosen: Collection[int] | None = None,
) -> Chain:
    """The chain with checked stages at its end: stored ones from the store, the others rendered.

    Prompts of stages that render are read some at a time, so that the text encoder is seldom loaded; where every stage
    is stored nothing is loaded. Each stage is kept as soon as it is finished, and so is the chain up to it and the
    stored stages that follow.

    Args:
        chosen: numbers of the stages to render; one of the others that is not stored is only planned in the answer.
            None renders all of them.

    Raises:
        StageFailed: naming the stage; those before it are stored, and their chain opens with Load Chain.
        Refusal: a chosen stage goes on from one that is neither chosen nor stored.
    """
    if chain is not None and chain.links[-1].footage is not None:
        progress.doing("reading the video")
    stages = look_up(store, ready, chain)
    numbers = {planned.ready.number for planned in stages}
    chosen = numbers if chosen is None else numbers.intersection(chosen)
    _check_followed(stages, chosen)
    new = [planned.ready for planned in stages if planned.take is None and planned.ready.number in chosen]
    prompts = Prompts(new, progress)
    for planned, following in zip_longest(stages, stages[1:]):
        take = planned.take
        if planned.ready.number in chosen:
            with _naming_the_stage(planned.ready.number, chain, progress):
                take = take_of(store, planned, chain, prompts, progress)
        chain = planned.ready.behind(chain, planned.ready.model, take)
        if chain.rendered and (following is None or following.take is None):
            record.remember(store, chain)
    if chain is None:
        raise Refusal("a chain needs at least one stage.", field="stages")
    return chain


def _check_followed(stages: Sequence[Planned], chosen: Collection[int]) -> None:
    """Refuse a chosen stage that goes on from one that will not be there."""
    for before, planned in pairwise(stages):
        number = planned.ready.number
        follows = planned.take is None and planned.ready.stage.join.transition is Transition.SMOOTH
        if follows and number in chosen and before.take is None and number - 1 not in chosen:
            raise Refusal(
                f"stage {number} goes on from stage {number - 1}, which is not stored; choose {number - 1}-{number}",
                field="stages",
            )


def take_of(store: Store, planned: Planned, chain: Chain | None, prompts: Prompts, progress: Progress) -> Take:
    """The take of a planned stage behind a chain: the stored one, or one that is rendered now."""
    render = partial(_render, store, planned, chain, prompts, progress)
    ready = planned.ready
    return stored_or_rendered(
        store, planned.identity, planned.take, render, progress, ready.number, ready.sampling.steps
    )


def stored_or_rendered(
    store: Store,
    identity: Identity,
    take: Take | None,
    render: Callable[[Checkpoint | None], Take],
    progress: Progress,
    number: int,
    steps: int,
) -> Take:
    """A take that was found, or one that is rendered now, which of the two being said.

    Args:
        take: None where it is not stored.
        render: as of `render_once`.
        number, steps: of the stage.
    """
    rendered = False
    if take is None:
        progress.stage(number)
        take, rendered = render_once(store, identity, progress, render)
    if rendered:
        progress.finished(number, take.key)
    else:
        progress.stored(number, steps, take.key)
    return take


def render_once(
    store: Store, identity: Identity, progress: Progress, render: Callable[[Checkpoint | None], Take]
) -> tuple[Take, bool]:
    """A take that is not stored yet, and whether it was rendered here: another server may be faster, and is waited for.

    Args:
        render: renders and keeps it; given where it is kept while it is rendered, or None where its take has no name
            to be found again by, which is said.

    Raises:
        Refusal: what is rendered could not be stored.
    """
    store.check_writable()
    if identity.unidentified:
        progress.doing(f"{NOT_KEPT}: {identity.unidentified}")
        return render(None), True
    waited = 0
    while True:
        with claimed(store.root, identity.key) as held:
            # Somebody may have stored it between the look that missed it and this claim.
            take = store.find(identity.key) if held is not None or store.take(identity.key) is not None else None
            if take is not None:
                return take, False
            if held is not None:
                housekeeping.forget_checkpoints(store)
                with Checkpoint(store.checkpoint_path(identity.key), progress.doing, held) as checkpoint:
                    take = render(checkpoint)
                    checkpoint.remove()
                    return take, True
        _wait(waited, progress)
        waited += 1


def _wait(waited: int, progress: Progress) -> None:
    """Wait a little for the server that renders this stage; a cancel ends it."""
    from comfy.model_management import throw_exception_if_processing_interrupted

    throw_exception_if_processing_interrupted()
    seconds = waited * POLL
    if seconds % SAID_EVERY == 0:
        progress.doing(f"another server renders it; waiting for its take ({seconds:.0f} s)")
    time.sleep(POLL)


def _render(
    store: Store,
    planned: Planned,
    chain: Chain | None,
    prompts: Prompts,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> Take:
    started = time.monotonic()
    ready, stage, model, tail = planned.ready, planned.ready.stage, planned.ready.model, None
    positive, negative = prompts.of(ready)
    if stage.join.transition is Transition.SMOOTH and chain is not None:
        progress.doing("taking over the end of the stage before")
        tail = tail_of(chain.links[-1], stage.join)
        if stage.soundtrack is not None:
            tail = replace(tail, audio=None, sound_offset=Fraction(0))
    progress.doing("loading the model and the images")
    facts = {**facts_of(ready), "sound_offset": "0" if tail is None else str(tail.sound_offset)}
    tensors = render_latents(ready, model, tail, positive, negative, progress, checkpoint)
    return keep(store, planned.identity, model, tensors, facts, time.monotonic() - started)


def keep(
    store: Store,
    identity: Identity,
    model: VideoModel,
    tensors: Mapping[str, torch.Tensor],
    facts: Mapping[str, Any],
    seconds: float,
) -> Take:
    """Store what was rendered, with a thumbnail, under its key and the next number of its place.

    Args:
        facts: what made it beside the model, as JSON values.
        seconds: that rendering took.
    """
    picture = _thumbnail(model, tensors["latent"])
    if picture is not None:
        tensors = {**tensors, "thumbnail": picture}
    made_by = {
        "family": model.family.name,
        "variant": model.variant.name,
        "renderer": model.family.renderer,
        "fps": str(model.fps),
        "loras": [lora.facts() for lora in model.loras],
    }
    numbered = {
        "place": identity.place,
        "take": numbers.claim(store, identity.place, identity.key),
        "rendering_seconds": round(seconds, 3),
        "unidentified": identity.unidentified,
    }
    take = store.write(identity.key, tensors, {**made_by, **facts, **numbered, **versions()})
    try:
        housekeeping.keep_to_limit(store)
    except Exception:  # whatever it is, the take is stored
        log.warning("Longtake: the store could not be kept to its limit", exc_info=True)
    return take


def _thumbnail(model: VideoModel, latent: torch.Tensor) -> torch.Tensor | None:
    try:
        return thumbnail(model, latent)
    except Exception:  # a stage that took an hour is not lost for its picture in a list
        log.warning("Longtake: a take is stored without a thumbnail", exc_info=True)
        return None


def versions() -> dict[str, str]:
    """What rendered a take; recorded, and no part of its key."""
    import comfyui_version
    import torch

    return {"torch": torch.__version__, "comfyui": comfyui_version.__version__}


@contextmanager
def _naming_the_stage(number: int, before: Chain | None, progress: Progress) -> Iterator[None]:
    """Let an error name its stage and say what is kept. A cancel and an empty GPU stay what they are to ComfyUI."""
    from comfy.model_management import InterruptProcessingException, is_oom

    try:
        yield
    except InterruptProcessingException:
        progress.doing(f"cancelled.{_stages_kept(before)}")
        raise
    except Refusal as refusal:
        raise refusal.at(stage=number) from None
    except Exception as error:
        message = f"stage {number}: {str(error) or type(error).__name__}{_stages_kept(before)}"
        if is_oom(error):
            error.args = (message, *error.args[1:])
            raise
        raise StageFailed(message) from error


def _stages_kept(chain: Chain | None) -> str:
    stored = None if chain is None else record.stored(chain)
    if chain is None or stored is None:
        return ""
    last = len(chain.links)
    first = last - len(stored.entries) + 1
    what = f"Stage {last} is" if first == last else f"Stages {first} to {last} are"
    return f"\n{what} stored: queued again, this goes on from there; Load Chain opens them as chain {stored.id}."


def render_latents(
    ready: Ready,
    model: VideoModel,
    tail: Tail | None,
    positive: list[Any],
    negative: list[Any],
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> dict[str, torch.Tensor]:
    """Denoise a checked stage: `latent` `[1, C, T, h, w]` in VAE space and, where there is sound, `audio`."""
    stage = ready.stage
    ending = None if stage.until is None else stage.until.ending(model)
    pictures = _pictures(stage, ending, ready.shown, ready.width, ready.height)
    sound = given_sound(stage, model, ready.clip, ready.start)
    shot = Shot(
        frames=ready.clip.frames,
        width=ready.width,
        height=ready.height,
        positive=positive,
        negative=negative,
        settings=ready.sampling,
        seed=stage.seed,
        on_step=step_by_step(progress, ready.sampling.steps),
        tail=tail,
        pictures=pictures,
        ending=ending,
        sound=sound,
        checkpoint=checkpoint,
    )
    return model.family.sample(model, shot)


def facts_of(ready: Ready) -> dict[str, Any]:
    """What made a take beside its model, as JSON values."""
    stage = ready.stage
    return {
        "stage": ready.number,
        "prompt": stage.prompt,
        "negative_prompt": stage.negative_prompt,
        "seed": stage.seed,
        "width": ready.width,
        "height": ready.height,
        "frames": ready.clip.frames,
        "transition": stage.join.transition.value,
        "overlap": stage.join.overlap,
        "fade_frames": stage.join.fade_frames,
        "carry_over": stage.join.carry.value,
        **ready.sampling.facts(),
    }


def _pictures(stage: Stage, ending: Ending | None, shown: int, width: int, height: int) -> Pictures:
    def fitted(field: str) -> torch.Tensor | None:
        image = getattr(stage, field)
        return None if image is None else fit(pixels(image), width, height)

    keyframes = tuple(
        Keyframe(fit(pixels(key.image), width, height), key.frame % shown, key.strength) for key in stage.keyframes
    )
    end = fitted("end_image") if ending is None else ending.frames
    return Pictures(fitted("start_image"), end, fitted("anchor_image"), stage.anchor_strength, keyframes, shown - 1)
