"""What ComfyUI translates of the nodes, in English, from their schemas: python tests/run.py host.locales

ComfyUI reads `locales/<language>/nodeDefs.json` of every pack. The English file is what a translation is made from.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.host.place import ROOT, Place
from tests.host.server import Server
from tests.tiny.models import tiny_models

LOCALES = ROOT / "locales"
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
Words = dict[str, Any]


def ours(object_info: Mapping[str, Any]) -> dict[str, Any]:
    return {name: info for name, info in object_info.items() if re.match("Longtake(?!Test)", name)}


def words_of(object_info: Mapping[str, Any]) -> Words:
    """Node id -> its name, description, inputs and outputs, as ComfyUI's page looks them up."""
    return {name: node_words(info) for name, info in sorted(ours(object_info).items())}


def node_words(info: Mapping[str, Any]) -> Words:
    inputs: Words = {}
    add_inputs(inputs, info["input"], "")
    tips = info.get("output_tooltips") or []
    outputs = {
        str(number): {"name": name, **tooltip(tips[number] if number < len(tips) else None)}
        for number, name in enumerate(info["output_name"])
    }
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": inputs,
        **({"outputs": outputs} if outputs else {}),
    }


def add_inputs(words: Words, inputs: Mapping[str, Any], prefix: str) -> None:
    """Add the inputs of a node, those that the choices of a dynamic combo bring included, once each."""
    for section in ("required", "optional"):
        for name, (kind, *more) in (inputs.get(section) or {}).items():
            options = more[0] if more else {}
            words.setdefault(f"{prefix}{name}", {"name": name, **tooltip(options.get("tooltip"))})
            for choice in options.get("options", ()) if kind == DYNAMIC else ():
                add_inputs(words, choice["inputs"], f"{prefix}{name}_")  # the page writes "_" for "."


def tooltip(text: str | None) -> Words:
    return {"tooltip": text} if text else {}


def read(language: str) -> Words:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def write(language: str, words: Words) -> Path:
    path = LOCALES / language / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(words, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def main() -> None:
    place = Place.here()
    with tempfile.TemporaryDirectory() as folder, Server(place, Path(folder), tiny_models(place)) as server:
        print(f"wrote {write('en', words_of(server.object_info())).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
