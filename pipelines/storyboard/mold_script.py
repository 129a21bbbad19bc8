"""mold's chain scripts (TOML, schema mold.chain.v1), turned into storyboards.

A script says the same things in other words: `motion_tail_frames` is the overlap, every stage has the chain's own
seed or that seed XOR its `seed_offset`, and a picture on a smooth stage holds the identity of what is seen, as an
anchor does here. What a script says about the machine rather than the film comes back as notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import document as doc
from ..errors import Refusal

SCHEMA = "mold.chain.v1"

ELSEWHERE: dict[str, str] = {
    "model": "the model is the one connected here",
    "fps": "the frame rate is the model's own",
    "steps": "steps are set by Wan Sampling",
    "guidance": "guidance is set by Wan Sampling",
    "output_format": "the format of the file is chosen where the film is encoded",
    "placement": "ComfyUI decides what is on the GPU",
}
INLINE_IMAGES = ("source_image", "source_image_b64")

TRANSITION = doc.one_of("smooth", "cut", "fade")
SCRIPT: dict[str, doc.Check] = {"schema": doc.text, "chain": doc.anything, "stage": doc.tables}
CHAIN: dict[str, doc.Check] = {
    "width": doc.count,
    "height": doc.count,
    "seed": doc.seed,
    "motion_tail_frames": doc.overlap,
    "strength": doc.strength,
    **dict.fromkeys(ELSEWHERE, doc.anything),
}


def _no_image_inside(value: Any) -> Any:
    raise Refusal(
        "pictures inside a script are not read; put the file into ComfyUI's input folder and name it with "
        "source_image_path"
    )


def _nothing(instead: str) -> doc.Check:
    def check(value: Any) -> Any:
        if value != []:
            raise Refusal(f"a script's stage cannot choose its own; {instead}")
        return value

    return check


STAGE: dict[str, doc.Check] = {
    "prompt": doc.prompt,
    "negative_prompt": doc.text,
    "frames": doc.count,
    "seed_offset": doc.seed,
    "transition": TRANSITION,
    "fade_frames": doc.count,
    "source_image_path": doc.image_name,
    "model": doc.anything,
    **dict.fromkeys(INLINE_IMAGES, _no_image_inside),
    "loras": _nothing("put Apply LoRA before this node, or write a storyboard, whose stages take loras"),
    "references": _nothing("connect a model that has it"),
}


def to_storyboard(script: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Turn a script into a storyboard document and notes on what it says that has no meaning here.

    Raises:
        Refusal: naming the stage and the field as the script spells it.
    """
    top = doc.read_fields(script, SCRIPT)
    chain = doc.read_fields(top.get("chain", {}), CHAIN, inside="chain")
    notes = [f"chain.{name}: not used, {why}" for name, why in ELSEWHERE.items() if name in chain]
    defaults: dict[str, Any] = {name: chain[name] for name in ("width", "height") if name in chain}
    if "motion_tail_frames" in chain:
        defaults["overlap"] = chain["motion_tail_frames"]

    stages = []
    for number, table in enumerate(top.get("stage", []), 1):
        fields = doc.read_fields(table, STAGE, stage=number)
        stages.append(_stage(fields, number, chain.get("seed", 0), chain.get("motion_tail_frames") != 0, notes))
    if stages and "strength" in chain:
        # Of the first stage's picture; those of later stages, and overlaps, hold at full strength there too.
        stages[0]["image_strength"] = chain["strength"]
    return {"defaults": defaults, "stages": stages}, tuple(notes)


def _stage(fields: dict[str, Any], number: int, seed: int, carries: bool, notes: list[str]) -> dict[str, Any]:
    """A stage of a script as one of a storyboard.

    Args:
        carries: whether a smooth stage goes on from a tail, so that it has no start image of its own.
    """
    for name in ("prompt", "frames"):
        if name not in fields:
            raise Refusal("it is missing; every stage of a script has one", stage=number, field=name)
    stage: dict[str, Any] = {name: fields[name] for name in ("prompt", "negative_prompt", "frames") if name in fields}
    stage["seed"] = seed ^ fields.get("seed_offset", 0)

    transition = fields.get("transition", "smooth")
    if number > 1:
        stage["transition"] = transition
    elif fields.get("transition", "cut") != "cut":
        notes.append(f"stage 1, transition: {transition} is read as cut, nothing comes before it")
    if "fade_frames" in fields:
        if stage.get("transition") == "fade":
            stage["fade_frames"] = fields["fade_frames"]
        else:
            notes.append(f"stage {number}, fade_frames: not used, the stage does not fade in")

    if "source_image_path" in fields:
        anchors = carries and stage.get("transition") == "smooth"
        stage["anchor_image" if anchors else "start_image"] = fields["source_image_path"]
        if anchors:
            notes.append(
                f"stage {number}, source_image_path: read as its anchor image, a smooth stage starts from the tail"
            )
    if "model" in fields:
        notes.append(f"stage {number}, model: not used, {ELSEWHERE['model']}")
    return stage
