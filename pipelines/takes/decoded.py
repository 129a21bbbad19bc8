"""What takes were decoded to, kept in the temp folder while it is used: it can always be made again.

Nothing here is flushed to the disk; ComfyUI empties the folder when it starts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.whole import write_whole
from . import temp

if TYPE_CHECKING:
    import numpy as np
    import torch

    from .take import Take

DECODED_LIMIT = 8 * 2**30  # bytes; a minute and a half of 1280x720 at 16 frames a second


def frames_file(take: Take, tiled: bool) -> Path:
    """Where the decoded frames of a take are kept; those decoded in tiles differ by parts of a code value."""
    path = take.frames_path
    return path.with_name(f"tiled.{path.name}") if tiled else path


def write_frames(
    path: Path, shape: tuple[int, ...], fill: Callable[[np.ndarray], None], film: Sequence[Path] = ()
) -> None:
    """Keep the decoded frames of a take.

    Args:
        shape: `(T, H, W, 3)`.
        fill: writes 16-bit values into the array `[T, H, W, 3]`, a file mapped into memory.
        film: where those of the film that is being read are, or would be, in order.
    """
    import numpy as np

    def write(partial: Path) -> None:
        frames = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint16, shape=shape)
        if hasattr(os, "posix_fallocate"):
            # Writing to a mapped file that the disk has no room for would end the whole process.
            with open(partial, "rb+") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        fill(frames)

    write_whole(path, write, lasting=False)
    forget_frames(DECODED_LIMIT, film, path)


def read_frames(path: Path) -> np.ndarray | None:
    """The decoded frames of a take `[T, H, W, 3]` uint16, mapped from disk, or None where they are not kept."""
    import numpy as np

    try:
        frames = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, IsADirectoryError, PermissionError):
        _remove_damaged(path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return frames


def forget_frames(limit: int, film: Sequence[Path] = (), newest: Path | None = None) -> None:
    """Remove decoded frames until at most `limit` bytes are kept.

    First those of no clip of the film, the longest unused first. A film is read in order, again and again, so of its
    clips those go first that will be read last: backwards from where it is read now, then from its end. The clip that
    is read and the one before it, which a fade or a seam shows too, stay.

    Frames somebody still reads live on until they are let go, or stay where a system does not remove files in use.

    Args:
        film: where the frames of its clips are, or would be, in order.
        newest: what was decoded last; it stays, and is where the film is read. Without it, what was used last stays.
    """
    kept: dict[Path, os.stat_result] = {}
    for path in temp.temp_folder().glob("*.frames.npy"):
        with contextlib.suppress(OSError):
            kept[path] = path.stat()
    newest = newest or max(kept, key=lambda path: kept[path].st_mtime_ns, default=None)
    unused = sorted(kept.keys() - set(film) - {newest}, key=lambda path: kept[path].st_mtime_ns)
    at = film.index(newest) if newest is not None and newest in film else len(film)
    passed = [*film[: max(at - 1, 0)][::-1], *film[at + 1 :][::-1]]
    total = sum(status.st_size for status in kept.values())
    for path in dict.fromkeys([*unused, *passed]):
        if total <= limit:
            return
        if path in kept and path != newest:
            with contextlib.suppress(OSError):
                path.unlink()
                total -= kept[path].st_size


def write_sound(take: Take, sound: torch.Tensor, sample_rate: int) -> None:
    """Keep decoded sound beside a take.

    Args:
        sound: `[channels, samples]` float32, -1..1.
    """
    from safetensors.torch import save_file

    tensors = {"sound": sound.detach().cpu().float().contiguous().clone()}
    facts = {"sample_rate": str(sample_rate)}
    write_whole(take.sound_path, lambda partial: save_file(tensors, partial, facts), lasting=False)


def read_sound(take: Take) -> tuple[np.ndarray, int] | None:
    """The decoded sound of a take `[channels, samples]` and its samples a second, or None where it is not kept."""
    from safetensors import SafetensorError, safe_open

    path = take.sound_path
    try:
        with safe_open(path, framework="np") as file:
            return file.get_tensor("sound"), int(file.metadata()["sample_rate"])
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, TypeError, KeyError, ValueError):
        _remove_damaged(path)
        return None


def _remove_damaged(path: Path) -> None:
    """Remove what is not what was written; it is decoded again."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
