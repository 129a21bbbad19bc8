"""Takes on disk: everything that was ever rendered, under the key of what made it.

    takes/<key>/              a take, see take.py
    numbers/<place>/<number>  the key of a take of this stage, see numbers.py
    chains/<id>.json          a chain of takes, see chains.py
    checkpoints/<key>.tape    a stage that is being rendered, or was stopped, see resume.py

A take is put together under another name and appears by one rename, so it exists wholly or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from .decoded import temp
from .disk import READ_ONLY, Damaged, flush, flush_folder, room_for, sealed
from .take import FACTS, KEY, TAKE_FORMAT, TENSORS, Take

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


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

    return Store(Path(folder_paths.get_output_directory()) / "longtake", temp())


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
