"""What films made of takes: it is kept while there is room, and can always be made again.

film/<key>.segment    an encoded run of frames, see media/segments.py
film/<key>.measured   numbers that were measured between takes, sealed JSON
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from ..files.reading import Damaged, Unreadable, contents, files_in, make_folder
from ..files.sealed import sealed, unsealed
from ..files.whole import forget_oldest, write_whole
from ..identity import Unidentified, digest

if TYPE_CHECKING:
    from .store import Store

log = logging.getLogger(__name__)

FOLDER = "film"
FORMAT = "longtake.measured.v1"
LIMIT = 8 * 2**30  # bytes: hours of film at the usual quality


class Derived:
    """The folder of a store where films keep what they made of its takes."""

    def __init__(self, store: Store):
        self.root = store.root
        self.folder = store.root / FOLDER

    def segment(self, key: str) -> Path:
        """Where the segment of a key lies, or would."""
        return self.folder / f"{key}.segment"

    def keep(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write a file of the folder under its name, whole or not at all; raises `OSError` or `Refusal`."""
        make_folder(self.folder, self.root)
        write_whole(path, write, lasting=False)

    def make_room(self) -> None:
        """Forget what was not used for longest, where all of it is more than the folder's own limit."""
        forget_oldest(files(self.root), LIMIT)

    def measured(self, what: Any) -> list[float] | None:
        """The numbers measured of something, or None where none are kept."""
        path = self._measured(what)
        if path is None:
            return None
        try:
            values = unsealed(contents(path), (FORMAT,))["values"]
            os.utime(path)
        except Damaged as error:
            log.warning("Longtake: %s is measured again: %s", path.name, error)
        except (OSError, Unreadable):
            pass
        else:
            return values
        return None

    def keep_measured(self, what: Any, values: Sequence[float]) -> None:
        path = self._measured(what)
        if path is None:
            return
        data = sealed({"format": FORMAT, "values": list(values)})
        try:
            self.keep(path, lambda unfinished: unfinished.write_bytes(data))
        except (OSError, Refusal) as error:
            log.warning("Longtake: what was measured of a film is not kept: %s", error)

    def _measured(self, what: Any) -> Path | None:
        with contextlib.suppress(Unidentified):
            return self.folder / f"{digest([FORMAT, what])}.measured"
        return None


def files(root: Path) -> Iterator[Path]:
    """Every file that films keep in a store."""
    return files_in(root / FOLDER)


def forget_down_to(root: Path, limit: int, only_look: bool = False) -> int:
    """Remove what was not used for longest until at most `limit` bytes are kept, and say how many bytes are."""
    return forget_oldest(files(root), limit, spare_newest=False, only_look=only_look)
