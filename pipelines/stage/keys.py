"""The key of a stage: everything that can change what it renders, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ..chain.chain import Chain, Link
from ..errors import Refusal
from ..identity import Identity, Source, identity
from ..takes.numbers import numbered
from ..takes.take import Take
from ..timeline.clips import Transition
from .guides import heard_soundtrack

if TYPE_CHECKING:
    from ..model.bundle import VideoModel
    from ..model.part import Part
    from ..takes.store import Store
    from .stage import Ready

# How long a stage is and how it joins count as the frames and the pinned tail they come to, a soundtrack as what is
# heard of it with the stage: a longer film finds its stored takes.
_RESOLVED = frozenset({"length", "width", "height", "join", "sampling", "take", "soundtrack", "image_strength"})
_REROLLED = frozenset({"prompt", "negative_prompt", "seed", "until"})


@dataclass(frozen=True)
class Before:
    """The stage before, as far as a key depends on it: its take, and what decodes its tail."""

    key: str
    vae: Part
    audio_vae: Part | None


@dataclass(frozen=True)
class Planned:
    """A checked stage, what its take is called, and that take where it is stored already."""

    ready: Ready
    identity: Identity
    take: Take | None


def look_up(store: Store, ready: Sequence[Ready], chain: Chain | None = None) -> list[Planned]:
    """Name the takes of stages that follow one another, and find those that are stored. Nothing is loaded.

    Args:
        chain: what the first of them follows.

    Raises:
        Refusal: a stage asks for a take by a number that its stage has not.
    """
    before = None if chain is None else before_of(chain.links[-1])
    planned = []
    for stage in ready:
        try:
            identified = stage_identity(stage, stage.model, before)
        except Refusal as refusal:
            raise refusal.at(stage=stage.number) from None
        take = _stored(store, identified, stage)
        planned.append(Planned(stage, identified, take))
        before = _before(identified.key if take is None else take.key, stage.model)
    return planned


def before_of(link: Link) -> Before:
    """A stage of a chain, or the video it begins with, as what the next one follows."""
    key = link.footage.key if link.footage is not None else link.rendered.key
    return _before(key, link.model)


def _before(key: str, model: VideoModel) -> Before:
    return Before(key, model.vae, model.audio_vae)


def stage_identity(ready: Ready, model: VideoModel, before: Before | None) -> Identity:
    """What the take of a stage is called.

    The stage before counts only where its tail is used: what a cut or a fade shows does not depend on it. Where it
    belongs to a film does, so that takes are numbered for each stage of each film.
    """
    stage = ready.stage
    shared: dict[str, Any] = {
        field.name: _read(getattr(stage, field.name)) for field in fields(stage) if _shared(field.name)
    }
    shared |= {"keyframes": tuple(replace(key, image=_read(key.image)) for key in stage.keyframes)}
    shared |= {"frames": ready.clip.frames, "width": ready.width, "height": ready.height}
    shared |= {"family": model.family.name, "fps": model.fps}
    shared |= {"soundtrack": heard_soundtrack(stage, model, ready.clip, ready.start)}
    # Images that count from the end of the stage, which need not be that of the clip.
    counted = stage.end_image is not None or stage.keyframes
    shared |= {"shown": ready.shown if counted else None}
    if stage.join.transition is Transition.SMOOTH and before is not None:
        shared |= {"tail_of": before, "overlap": stage.join.overlap, "carry": stage.join.carry}
    ingredients = {
        **shared,
        **{name: getattr(stage, name) for name in _REROLLED},
        "sampling": ready.sampling,
        "model": model_ingredients(model),
        "embeddings": embeddings_in(stage.prompt + stage.negative_prompt),
    }
    return identity(ingredients, {**shared, "after": None if before is None else before.key, "tail_of": None})


def model_ingredients(model: VideoModel) -> dict[str, Any]:
    """Every field of a bundle that says what it renders; the tables of its family are not the model."""
    parts = {field.name: getattr(model, field.name) for field in fields(model) if field.compare}
    return {
        **parts,
        "loras": model.loras,
        "family": model.family.name,
        "variant": model.variant.name,
        "published": model.variant.sampling,
    }


def _read(value: Any) -> Any:
    """An image that is read when it is used counts as what it shows."""
    return value() if callable(value) else value


def _shared(name: str) -> bool:
    return name not in _RESOLVED and name not in _REROLLED


def embeddings_in(text: str) -> Mapping[str, Any]:
    """Prompts may name files of the embeddings folder; then what is in that folder counts."""
    if "embedding:" not in text:
        return {}
    import folder_paths

    names = folder_paths.get_filename_list("embeddings")
    # Under the names of one system, for a store that several kinds share.
    return {
        name.replace(os.sep, "/"): Source((folder_paths.get_full_path_or_raise("embeddings", name),)) for name in names
    }


def _stored(store: Store, identified: Identity, ready: Ready) -> Take | None:
    if not ready.stage.take:
        return None if identified.unidentified else store.find(identified.key)
    numbers = numbered(store, identified.place)
    chosen = numbers.get(ready.stage.take)
    take = None if chosen is None else store.find(chosen.key)
    if take is None:
        have = ", ".join(map(str, numbers)) or "none yet"
        raise Refusal(
            f"{ready.stage.take} is given; stored takes of this stage: {have}. Without a take it is rendered as asked.",
            stage=ready.number,
            field="take",
        )
    return take
