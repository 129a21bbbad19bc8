"""Files of ComfyUI's loras folder, by name."""

from __future__ import annotations

import os

import folder_paths

from ..pipelines.errors import Refusal
from ..pipelines.lora.choice import AUTO, NONE
from ..pipelines.weights.pairs import other_half

FOLDER = "loras"


def lora_names() -> list[str]:
    return folder_paths.get_filename_list(FOLDER)


def lora_path(name: str) -> str:
    """Where a LoRA file is, named with either slash; only files that ComfyUI lists are found."""
    name = name.replace("\\", os.sep).replace("/", os.sep)
    path = folder_paths.get_full_path(FOLDER, name) if name in lora_names() else None
    if path is None:
        raise Refusal(f"there is no {name} in ComfyUI's loras folder.")
    return path


def state_of_loras(chosen: set[str]) -> list[tuple[str, int, int]]:
    """What changes when one of the files, or the other half of one, is exchanged for another of its name."""
    names = chosen - {NONE, AUTO}
    files = names | {other_half(name, lora_names()) for name in names}
    stats = {name: os.stat(lora_path(name)) for name in files if name in lora_names()}
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in sorted(stats.items())]
