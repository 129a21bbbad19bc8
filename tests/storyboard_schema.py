"""Write the JSON Schema that editors check storyboards with, from the reader's own tables of fields:

python tests/run.py storyboard_schema
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longtake.pipelines import document as doc
from longtake.pipelines.document import Check
from longtake.pipelines.lora import choice
from longtake.pipelines.storyboard import keyframes
from longtake.pipelines.storyboard.text import BOARD, DEFAULTS, SCHEMA, STAGE

FILE = Path(__file__).resolve().parents[1] / "docs" / "storyboard.schema.json"
NAME = {"type": "string", "minLength": 1, "maxLength": doc.MAX_NAME}
KINDS: dict[Check, dict[str, Any]] = {
    doc.text: {"type": "string"},
    doc.prompt: {"type": "string", "pattern": r"\S"},
    doc.count: {"type": "integer", "minimum": 1, "maximum": doc.MAX_COUNT},
    doc.overlap: {"anyOf": [{"const": "automatic"}, {"type": "integer", "minimum": 0, "maximum": doc.MAX_COUNT}]},
    doc.seed: {"type": "integer", "minimum": 0, "maximum": doc.MAX_SEED},
    doc.seconds: {"type": "number", "exclusiveMinimum": 0, "maximum": doc.MAX_SECONDS},
    doc.number: {"type": "number", "minimum": -100, "maximum": 100},
    doc.strength: {"type": "number", "minimum": 0, "maximum": 1},
    doc.frame: {"type": "integer", "minimum": -doc.MAX_COUNT, "maximum": doc.MAX_COUNT},
    doc.image_name: {**NAME, "description": "A picture in ComfyUI's input folder."},
    doc.sound_name: {**NAME, "description": "A sound in ComfyUI's input folder."},
    choice._lora_name: {**NAME, "description": "A LoRA in ComfyUI's loras folder."},
}
# Fields of a few words; the reader keeps these inside its checks.
WORDS = {
    "transition": ("smooth", "cut", "fade"),
    "carry_over": ("pixels", "latents", "svi"),
    "anchor": ("start_image", "none"),
    "long_stages": ("one clip", "chain"),
    "passes": tuple(passes.value for passes in choice.Passes),
}


def table(fields: Mapping[str, Check], **nested: Any) -> dict[str, Any]:
    """A table of these fields and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: nested.get(name) or _field(name, check) for name, check in fields.items()},
    }


def _field(name: str, check: Check) -> dict[str, Any]:
    if check is choice.read_loras:
        return _list(table(choice._FIELDS))
    if check is keyframes.read_keyframes:
        return _list({**table(keyframes._FIELDS), "required": ["image", "frame"]})
    return {"enum": list(WORDS[name])} if name in WORDS else KINDS[check]


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "maxItems": doc.MAX_ENTRIES, "items": items}


def schema() -> dict[str, Any]:
    """What a storyboard may hold; which fields go together the reader alone says."""
    fields = table(BOARD, schema={"const": SCHEMA}, defaults=table(DEFAULTS), stages=_list(table(STAGE)))
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Longtake storyboard", **fields}


if __name__ == "__main__":
    FILE.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
