"""The shipped workflows as API prompts, and what they need to run on tiny models."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

from tests.host.place import ROOT
from tests.tiny.photos import put_photos

API = ROOT / "workflows" / "api"
INPUTS = ROOT / "workflows" / "inputs"
# Every size a Wan 2.2 variant takes is a multiple of this.
SIZE_STEP = 32


def api_names() -> list[str]:
    """Names of the shipped API workflows."""
    return sorted(path.stem for path in API.glob("*.json"))


def api_prompt(name: str) -> dict[str, dict[str, Any]]:
    """Read workflows/api/NAME.json; raises SystemExit naming what there is."""
    path = API / f"{name}.json"
    if not path.is_file():
        raise SystemExit(f"there is no {path}; there is: {', '.join(api_names()) or 'nothing yet'}")
    return json.loads(path.read_text(encoding="utf-8"))


def shrink(prompt: dict[str, dict[str, Any]], divisor: int = 4) -> dict[str, dict[str, Any]]:
    """Return `prompt` with every width and height divided, on the grid: a CPU takes minutes at full size.

    Storyboards written as JSON into a node are shrunk alike.
    """
    small = copy.deepcopy(prompt)
    for node in small.values():
        shrink_sizes(node["inputs"], divisor)
        for name, value in node["inputs"].items():
            if isinstance(value, str) and value.lstrip().startswith("{"):
                document = json.loads(value)
                for part in (document, document.get("defaults", {}), *document.get("stages", ())):
                    shrink_sizes(part, divisor)
                node["inputs"][name] = json.dumps(document, ensure_ascii=False)
    return small


def shrink_sizes(entries: dict[str, Any], divisor: int) -> None:
    for side in ("width", "height"):
        if isinstance(length := entries.get(side), int):
            entries[side] = max(2, round(length / divisor / SIZE_STEP)) * SIZE_STEP


def put_inputs(folder: Path) -> None:
    """Put the images that the workflows name into ComfyUI's input folder, photographs among them.

    ComfyUI brings an example.png of its own, a drawing; here a photograph stands in for it.
    """
    photos = put_photos(folder)
    shutil.copyfile(photos["astronaut"], folder / "example.png")
    if INPUTS.is_dir():
        shutil.copytree(INPUTS, folder, dirs_exist_ok=True)
