"""Where in ComfyUI's temp folder the pack keeps what can always be made again."""

from __future__ import annotations

import uuid
from pathlib import Path

NAME = "name"


def temp_folder() -> Path:
    """The pack's folder in ComfyUI's temp folder, which ComfyUI empties when it starts."""
    import folder_paths

    path = Path(folder_paths.get_temp_directory()) / "longtake"
    path.mkdir(parents=True, exist_ok=True)
    return path


def name_of_folder() -> str:
    """A name that the folder has for all who share it, from one start of ComfyUI to the next."""
    path = temp_folder() / NAME
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(uuid.uuid4().hex)
    except FileExistsError:
        pass
    return path.read_text(encoding="ascii")
