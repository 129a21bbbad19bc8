"""Takes on disk."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

FORMAT = "longtake.take.v1"


@dataclass(frozen=True)
class Take:
    """One finished rendering of a stage.

    Args:
        path: safetensors file with named tensors and the facts as JSON metadata. "latent" `[1, C, T, h, w]` is the
            picture in VAE space; what else a family renders (sound, for example) lies beside it under its own name.
    """

    path: Path

    def tensors(self) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        return load_file(self.path)

    def latent(self) -> torch.Tensor:
        return self.tensors()["latent"]

    def audio(self) -> torch.Tensor | None:
        """The sound's latent `[1, C, T, F]`, or None for a silent take."""
        return self.tensors().get("audio")

    def facts(self) -> dict[str, Any]:
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            return json.loads(file.metadata()["facts"])

    @property
    def frames_path(self) -> Path:
        """Where the decoded frames are kept, once somebody has asked for them."""
        return self.path.with_suffix(".frames.npy")

    @property
    def sound_path(self) -> Path:
        """Where the decoded sound is kept, once somebody has asked for it."""
        return self.path.with_suffix(".sound.npy")


def folder() -> Path:
    """Where takes live: ComfyUI's temp folder, which it clears when it starts."""
    import folder_paths

    path = Path(folder_paths.get_temp_directory()) / "longtake"
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_take(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> Take:
    """Write a take; it exists wholly or not at all.

    Args:
        tensors: by name; "latent" `[1, C, T, h, w]` is the picture.
        facts: what made it; JSON values.
    """
    from safetensors.torch import save_file

    path = folder() / f"{uuid.uuid4().hex}.safetensors"
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "facts": json.dumps(dict(facts))}
    _write_whole(path, lambda partial: save_file(whole, partial, metadata))
    return Take(path)


def write_frames(take: Take, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> None:
    """Keep decoded frames beside a take.

    Args:
        shape: `(T, H, W, 3)`.
        fill: writes 16-bit values into the array `[T, H, W, 3]`, a file mapped into memory.
    """
    import numpy as np

    def write(partial: Path) -> None:
        frames = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint16, shape=shape)
        fill(frames)
        frames.flush()

    _write_whole(take.frames_path, write)


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        write(partial)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
