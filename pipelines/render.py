"""Rendering the stages of a chain that are not stored yet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .chain import Chain, Transition
from .errors import Refusal
from .film.thumbnail import thumbnail
from .stage import Ready, encode_prompts, facts_of, render_latents
from .tail import tail_of
from .takes import chains, housekeeping, numbers, store
from .takes.keys import Planned, look_up
from .takes.resume import NOT_KEPT, Checkpoint

if TYPE_CHECKING:
    import torch

    from .bundle.model import VideoModel
    from .progress import Progress
    from .takes.identity import Identity
    from .takes.take import Take


class StageFailed(RuntimeError):
    """A stage that could not be rendered; the message names it and says what is kept."""


def render_stages(ready: Sequence[Ready], progress: Progress, chain: Chain | None = None) -> Chain:
    """The chain with checked stages at its end: stored ones from the store, the others rendered.

    All prompts of stages that render are read first, so that the text encoder is loaded once; where every stage is
    stored nothing is loaded. Each stage is kept as soon as it is finished, and so is the chain up to it.

    Raises:
        StageFailed: naming the stage; those before it are stored, and their chain opens with Load Chain.
    """
    planned = look_up(ready, chain)
    missing = [one.ready for one in planned if one.take is None]
    prompts = iter(encode_prompts(missing, progress) if missing else ())
    for one in planned:
        if one.take is not None:
            progress.stored(one.ready.number, one.ready.sampling.steps, one.take.key)
            chain = one.ready.behind(chain, one.ready.model, one.take)
        else:
            progress.stage(one.ready.number)
            with _named(one.ready.number, chain, progress):
                take = _render(one, chain, *next(prompts), progress)
            chain = one.ready.behind(chain, one.ready.model, take)
            progress.finished(one.ready.number, take.key)
        chains.remember(store.here(), chain)
    if chain is None:
        raise Refusal("a chain needs at least one stage.", field="stages")
    return chain


def _render(
    one: Planned,
    chain: Chain | None,
    positive: list[Any],
    negative: list[Any],
    progress: Progress,
) -> Take:
    started = time.monotonic()
    stage, model, tail = one.ready.stage, one.ready.model, None
    if stage.join.transition is Transition.SMOOTH and chain is not None:
        progress.doing("taking over the end of the stage before")
        tail = tail_of(chain.links[-1], stage.join.overlap, stage.carry)
        if stage.soundtrack is not None:
            tail = replace(tail, audio=None, sound_offset=Fraction(0))
    progress.doing("loading the model and the images")
    facts = {**facts_of(one.ready, model), "sound_offset": "0" if tail is None else str(tail.sound_offset)}
    with checkpoint_of(one.identity, progress) as checkpoint:
        tensors = render_latents(one.ready, model, tail, positive, negative, progress, checkpoint)
        return keep(one.identity, model, tensors, facts, time.monotonic() - started)


def keep(
    called: Identity, model: VideoModel, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any], seconds: float
) -> Take:
    """Store what was rendered, with a thumbnail, under its key and the next number of its place.

    Args:
        facts: what made it, as JSON values.
        seconds: that rendering took.
    """
    shelf = store.here()
    picture = thumbnail(model, tensors["latent"])
    if picture is not None:
        tensors = {**tensors, "thumbnail": picture}
    numbered = {
        "place": called.place,
        "take": numbers.claim(shelf, called.place, called.key),
        "rendering_seconds": round(seconds, 3),
        "unidentified": called.unidentified,
    }
    take = shelf.write(called.key, tensors, {**facts, **numbered, **versions()})
    housekeeping.keep_to_limit(shelf)
    return take


@contextmanager
def checkpoint_of(called: Identity, progress: Progress) -> Iterator[Checkpoint | None]:
    """Where something is kept while it is rendered and until it is stored, both of which happen inside.

    None where its take has no name to be found again by, which is said.

    Raises:
        Refusal: what is rendered could not be stored.
    """
    store.here().check_writable()
    if called.unidentified:
        progress.doing(f"{NOT_KEPT}: {called.unidentified}")
        yield None
        return
    shelf = store.here()
    housekeeping.forget_checkpoints(shelf)
    with Checkpoint(shelf.checkpoint_path(called.key), progress.doing) as checkpoint:
        yield checkpoint
        checkpoint.remove()


def versions() -> dict[str, str]:
    """What rendered a take; recorded, and no part of its key."""
    import comfyui_version
    import torch

    return {"torch": torch.__version__, "comfyui": comfyui_version.__version__}


@contextmanager
def _named(number: int, before: Chain | None, progress: Progress) -> Iterator[None]:
    """Let an error name its stage and say what is kept. A cancel and an empty GPU stay what they are to ComfyUI."""
    from comfy.model_management import InterruptProcessingException, is_oom

    try:
        yield
    except InterruptProcessingException:
        progress.doing(f"cancelled.{_kept(before)}")
        raise
    except Refusal as refusal:
        raise refusal.at(stage=number) from None
    except Exception as error:
        message = f"stage {number}: {error or type(error).__name__}{_kept(before)}"
        if is_oom(error):
            error.args = (message, *error.args[1:])
            raise
        raise StageFailed(message) from error


def _kept(chain: Chain | None) -> str:
    if chain is None:
        return ""
    count = len(chain.links)
    what = "Stage 1 is" if count == 1 else f"Stages 1 to {count} are"
    return (
        f"\n{what} stored: queued again, this goes on from there; Load Chain opens them as chain {chains.id_of(chain)}."
    )
