"""Takes on disk: everything that was ever rendered, under the key of what made it.

    takes/<key>/take.json            facts, and the size and hash of every file beside it; sealed with a hash of itself
    takes/<key>/tensors.safetensors  the latents
    takes/<key>/notes.json           name and keep mark, the only thing about a take that can change

A take is put together under another name and appears by one rename, so it exists wholly or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from .disk import READ_ONLY, Damaged, flush, flush_folder, forget_oldest, room_for, sealed, unsealed, write_whole

if TYPE_CHECKING:
    import numpy as np
    import torch

log = logging.getLogger(__name__)

TAKE_FORMAT = "longtake.take.v2"
NOTES_FORMAT = "longtake.notes.v1"
FACTS, TENSORS, NOTES = "take.json", "tensors.safetensors", "notes.json"
DECODED_LIMIT = 8 * 2**30  # bytes; a minute and a half of 1280x720 at 16 frames a second
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Take:
    """One finished rendering of a stage.

    Args:
        path: its folder. The tensors in it go by name: "latent" `[1, C, T, h, w]` is the picture in VAE space; what
            else a family renders (sound, for example) lies beside it under its own name.
    """

    path: Path

    @property
    def key(self) -> str:
        return self.path.name

    def record(self) -> dict[str, Any]:
        """What take.json says; raises `Damaged`."""
        try:
            record = unsealed((self.path / FACTS).read_bytes(), (TAKE_FORMAT,))
        except OSError as error:
            raise Damaged(f"its {FACTS} cannot be read ({error.strerror})") from None
        if record.get("key") != self.key:
            raise Damaged("it is another take under this one's name")
        return record

    def glance(self) -> dict[str, Any]:
        """What take.json says, for lists: its seal, which takes most of the time of reading it, is not checked.

        Raises:
            Damaged: it cannot be read at all.
        """
        try:
            record = json.loads((self.path / FACTS).read_bytes())
            if record["format"] == TAKE_FORMAT and record["key"] == self.key and isinstance(record["facts"], dict):
                float(record["created"]), sum(file["size"] for file in record["files"].values())
                return record
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Damaged(f"its {FACTS} cannot be read ({error})") from None
        raise Damaged(f"its {FACTS} is of another take or format")

    def facts(self) -> dict[str, Any]:
        """What made it."""
        return self.record()["facts"]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Its tensors by name, read and checked.

        Raises:
            Refusal: the take has been deleted or damaged since it was rendered.
        """
        from safetensors.torch import load

        try:
            return load(self.checked())
        except Damaged as error:
            raise Refusal(
                f"the take {self.key[:12]} can no longer be used: {error}. Queue again with a new seed, or restart "
                "ComfyUI and queue again: it is rendered anew and the stages that are stored are not."
            ) from error

    def latent(self) -> torch.Tensor:
        return self.tensors()["latent"]

    def audio(self) -> torch.Tensor | None:
        """The sound's latent `[1, C, T, F]`, or None for a silent take."""
        return self.tensors().get("audio")

    def checked(self) -> bytes:
        """The bytes of its tensor file; raises `Damaged` where they are not what was written."""
        expected = self.record()["files"][TENSORS]
        try:
            data = (self.path / TENSORS).read_bytes()
        except OSError as error:
            raise Damaged(f"its {TENSORS} cannot be read ({error.strerror})") from None
        if len(data) != expected["size"] or hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise Damaged(f"its {TENSORS} has changed since it was written")
        return data

    def notes(self) -> dict[str, Any]:
        """Name and keep mark; those of an unnamed take where nothing readable is noted."""
        blank = {"name": "", "keep": False}
        try:
            return {**blank, **unsealed((self.path / NOTES).read_bytes(), (NOTES_FORMAT,))}
        except FileNotFoundError:
            return blank
        except (OSError, Damaged) as error:
            log.warning("Longtake: the notes of take %s are lost: %s", self.key[:12], error)
            return blank

    def note(self, **changes: Any) -> None:
        """Change its name or keep mark."""
        notes = {**self.notes(), **changes, "format": NOTES_FORMAT}
        write_whole(self.path / NOTES, lambda partial: partial.write_bytes(sealed(notes)))

    def size(self) -> int:
        """Bytes on disk."""
        with contextlib.suppress(OSError):
            return sum(entry.stat().st_size for entry in os.scandir(self.path))
        return 0

    @property
    def used(self) -> float:
        """When it was last used, in seconds since 1970."""
        try:
            return (self.path / FACTS).stat().st_mtime
        except OSError:
            return 0.0

    def touch(self) -> None:
        """Count as used now; on a store that cannot be written nobody prunes either."""
        with contextlib.suppress(OSError):
            os.utime(self.path / FACTS)

    @property
    def frames_path(self) -> Path:
        """Where the decoded frames are kept, once somebody has asked for them: they can always be made again."""
        return _temp() / f"{self.key}.frames.npy"

    @property
    def sound_path(self) -> Path:
        """Where the decoded sound is kept, once somebody has asked for it."""
        return _temp() / f"{self.key}.sound.safetensors"


class Store:
    """A folder of takes, and a spare one that takes what the first cannot.

    Args:
        root: usually `output/longtake`.
        spare: written to where `root` is read-only.
    """

    def __init__(self, root: Path, spare: Path | None = None):
        self.root = root
        self.roots = (root,) if spare is None else (root, spare)

    def find(self, key: str) -> Take | None:
        """The take of this key, whole and checked, or None.

        What lies under the key and is no whole take is reported and put aside, so that it is rendered again.
        """
        for root in self.roots:
            take = Take(root / "takes" / key)
            if not os.path.lexists(take.path):
                continue
            try:
                take.checked()
            except Damaged as error:
                log.warning("Longtake: take %s is rendered again: %s", key[:12], error)
                _put_aside(take.path)
                continue
            take.touch()
            return take
        return None

    def write(self, key: str, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> Take:
        """Keep a take, in the spare folder where the store is read-only.

        Args:
            tensors: by name; "latent" `[1, C, T, h, w]` is the picture.
            facts: what made it; JSON values.

        Raises:
            Refusal: the disk is full; nothing is left behind.
        """
        from safetensors.torch import save

        data = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
        *first, last = self.roots
        for root in first:
            try:
                return _publish(root, key, data, facts)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                log.warning("Longtake: %s cannot be written (%s); takes go to %s", root, error.strerror, last)
        return _publish(last, key, data, facts)

    def takes(self) -> Iterator[Take]:
        """Every folder that may be a take, read or not."""
        for root in self.roots:
            with contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(root / "takes"):
                    if KEY.fullmatch(entry.name):
                        yield Take(Path(entry.path))

    def records(self) -> Iterator[tuple[Take, dict[str, Any]]]:
        """Every readable take and what its take.json says."""
        for take in self.takes():
            with contextlib.suppress(Damaged):
                yield take, take.glance()

    def take(self, key: str) -> Take | None:
        """The take of a key, or None; what it holds is not read."""
        if not KEY.fullmatch(key):
            return None
        paths = (root / "takes" / key for root in self.roots)
        return next((Take(path) for path in paths if path.is_dir()), None)

    def checkpoint_path(self, key: str) -> Path:
        """Where a stage is kept while it renders."""
        return self.root / "checkpoints" / f"{key}.tape"

    def named(self, text: str) -> Take:
        """The take of a name, a key, or the first 8 or more digits of a key.

        Raises:
            Refusal: there is none, or more than one.
        """
        if re.fullmatch(r"[0-9a-f]{8,64}", text):
            found = [take for take in self.takes() if take.key.startswith(text)]
        else:
            found = [take for take in self.takes() if text and take.notes()["name"] == text]
        if len(found) != 1:
            many = f"{len(found)} takes are called {text!r}" if found else f"there is no take {text!r}"
            raise Refusal(f"{many}; give the key of one, or its first digits (8 or more).", field="take")
        return found[0]

    def deletions(self) -> int:
        """A number that changes whenever a take goes: what refers to takes must then be asked for anew."""
        with contextlib.suppress(OSError):
            return (self.root / "deletions").stat().st_mtime_ns
        return 0

    def delete(self, take: Take) -> None:
        """Remove a take: it is gone at once, whatever happens while its files are being removed."""
        gone = take.path.parents[1] / "partial" / uuid.uuid4().hex
        gone.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(take.path, gone)
        _count_deletion(take.path.parents[1])
        shutil.rmtree(gone, ignore_errors=True)


def here() -> Store:
    """The store of this ComfyUI, in its output folder."""
    import folder_paths

    return Store(Path(folder_paths.get_output_directory()) / "longtake", _temp())


def numbered(store: Store, place: str) -> dict[int, Take]:
    """The takes of one stage by the numbers they were given when they were rendered, from 1."""
    found = [(record, take) for take, record in store.records() if record["facts"].get("place") == place]
    found.sort(key=lambda pair: (pair[0]["facts"].get("take", 0), pair[0]["created"]), reverse=True)
    return dict(sorted((record["facts"].get("take", 0), take) for record, take in found))


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

    try:
        frames = np.load(take.frames_path, mmap_mode="r")
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):
        os.utime(take.frames_path)
    return frames


def forget_frames(limit: int) -> None:
    """Remove the decoded frames that were not used for longest, until at most `limit` bytes are kept.

    Frames somebody still reads live on until they are let go, or stay where a system does not remove files in use.
    """
    forget_oldest(_temp().glob("*.frames.npy"), limit)


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


def _temp() -> Path:
    import folder_paths

    path = Path(folder_paths.get_temp_directory()) / "longtake"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _publish(root: Path, key: str, data: bytes, facts: Mapping[str, Any]) -> Take:
    path = root / "takes" / key
    partial = root / "partial" / uuid.uuid4().hex
    record = {
        "format": TAKE_FORMAT,
        "key": key,
        "created": time.time(),
        "facts": dict(facts),
        "files": {TENSORS: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
    }
    try:
        with room_for(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.mkdir(parents=True)
            for name, content in ((TENSORS, data), (FACTS, sealed(record))):
                (partial / name).write_bytes(content)
                flush(partial / name)
            flush_folder(partial)
            return _rename(partial, Take(path))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _rename(partial: Path, take: Take) -> Take:
    """Let a finished folder become the take; another process may have been faster with the same one."""
    if os.path.lexists(take.path):
        try:
            take.checked()
            return take
        except Damaged:
            _put_aside(take.path)
    try:
        os.rename(partial, take.path)
    except OSError:
        if not take.path.is_dir():
            raise
        take.checked()
    flush_folder(take.path.parent)
    return take


def _put_aside(path: Path) -> None:
    """Move what is no whole take out of the way, without losing it."""
    aside = path.parents[1] / "damaged"
    with contextlib.suppress(OSError):
        aside.mkdir(exist_ok=True)
        os.rename(path, aside / f"{path.name}.{uuid.uuid4().hex[:8]}")
    _count_deletion(path.parents[1])


def _count_deletion(root: Path) -> None:
    with contextlib.suppress(OSError):
        (root / "deletions").touch()
