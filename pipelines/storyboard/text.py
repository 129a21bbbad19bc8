"""Storyboards as text: JSON, TOML or one prompt a line, read strictly and written back as JSON.

    {"schema": "longtake.storyboard.v1",
     "defaults": {"seconds": 5, "seed": 7, "start_image": "harbour.png"},
     "stages": [{"prompt": "a boat leaves the harbour"}, {"prompt": "open sea", "transition": "fade"}]}

`defaults` fill in what a stage leaves out; their `start_image` belongs to the first stage alone, their `anchor_image`
to all others. A `prompt_prefix` stands before the prompt.

With `total_seconds` or `total_frames` one prompt is carried over as many smooth stages as it takes, none longer than
its `seconds` or `frames`. With `"long_stages": "chain"` a stage that is longer than the model does well becomes as many
smooth stages as it takes, together as long; its `overlap` and `carry_over` are theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .. import document as doc
from ..errors import Refusal
from ..lora.choice import read_loras
from ..timeline.clips import Length, Transition
from . import mold_script
from .keyframes import read_keyframes
from .storyboard import StageEntry, Storyboard, seed_of, stated

SCHEMA = "longtake.storyboard.v1"

JOIN_FIELDS: dict[str, doc.Check] = {
    "transition": doc.one_of("smooth", "cut", "fade"),
    "overlap": doc.overlap,
    "carry_over": doc.one_of("pixels", "latents", "svi"),
    "fade_frames": doc.count,
}
OWNERS = {"overlap": Transition.SMOOTH, "carry_over": Transition.SMOOTH, "fade_frames": Transition.FADE}
DEFAULTS: dict[str, doc.Check] = {
    "prompt": doc.prompt,
    "prompt_prefix": doc.text,
    "negative_prompt": doc.text,
    "seconds": doc.seconds,
    "frames": doc.count,
    "seed": doc.seed,
    **JOIN_FIELDS,
    "start_image": doc.image_name,
    "anchor_image": doc.image_name,
    "anchor": doc.one_of("start_image", "none"),
    "anchor_strength": doc.strength,
    "soundtrack": doc.sound_name,
    "width": doc.count,
    "height": doc.count,
    "loras": read_loras,
}
STAGE: dict[str, doc.Check] = {name: check for name, check in DEFAULTS.items() if name not in ("width", "height")}
STAGE["end_image"] = doc.image_name
STAGE["image_strength"] = doc.strength
STAGE["keyframes"] = read_keyframes
STAGE["take"] = doc.count
BOARD: dict[str, doc.Check] = {
    "schema": doc.text,
    "title": doc.text,
    "defaults": doc.anything,
    "stages": doc.tables,
    "total_seconds": doc.seconds,
    "total_frames": doc.count,
    "long_stages": doc.one_of("one clip", "chain"),
}


def parse(text: str) -> Storyboard:
    """Read a storyboard: JSON if it starts with a brace, TOML if it names a schema or opens a table, else prompts.

    Raises:
        Refusal: a malformed document, with line and column; an unknown schema; an unknown, missing or impossible field,
            with its stage. Always one line.
    """
    try:
        doc.check_size(text)
        return _parse(text)
    except Refusal as refusal:
        raise doc.brief(refusal) from None


def _parse(text: str) -> Storyboard:
    text = text.lstrip("\ufeff")
    if text.lstrip().startswith("{"):
        return _read(doc.read_json(text))
    if doc.looks_like_toml(text):
        table = doc.read_toml(text)
        scripted = "stages" not in table and ("stage" in table or "chain" in table)
        return _read({"schema": mold_script.SCHEMA, **table} if scripted else table)
    return _read({"stages": [{"prompt": prompt} for prompt in doc.read_prompts(text)]})


def to_json(board: Storyboard) -> str:
    """The storyboard as canonical JSON; `parse` reads it back to an equal one."""
    size = stated(board, "width", "height")
    document: dict[str, Any] = {"schema": SCHEMA}
    if board.title:
        document["title"] = board.title
    if size:
        document["defaults"] = size
    document |= stated(board, "total_frames", "total_seconds", "long_stages")
    document["stages"] = []
    for index, entry in enumerate(board.stages):
        length = stated(entry.length, "frames", "seconds") if entry.length else {}
        # The first stage is always a cut, and a total's first stage speaks for smooth ones: neither is written.
        transition = {"transition": entry.transition.value} if index else {}
        joined = stated(entry, "overlap", "fade_frames", "carry_over")
        words = {"prompt": entry.prompt, "negative_prompt": entry.negative_prompt}
        document["stages"].append({**words, **length, "seed": entry.seed, **transition, **joined, **entry.named()})
    return json.dumps(document, ensure_ascii=False, indent=2)


def _read(document: Any) -> Storyboard:
    schema = document.get("schema", SCHEMA)
    if schema == mold_script.SCHEMA:
        return _board(*mold_script.to_storyboard(document))
    if schema != SCHEMA:
        raise Refusal(f"{doc.quoted(schema)} is not known; use {SCHEMA} or {mold_script.SCHEMA}", field="schema")
    return _board(document, ())


def _board(document: Mapping[str, Any], notes: tuple[str, ...]) -> Storyboard:
    top = doc.read_fields(document, BOARD)
    defaults = doc.read_fields(top.get("defaults", {}), DEFAULTS, inside="defaults")
    _check_one_length(defaults, None, "defaults.frames")
    tables = top.get("stages", [])
    total = _total(top, tables, defaults)
    long_stages = "chain" if top.get("long_stages") == "chain" else None
    if not tables and not total:
        raise Refusal("there is none; give at least one stage", field="stages")

    written = list(notes)
    stages = []
    for number, table in enumerate(tables or [{}], 1):
        fields = doc.read_fields(table, STAGE, stage=number)
        _check_one_length(fields, number, "frames")
        if total and fields.get("transition", "smooth") != "smooth":
            raise Refusal(_only_smooth(total), stage=number, field="transition")
        try:
            stages.append(_entry(fields, defaults, number, bool(total), bool(long_stages), written))
        except Refusal as refusal:
            raise refusal.at(stage=number) from None
    return Storyboard(
        tuple(stages),
        defaults.get("width"),
        defaults.get("height"),
        top.get("total_frames"),
        top.get("total_seconds"),
        top.get("title", ""),
        long_stages,
        tuple(written),
    )


def _total(top: dict[str, Any], tables: list[Any], defaults: dict[str, Any]) -> str | None:
    """Which total the document asks for, if any."""
    totals = [name for name in ("total_frames", "total_seconds") if name in top]
    if len(totals) == 2:
        raise Refusal("total_seconds is given too; keep one of the two", field="total_frames")
    if not totals:
        return None
    if len(tables) > 1:
        raise Refusal(
            f"a total carries one prompt over many stages, and {len(tables)} stages are given; keep one stage, or "
            "leave the total out and give each stage its seconds",
            field=totals[0],
        )
    if defaults.get("transition", "smooth") != "smooth":
        raise Refusal(_only_smooth(totals[0]), field="defaults.transition")
    return totals[0]


def _entry(
    fields: dict[str, Any], defaults: dict[str, Any], number: int, expands: bool, splits: bool, notes: list[str]
) -> StageEntry:
    """One stage, the defaults filled in where they fit it.

    Args:
        expands: whether a total carries it on.
        splits: whether it becomes several where it is long.
    """
    both = {**defaults, **fields}
    first = number == 1
    if first and not expands:
        fields = _opening(fields, splits, notes)
    transition = Transition.CUT if first else Transition(fields.get("transition", defaults.get("transition", "smooth")))
    # Whether the stages to come will join this one smoothly, or it the one before it.
    smooth = expands or splits or transition is Transition.SMOOTH
    _check_fits(fields, transition, smooth, both.get("overlap") == 0)
    for name, wish in (("take", "choose a take of one"), ("keyframes", "give one keyframes")):
        if expands and name in fields:
            raise Refusal(f"a total makes many stages of this one; write them out to {wish}", field=name)
    if "prompt" not in both:
        raise Refusal("it is missing; say what is to be seen", field="prompt")
    own = fields if "frames" in fields or "seconds" in fields else defaults
    length = Length(own.get("frames"), own.get("seconds"))
    # Nothing comes before the first stage that an anchor for all could hold together.
    anchor = fields.get("anchor_image") if first and not expands else both.get("anchor_image")
    word = both.get("anchor") if transition is Transition.SMOOTH or expands or splits else None
    word = None if word == "none" or anchor else word
    if "anchor_strength" in fields and not anchor and not word:
        raise Refusal("there is no anchor image to give a strength; leave it out", field="anchor_strength")
    return StageEntry(
        prompt=_prefixed(both.get("prompt_prefix", ""), both["prompt"]),
        negative_prompt=both.get("negative_prompt", ""),
        length=None if length == Length() else length,
        seed=fields.get("seed", seed_of(defaults.get("seed", 0), number - 1)),
        transition=transition,
        overlap=both.get("overlap") if smooth else None,
        fade_frames=both.get("fade_frames") if transition is Transition.FADE else None,
        carry_over=both.get("carry_over") if smooth else None,
        start_image=both.get("start_image") if first else fields.get("start_image"),
        end_image=fields.get("end_image"),
        anchor_image=anchor,
        anchor=word,
        anchor_strength=both.get("anchor_strength") if anchor or word else None,
        image_strength=fields.get("image_strength"),
        keyframes=fields.get("keyframes", ()),
        soundtrack=both.get("soundtrack"),
        loras=both.get("loras", ()),
        take=fields.get("take"),
    )


def _prefixed(prefix: str, prompt: str) -> str:
    """A prompt behind the words that it shares with other stages; the same as written out."""
    return f"{prefix.rstrip()} {prompt.lstrip()}" if prefix.strip() else prompt


def _check_fits(fields: dict[str, Any], transition: Transition, smooth: bool, plain: bool) -> None:
    """Refuse what a stage says of a join or start that its transition has no use for.

    Args:
        smooth: whether it joins smoothly, or stages that it becomes do.
        plain: whether a smooth join carries nothing over.
    """
    for name, owner in OWNERS.items():
        if name in fields and not (smooth if owner is Transition.SMOOTH else transition is owner):
            raise Refusal(f"it belongs to transition {owner.value}, and this stage's is {transition.value}", field=name)
    if plain and "carry_over" in fields:
        raise Refusal("nothing is carried over an overlap of 0; leave one of the two out", field="carry_over")
    if fields.get("anchor") == "start_image" and "anchor_image" in fields:
        raise Refusal("an anchor image is named too; keep one of the two", field="anchor")
    for name in ("start_image", "image_strength"):
        if transition is Transition.SMOOTH and not plain and name in fields:
            raise Refusal(
                "a smooth stage starts from the end of the stage before; use transition cut or fade with a start image",
                field=name,
            )


def _opening(fields: dict[str, Any], splits: bool, notes: list[str]) -> dict[str, Any]:
    """The first stage without what it says of a join, for the stage that is first may have been moved there.

    Args:
        splits: whether stages that it becomes join one another.
    """
    used = ("overlap", "carry_over") if splits else ()
    if fields.get("transition") == "fade":
        raise Refusal("the first stage has nothing before it to fade from", field="transition")
    joins = [name for name in JOIN_FIELDS if name in fields and fields[name] != "cut" and name not in used]
    if joins:
        notes.append(f"stage 1, {', '.join(joins)}: not used, nothing comes before it")
    return {name: value for name, value in fields.items() if name not in JOIN_FIELDS or name in used}


def _check_one_length(table: dict[str, Any], stage: int | None, place: str) -> None:
    if "seconds" in table and "frames" in table:
        raise Refusal("seconds are given too; keep one of the two", stage=stage, field=place)


def _only_smooth(total: str) -> str:
    return f"{total} carries one prompt on smoothly; leave transition out, or write the stages out one by one"
