"""One take on disk: what it says of itself, its tensors, and whether it is what was written.

<key>/take.json            facts, and the size and hash of every file beside it; sealed with a hash of itself
<key>/tensors.safetensors  the latents
<key>/notes.json           name, keep mark and approval, the only things about a take that can change
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from ..files.reading import Damaged, contents, put_aside
from ..files.sealed import parsed, sealed, unsealed
from ..files.whole import write_whole
from . import temp, tokens
from .noted import NOTES, mark

if TYPE_CHECKING:
    import torch

TAKE_FORMAT = "longtake.take.v2"
NOTES_FORMAT = "longtake.notes.v1"
FACTS, TENSORS = "take.json", "tensors.safetensors"
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

    @property
    def root(self) -> Path:
        """The store it lies in."""
        return self.path.parents[1]

    def record(self) -> dict[str, Any]:
        """What take.json says.

        Raises:
            Damaged: it is not there, or not what was written.
            Unreadable: it cannot be read now.
        """
        record = unsealed(self._contents(FACTS), (TAKE_FORMAT,))
        if record.get("key") != self.key:
            raise Damaged("it is another take under this one's name")
        return record

    def glance(self) -> dict[str, Any]:
        """What take.json says, for lists: its seal, which takes most of the time of reading it, is not checked.

        Raises:
            Damaged: it is not there, or nothing that is written here.
            Unreadable: it cannot be read now.
        """
        record = parsed(self._contents(FACTS))
        try:
            if record["format"] == TAKE_FORMAT and record["key"] == self.key and isinstance(record["facts"], dict):
                float(record["created"]), sum(file["size"] for file in record["files"].values())
                return record
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"its {FACTS} is not what is written here ({error})") from None
        raise Damaged(f"its {FACTS} is of another take or format")

    def facts(self) -> dict[str, Any]:
        """What made it."""
        return self.record()["facts"]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Its tensors by name, read and checked.

        Raises:
            Refusal: the take has been deleted or damaged since it was rendered, or cannot be read now.
        """
        from safetensors.torch import load

        try:
            return load(self.checked())
        except Damaged as error:
            # Whoever still holds the take is then asked anew.
            tokens.change(self.root, tokens.DELETIONS)
            raise Refusal(
                f"the take {self.key[:12]} can no longer be used: {error}. Queue again: it is rendered anew, and the "
                "stages that are stored are not."
            ) from error

    def latent(self) -> torch.Tensor:
        return self.tensors()["latent"]

    def audio(self) -> torch.Tensor | None:
        """The sound's latent `[1, C, T, F]`, or None for a silent take."""
        return self.tensors().get("audio")

    def checked(self) -> bytes:
        """The bytes of its tensor file.

        Raises:
            Damaged: it is not there, or not what was written.
            Unreadable: it cannot be read now.
        """
        expected = self.record()["files"][TENSORS]
        data = self._contents(TENSORS)
        if len(data) != expected["size"] or hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise Damaged(f"its {TENSORS} has changed since it was written")
        return data

    def notes(self) -> dict[str, Any]:
        """Name, keep mark and approval; those of an unnamed take where nothing is noted, or what was noted is damaged.

        Raises:
            Unreadable: they cannot be read now.
        """
        blank = {"name": "", "keep": False, "approved": False}
        try:
            return {**blank, **unsealed(contents(self.path / NOTES), (NOTES_FORMAT,))}
        except FileNotFoundError:
            return blank
        except Damaged as error:
            put_aside(self.path / NOTES, self.root, f"the notes of take {self.key[:12]} are lost, {error}")
            return blank

    def note(self, **changes: Any) -> None:
        """Change its name, keep mark or approval."""
        mark(self.path)
        notes = {**self.notes(), **changes, "format": NOTES_FORMAT}
        write_whole(self.path / NOTES, lambda partial: partial.write_bytes(sealed(notes)))
        if "approved" in changes:
            tokens.change(self.root, tokens.APPROVALS)

    def _contents(self, name: str) -> bytes:
        try:
            return contents(self.path / name)
        except FileNotFoundError:
            raise Damaged(f"its {name} is missing") from None

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
        return temp.temp_folder() / f"{self.key}.frames.npy"

    def preview_path(self, first: int, stop: int) -> Path:
        """Where a small playable copy of its frames [first, stop) is kept, once they have been decoded."""
        return temp.temp_folder() / f"{self.key}.{first}-{stop}.preview.mp4"

    @property
    def sound_path(self) -> Path:
        """Where the decoded sound is kept, once somebody has asked for it."""
        return temp.temp_folder() / f"{self.key}.sound.safetensors"
