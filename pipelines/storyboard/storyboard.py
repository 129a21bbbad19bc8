"""Storyboards: a chain written down as JSON, TOML or one prompt a line, read into stages and planned on the film clock.

    {"schema": "longtake.storyboard.v1",
     "defaults": {"seconds": 5, "seed": 7, "start_image": "harbour.png"},
     "stages": [{"prompt": "a boat leaves the harbour"}, {"prompt": "open sea", "transition": "fade"}]}

`defaults` fill in what a stage leaves out; its `start_image` belongs to the first stage alone. With `total_seconds` or
`total_frames` one prompt is carried over as many smooth stages as it takes, none longer than its `seconds` or `frames`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from .. import document as doc
from ..chain import Clip, Format, Join, Length, Transition, cover, film_frames, frames_in, plan_clip, spans, starts
from ..errors import Refusal
from ..lora.choice import LoraChoice, read_loras
from . import mold_script

SCHEMA = "longtake.storyboard.v1"

JOIN_FIELDS: dict[str, doc.Check] = {
    "transition": doc.one_of("smooth", "cut", "fade"),
    "overlap": doc.count,
    "carry_over": doc.one_of("pixels", "latents", "svi"),
    "fade_frames": doc.count,
}
IMAGES = ("start_image", "end_image", "anchor_image")
OWNERS = {"overlap": Transition.SMOOTH, "carry_over": Transition.SMOOTH, "fade_frames": Transition.FADE}
DEFAULTS: dict[str, doc.Check] = {
    "prompt": doc.prompt,
    "negative_prompt": doc.text,
    "seconds": doc.seconds,
    "frames": doc.count,
    "seed": doc.seed,
    **JOIN_FIELDS,
    "start_image": doc.image_name,
    "anchor_image": doc.image_name,
    "width": doc.count,
    "height": doc.count,
    "loras": read_loras,
}
STAGE: dict[str, doc.Check] = {name: check for name, check in DEFAULTS.items() if name not in ("width", "height")}
STAGE["end_image"] = doc.image_name
STAGE["take"] = doc.count
BOARD: dict[str, doc.Check] = {
    "schema": doc.text,
    "title": doc.text,
    "defaults": doc.anything,
    "stages": doc.tables,
    "total_seconds": doc.seconds,
    "total_frames": doc.count,
}


@dataclass(frozen=True)
class StageEntry:
    """One stage as written, the defaults filled in.

    None leaves the length, overlap, fade and carry-over to the model family. Where a total is asked for, `overlap` and
    `carry_over` are those of the stages that continue this one. Images are names in ComfyUI's input folder, LoRAs in
    its loras folder; they are applied on top of the bundle's own. `take` is the number of a stored take that is used
    instead of rendering.
    """

    prompt: str
    negative_prompt: str = ""
    length: Length | None = None
    seed: int = 0
    transition: Transition = Transition.CUT
    overlap: int | None = None
    fade_frames: int | None = None
    carry_over: str | None = None
    start_image: str | None = None
    end_image: str | None = None
    anchor_image: str | None = None
    loras: tuple[LoraChoice, ...] = ()
    take: int | None = None

    @property
    def join(self) -> Join:
        return Join.of(self.transition, self.overlap or 0, self.fade_frames or 0)


@dataclass(frozen=True)
class Storyboard:
    """A chain written down.

    Attributes:
        width, height: pixels; None leaves them to the model family.
        total_frames, total_seconds: length of the whole film, given only where there is one stage to carry over it.
        notes: what the document says that has no meaning here, for the person who wrote it.
    """

    stages: tuple[StageEntry, ...]
    width: int | None = None
    height: int | None = None
    total_frames: int | None = None
    total_seconds: float | None = None
    title: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def expands(self) -> bool:
        return self.total_frames is not None or self.total_seconds is not None


@dataclass(frozen=True)
class PlannedStage:
    """A stage with everything resolved, and the clip it renders."""

    entry: StageEntry
    clip: Clip


@dataclass(frozen=True)
class Plan:
    """What a storyboard renders: every stage, and the length of the film in frames."""

    stages: tuple[PlannedStage, ...]
    fps: Fraction
    width: int | None = None
    height: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def clips(self) -> tuple[Clip, ...]:
        return tuple(stage.clip for stage in self.stages)

    @property
    def frames(self) -> int:
        return film_frames(self.clips)

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.fps

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values; a stage starts at the first film frame it is seen in, blended or not."""
        ends = (0, *(clip.asked_end for clip in self.clips))
        stages = []
        for index, (stage, span, start) in enumerate(
            zip(self.stages, spans(self.clips), starts(self.clips), strict=True)
        ):
            entry, clip = stage.entry, stage.clip
            stages.append(
                {
                    "stage": index + 1,
                    "prompt": entry.prompt,
                    "negative_prompt": entry.negative_prompt,
                    "seed": entry.seed,
                    "transition": clip.join.transition.value,
                    "overlap": clip.join.overlap,
                    "fade_frames": clip.join.fade_frames,
                    "rendered_frames": clip.frames,
                    "adds_frames": clip.asked_end - ends[index],
                    "starts_at_frame": start + span.first,
                    "starts_at_seconds": float((start + span.first) / self.fps),
                    **_given(entry, "carry_over", *IMAGES, "take"),
                    **_loras(entry),
                }
            )
        size = {"width": self.width, "height": self.height}
        return {
            "stages": stages,
            "frames": self.frames,
            "seconds": float(self.seconds),
            "fps": float(self.fps),
            **{name: value for name, value in size.items() if value is not None},
            "notes": list(self.notes),
        }


def parse(text: str) -> Storyboard:
    """Read a storyboard: JSON if it starts with a brace, TOML if it names a schema or opens a table, else prompts.

    Raises:
        Refusal: a malformed document, with line and column; an unknown schema; an unknown, missing or impossible field,
            with its stage.
    """
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
    size = _given(board, "width", "height")
    document: dict[str, Any] = {"schema": SCHEMA}
    if board.title:
        document["title"] = board.title
    if size:
        document["defaults"] = size
    document |= _given(board, "total_frames", "total_seconds")
    document["stages"] = []
    for index, entry in enumerate(board.stages):
        length = _given(entry.length, "frames", "seconds") if entry.length else {}
        # The first stage is always a cut, and a total's first stage speaks for smooth ones: neither is written.
        transition = {"transition": entry.transition.value} if index else {}
        named = _given(entry, "overlap", "fade_frames", "carry_over", *IMAGES, "take")
        words = {"prompt": entry.prompt, "negative_prompt": entry.negative_prompt}
        document["stages"].append({**words, **length, "seed": entry.seed, **transition, **named, **_loras(entry)})
    return json.dumps(document, ensure_ascii=False, indent=2)


def plan(board: Storyboard, format: Format) -> Plan:
    """Plan every stage of a storyboard for a model family, before anything is loaded.

    A stage without a length renders one clip as long as the model was published with.

    Raises:
        Refusal: naming the stage and the field.
    """
    stages: list[PlannedStage] = []
    clips: list[Clip] = []
    if not board.stages:
        raise Refusal("there is none; give at least one stage", field="stages")
    for entry in _carried(board, format) if board.expands else board.stages:
        entry = _resolved(entry, format)
        clips.append(plan_clip(clips, entry.length or Length(), entry.join, format.grid, format.fps))
        stages.append(PlannedStage(entry, clips[-1]))
    return Plan(tuple(stages), format.fps, board.width, board.height, board.notes)


def _read(document: Any) -> Storyboard:
    schema = document.get("schema", SCHEMA)
    if schema == mold_script.SCHEMA:
        return _board(*mold_script.to_storyboard(document))
    if schema != SCHEMA:
        raise Refusal(f"{schema!r} is not known; use {SCHEMA} or {mold_script.SCHEMA}", field="schema")
    return _board(document, ())


def _board(document: Mapping[str, Any], notes: tuple[str, ...]) -> Storyboard:
    top = doc.read_fields(document, BOARD)
    defaults = doc.read_fields(top.get("defaults", {}), DEFAULTS, inside="defaults")
    _check_one_length(defaults, None, "defaults.frames")
    tables = top.get("stages", [])
    total = _total(top, tables, defaults)
    if not tables and not total:
        raise Refusal("there is none; give at least one stage", field="stages")

    written = list(notes)
    stages = []
    for number, table in enumerate(tables or [{}], 1):
        given = doc.read_fields(table, STAGE, stage=number)
        _check_one_length(given, number, "frames")
        if total and given.get("transition", "smooth") != "smooth":
            raise Refusal(_only_smooth(total), stage=number, field="transition")
        try:
            stages.append(_entry(given, defaults, number, bool(total), written))
        except Refusal as refusal:
            raise refusal.at(stage=number) from None
    return Storyboard(
        tuple(stages),
        defaults.get("width"),
        defaults.get("height"),
        top.get("total_frames"),
        top.get("total_seconds"),
        top.get("title", ""),
        tuple(written),
    )


def _total(top: dict[str, Any], tables: list[Any], defaults: dict[str, Any]) -> str | None:
    """Which total the document asks for, if any."""
    asked = [name for name in ("total_frames", "total_seconds") if name in top]
    if len(asked) == 2:
        raise Refusal("total_seconds is given too; keep one of the two", field="total_frames")
    if not asked:
        return None
    if len(tables) > 1:
        raise Refusal(
            f"a total carries one prompt over many stages, and {len(tables)} stages are given; keep one stage, or "
            "leave the total out and give each stage its seconds",
            field=asked[0],
        )
    if defaults.get("transition", "smooth") != "smooth":
        raise Refusal(_only_smooth(asked[0]), field="defaults.transition")
    return asked[0]


def _entry(given: dict[str, Any], defaults: dict[str, Any], number: int, expands: bool, notes: list[str]) -> StageEntry:
    """One stage, the defaults filled in where they fit it."""
    first = number == 1
    if first and not expands:
        given = _opening(given, notes)
    transition = Transition.CUT if first else Transition(given.get("transition", defaults.get("transition", "smooth")))
    joined = Transition.SMOOTH if expands else transition  # of a total, how the stages to come will join this one
    _check_fits(given, transition, joined)
    if expands and "take" in given:
        raise Refusal("a total makes many stages of this one; write them out to choose a take of one", field="take")
    both = {**defaults, **given}
    if "prompt" not in both:
        raise Refusal("it is missing; say what is to be seen", field="prompt")
    own = given if "frames" in given or "seconds" in given else defaults
    length = Length(own.get("frames"), own.get("seconds"))
    return StageEntry(
        prompt=both["prompt"],
        negative_prompt=both.get("negative_prompt", ""),
        length=None if length == Length() else length,
        seed=given.get("seed", _seed(defaults.get("seed", 0), number - 1)),
        transition=transition,
        overlap=both.get("overlap") if joined is Transition.SMOOTH else None,
        fade_frames=both.get("fade_frames") if joined is Transition.FADE else None,
        carry_over=both.get("carry_over") if joined is Transition.SMOOTH else None,
        start_image=both.get("start_image") if first else given.get("start_image"),
        end_image=given.get("end_image"),
        anchor_image=both.get("anchor_image"),
        loras=both.get("loras", ()),
        take=given.get("take"),
    )


def _check_fits(given: dict[str, Any], transition: Transition, joined: Transition) -> None:
    """Refuse what a stage says of a join or start that its transition has no use for."""
    for name, owner in OWNERS.items():
        if name in given and joined is not owner:
            raise Refusal(f"it belongs to transition {owner.value}, and this stage's is {joined.value}", field=name)
    if transition is Transition.SMOOTH and "start_image" in given:
        raise Refusal(
            "a smooth stage starts from the end of the stage before; use transition cut or fade with a start image",
            field="start_image",
        )


def _opening(given: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The first stage without what it says of a join, for the stage that is first may have been moved there."""
    if given.get("transition") == "fade":
        raise Refusal("the first stage has nothing before it to fade from", field="transition")
    joins = [name for name in JOIN_FIELDS if name in given and given[name] != "cut"]
    if joins:
        notes.append(f"stage 1, {', '.join(joins)}: not used, nothing comes before it")
    return {name: value for name, value in given.items() if name not in JOIN_FIELDS}


def _seed(base: int, index: int) -> int:
    """A seed for each stage: the same noise in every stage would repeat the same motion in each."""
    return (base + index) % 2**64


def _carried(board: Storyboard, format: Format) -> list[StageEntry]:
    """One entry carried over the total asked for; the last one in seconds, so that the film ends on the frame."""
    entry = board.stages[0]
    asked = "total_frames" if board.total_seconds is None else "total_seconds"
    total = board.total_frames or frames_in(board.total_seconds or 0, format.fps)
    overlap = format.overlap if entry.overlap is None else entry.overlap
    longest = plan_clip([], entry.length or Length(frames=format.clip_frames), Join(), format.grid, format.fps).frames
    try:
        lengths = cover(total, longest, overlap, format.grid)
    except Refusal as refusal:
        if refusal.field == "overlap":
            raise refusal.at(stage=2) from None
        raise Refusal(refusal.message, field=asked) from None

    last = len(lengths) - 1
    left = total - sum(lengths[:-1]) + overlap * max(last - 1, 0)
    return [
        replace(
            entry,
            length=Length(seconds=float(left / format.fps)) if index == last else Length(frames=frames),
            seed=_seed(entry.seed, index),
            transition=Transition.SMOOTH if index else Transition.CUT,
            start_image=None if index else entry.start_image,
            end_image=entry.end_image if index == last else None,
        )
        for index, frames in enumerate(lengths)
    ]


def _resolved(entry: StageEntry, format: Format) -> StageEntry:
    """The entry with the family's defaults where it leaves the choice, and nothing its transition does not use."""
    smooth, fade = entry.transition is Transition.SMOOTH, entry.transition is Transition.FADE
    return replace(
        entry,
        length=entry.length or Length(frames=format.clip_frames),
        overlap=(format.overlap if entry.overlap is None else entry.overlap) if smooth else None,
        fade_frames=(format.fade_frames if entry.fade_frames is None else entry.fade_frames) if fade else None,
        carry_over=entry.carry_over if smooth else None,
    )


def _check_one_length(table: dict[str, Any], stage: int | None, place: str) -> None:
    if "seconds" in table and "frames" in table:
        raise Refusal("seconds are given too; keep one of the two", stage=stage, field=place)


def _only_smooth(total: str) -> str:
    return f"{total} carries one prompt on smoothly; leave transition out, or write the stages out one by one"


def _given(value: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names if getattr(value, name) is not None}


def _loras(entry: StageEntry) -> dict[str, Any]:
    return {"loras": [choice.as_json() for choice in entry.loras]} if entry.loras else {}
