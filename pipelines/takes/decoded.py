"""What takes were decoded to, kept in the temp folder while it is used: it can always be made again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .disk import forget_oldest, write_whole

if TYPE_CHECKING:
    import numpy as np
    import torch

    from .take import Take

DECODED_LIMIT = 8 * 2**30  # bytes; a minute and a half of 1280x720 at 16 frames a second


def temp() -> Path:
    """The pack's folder in ComfyUI's temp folder, which ComfyUI empties when it starts."""
    import folder_paths

    path = Path(folder_paths.get_temp_directory()) / "longtake"
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_frames(take: Take, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> None:
    """Keep the decoded frames of a take.

    Args:
        shape: `(T, H, W, 3)`.
        fill: writes 16-bit values into the array `[T, H, W, 3]`, a file mapped into memory.
    """
    import numpy as np

    def write(partial: Path) -> None:
        frames = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint16, shape=shape)
        if hasattr(os, "posix_fallocate"):
            # Writing to a mapped file that the disk has no room for would end the whole process.
            with open(partial, "rb+") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        fill(frames)
        frames.flush()

    write_whole(take.frames_path, write)
    forget_frames(DECODED_LIMIT)


def read_frames(take: Take) -> np.ndarray | None:
    """The decoded frames of a take `[T, H, W, 3]` uint16, mapped from disk, or None where they are not kept."""
    import numpy as np

    path = take.frames_path
    try:
        frames = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, IsADirectoryError, PermissionError):
        # Not what was written: they are decoded again.
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return frames


def forget_frames(limit: int) -> None:
    """Remove the decoded frames that were not used for longest, until at most `limit` bytes are kept.

    Frames somebody still reads live on until they are let go, or stay where a system does not remove files in use.
    """
    forget_oldest(temp().glob("*.frames.npy"), limit)


def write_sound(take: Take, sound: torch.Tensor, sample_rate: int) -> None:
    """Keep decoded sound beside a take.

    Args:
        sound: `[channels, samples]` float32, -1..1.
    """
    from safetensors.torch import save_file

    tensors = {"sound": sound.detach().cpu().float().contiguous().clone()}
    write_whole(take.sound_path, lambda partial: save_file(tensors, partial, {"sample_rate": str(sample_rate)}))


def read_sound(take: Take) -> tuple[np.ndarray, int]:
    """The decoded sound `[channels, samples]` kept beside a take, and its samples a second."""
    from safetensors import safe_open

    with safe_open(take.sound_path, framework="np") as file:
        return file.get_tensor("sound"), int(file.metadata()["sample_rate"])
