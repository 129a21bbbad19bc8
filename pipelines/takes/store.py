"""Takes on disk: everything that was ever rendered, under the key of what made it.

    takes/<key>/              a take, see take.py
    numbers/<place>/<number>  the key of a take of this stage, see numbers.py
    chains/<id>.json          a chain of takes, see chains.py
    checkpoints/<key>.tape    a stage that is being rendered, or was stopped, see sampling/resume.py
    film/<key>.*              what films made of takes, see derived.py
    ltx2_mlx/<key>.mp4        a clip of the command ltx-2-mlx, see mlx/ltx2_clip.py
    jobs/<id>.json            a prompt whose render has not ended, see jobs.py
    servers/<id>              what a running server uses, see uses.py
    name                      tells the store from others, see folder_name.py
    damaged/                  what was not what had been written

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
from ..files.reading import Damaged, Unreadable, is_there, make_folder, names_in, put_aside
from ..files.sealed import sealed
from ..files.whole import flush, flush_folder, room_for
from . import listing, noted, tokens, uses
from .alive import clock
from .take import FACTS, KEY, TAKE_FORMAT, TENSORS, Take

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

MOVED = "LONGTAKE_STORE"  # names the store in the environment


class Store:
    """A folder of takes.

    Args:
        root: `output/longtake` unless LONGTAKE_STORE moves it.
    """

    def __init__(self, root: Path):
        self.root = root

    def find(self, key: str) -> Take | None:
        """The take of this key, whole and checked, or None. No server prunes it while somebody holds it.

        What lies under the key and is not what was written is reported and put aside, so that it is rendered again.

        Raises:
            Unreadable: it is there and cannot be read now.
        """
        path = self.root / "takes" / key
        if not is_there(path):
            return None
        take = uses.held(Take(path))
        try:
            take.checked()
        except Damaged as error:
            if is_there(path):
                self._put_aside(take, error)
            return None
        take.touch()
        return take

    def check_writable(self) -> None:
        """Check, before anything is rendered, that it could be kept.

        Raises:
            Refusal: the folder cannot be written, or the disk is full.
        """
        try:
            with room_for(self.root / "takes"):
                make_folder(self.root / "takes", self.root)
                clock(self.root / "takes")
        except OSError as error:
            raise Refusal(
                f"{self.root} cannot be written ({error.strerror}), so nothing that is rendered could be kept. Make "
                f"it writable, or start ComfyUI with --output-directory or {MOVED} and a folder that is."
            ) from error

    def write(self, key: str, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> Take:
        """Keep a take. No server prunes it while somebody holds it.

        Args:
            tensors: by name; "latent" `[1, C, T, h, w]` is the picture.
            facts: what made it; JSON values.

        Raises:
            Refusal: the disk is full; nothing is left behind.
        """
        from safetensors.torch import save

        data = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
        partial = self.root / "partial" / uuid.uuid4().hex
        record = {
            "format": TAKE_FORMAT,
            "key": key,
            "created": time.time(),
            "facts": dict(facts),
            "files": {TENSORS: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
        }
        try:
            with room_for(self.root / "takes" / key):
                make_folder(partial, self.root)
                for name, content in ((TENSORS, data), (FACTS, sealed(record))):
                    (partial / name).write_bytes(content)
                return self.adopt(partial, key)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def adopt(self, finished: Path, key: str) -> Take:
        """Keep a take that lies finished in a folder of the store. No server prunes it while somebody holds it.

        Args:
            finished: the folder, which becomes the take, or stays where there is that take already.

        Raises:
            Refusal: the disk is full.
        """
        take = uses.held(Take(self.root / "takes" / key))
        with room_for(take.path):
            make_folder(take.path.parent, self.root)
            tokens.have_token(self.root)
            for name in (TENSORS, FACTS):
                flush(finished / name)
            flush_folder(finished)
            self._appear(finished, take)
        return take

    def keys(self) -> list[str]:
        """The keys of all folders that may be takes; none of them is looked at."""
        return [name for name in names_in(self.root / "takes") if KEY.fullmatch(name)]

    def takes(self) -> Iterator[Take]:
        """Every folder that may be a take, read or not."""
        folder = self.root / "takes"
        for key in self.keys():
            yield Take(folder / key)

    def records(self) -> Iterator[tuple[Take, dict[str, Any]]]:
        """Every readable take and what its take.json says."""
        for take in self.takes():
            with contextlib.suppress(Damaged, Unreadable):
                yield take, take.glance()

    def newest(self, first: int, count: int, place: str | None = None) -> tuple[int, list[tuple[Take, dict[str, Any]]]]:
        """How many takes there are, and some of them with what take.json says, the newest first.

        Args:
            first, count: of those that are wanted.
            place: of the stage whose takes are meant; those of all without it.
        """
        rows = [row for row in listing.rows(self.root) if place is None or row.place == place]
        page = []
        for row in rows[first : first + count]:
            with contextlib.suppress(Damaged, Unreadable):
                page.append((row.take, row.take.glance()))
        return len(rows), page

    def take(self, key: str) -> Take | None:
        """The take of a key, or None; what it holds is not read."""
        path = self.root / "takes" / key
        return Take(path) if KEY.fullmatch(key) and path.is_dir() else None

    def noted(self) -> Iterator[Take]:
        """Every take that may have a name or a keep mark."""
        yield from map(Take, noted.noted(self.root))

    def checkpoint_path(self, key: str) -> Path:
        """Where a stage is kept while it renders."""
        return self.root / "checkpoints" / f"{key}.tape"

    def named(self, text: str) -> Take:
        """The take of a name, a key, or the first 8 or more digits of a key.

        Raises:
            Refusal: there is none, or more than one.
        """
        if re.fullmatch(r"[0-9a-f]{8,64}", text):
            matching = [key for key in self.keys() if key.startswith(text)]
        else:
            matching = [take.key for take in self.noted() if text and take.notes()["name"] == text]
        if len(matching) != 1:
            many = f"{len(matching)} takes are called {text!r}" if matching else f"there is no take {text!r}"
            raise Refusal(f"{many}; give the key of one, or its first digits (8 or more).", field="take")
        return Take(self.root / "takes" / matching[0])

    def deletions(self) -> int:
        """A number that changes whenever a take goes: what refers to takes must then be asked for anew.

        A store that is not there yet is made, since the number of its first take would be another change.
        """
        with contextlib.suppress(OSError, Unreadable):
            make_folder(self.root, self.root)
            tokens.have_token(self.root)
        return tokens.token(self.root, tokens.DELETIONS)

    def approvals(self) -> int:
        """A number that changes whenever a take is approved: who waits for that must then be asked anew."""
        return tokens.token(self.root, tokens.APPROVALS)

    def delete(self, take: Take) -> None:
        """Remove a take: it is gone at once, whatever happens while its files are being removed."""
        gone = self.root / "partial" / uuid.uuid4().hex
        make_folder(gone.parent, self.root)
        with contextlib.suppress(FileNotFoundError):
            os.replace(take.path, gone)
        tokens.change(self.root, tokens.DELETIONS)
        if gone.is_symlink() or gone.is_file():
            gone.unlink()
        shutil.rmtree(gone, ignore_errors=True)

    def _appear(self, partial: Path, take: Take) -> None:
        """Let a finished folder become the take; another process may have been faster with the same one."""
        try:
            os.rename(partial, take.path)
        except OSError:
            if not is_there(take.path):
                raise
            try:
                take.checked()
                return
            except Unreadable:
                return  # the same take, written before
            except Damaged as error:
                self._put_aside(take, error)
            os.rename(partial, take.path)
        flush_folder(take.path.parent)

    def _put_aside(self, take: Take, error: Damaged) -> None:
        log.warning("Longtake: take %s is rendered again: %s", take.key[:12], error)
        put_aside(take.path, self.root, str(error))
        tokens.change(self.root, tokens.DELETIONS)


def here() -> Store:
    """The store of this ComfyUI: `longtake` in its output folder, or what LONGTAKE_STORE names, for many to share.

    Raises:
        Refusal: LONGTAKE_STORE is no absolute path.
    """
    if moved := os.environ.get(MOVED):
        root = Path(moved).expanduser()
        if not root.is_absolute():
            raise Refusal(
                f"{MOVED} is {moved}, which depends on where ComfyUI was started; name the folder from the root on"
            )
        return Store(root)
    import folder_paths

    return Store(Path(folder_paths.get_output_directory()) / "longtake")
