"""Where in ComfyUI's temp folder the pack keeps what can always be made again."""

from __future__ import annotations

from pathlib import Path


def temp_folder() -> Path:
    """The pack's folder in ComfyUI's temp folder, which ComfyUI empties when it starts."""
    import folder_paths

    path = Path(folder_paths.get_temp_directory()) / "longtake"
    path.mkdir(parents=True, exist_ok=True)
    return path
