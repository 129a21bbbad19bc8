"""Takes on their way between stores that share no folder: sealed as they lie on disk, and checked where they arrive.

8 bytes            length of take.json, little-endian
take.json          sealed; says size and hash of what follows
tensors.safetensors
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import Refusal
from ..files.reading import Damaged, make_folder
from ..files.sealed import unsealed
from ..files.whole import room_for
from . import housekeeping, numbers
from .store import Store
from .take import FACTS, KEY, TAKE_FORMAT, TENSORS, Take

CHUNK = 2**20
LONGEST_RECORD = 2**20  # bytes; they are a few thousand
SPARE = 2**30  # bytes of the disk that what arrives leaves free


def packed(take: Take) -> tuple[int, Iterator[bytes]]:
    """How many bytes a take is on its way, and those bytes.

    Raises:
        Damaged: it is not what was written.
        Unreadable: it cannot be read now.
    """
    tensors = take.checked()
    record = (take.path / FACTS).read_bytes()
    head = len(record).to_bytes(8, "little") + record

    def chunks() -> Iterator[bytes]:
        yield head
        for start in range(0, len(tensors), CHUNK):
            yield tensors[start : start + CHUNK]

    return len(head) + len(tensors), chunks()


class Arriving:
    """A take that is arriving; a context manager, which leaves nothing behind of one that does not.

    Args:
        key: that it is to have.
        size: bytes that come.

    Raises:
        Refusal: there is no room for it.
    """

    def __init__(self, store: Store, key: str, size: int):
        self._store, self._key, self._size = store, key, size
        partial = store.root / "partial"
        self._folder = partial / uuid.uuid4().hex
        with room_for(self._folder):
            make_folder(partial, store.root)
        free = shutil.disk_usage(partial).free
        if free - 2 * size < SPARE:
            raise Refusal(f"a take of {size} bytes arrives, and the disk has {free} left; free some space.")
        with room_for(self._folder):
            self._folder.mkdir()
        self._file: BinaryIO = (self._folder / "arriving").open("w+b")

    def __enter__(self) -> Arriving:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, chunk: bytes) -> None:
        """Raises `Refusal` where more comes than was said, or the disk is full."""
        if self._file.tell() + len(chunk) > self._size:
            raise Refusal(f"more than the {self._size} bytes arrive that were announced.")
        with room_for(self._folder):
            self._file.write(chunk)

    def keep(self) -> Take:
        """Check what has arrived and keep it as a take, with a number among the takes of its stage.

        Raises:
            Damaged: it is not a take of this key, or not as it was sent.
            Unreadable: it is of another version's format.
        """
        self._file.seek(0)
        length = int.from_bytes(self._file.read(8), "little")
        if length > LONGEST_RECORD:
            raise Damaged("what arrives is no take")
        sealed = self._file.read(length)
        record = unsealed(sealed, (TAKE_FORMAT,))
        if record.get("key") != self._key:
            raise Damaged("it is another take than its address says")
        with room_for(self._folder), (self._folder / TENSORS).open("wb") as tensors:
            said = {"size": self._size - 8 - length, "sha256": _copied(self._file, tensors)}
        if record.get("files") != {TENSORS: said}:
            raise Damaged("it has changed on its way")
        self._file.close()
        os.unlink(self._folder / "arriving")
        (self._folder / FACTS).write_bytes(sealed)
        place = record["facts"].get("place")
        if isinstance(place, str) and KEY.fullmatch(place):
            numbers.claim(self._store, place, self._key)
        take = self._store.adopt(self._folder, self._key)
        housekeeping.keep_to_limit(self._store)
        return take


def _copied(source: BinaryIO, target: BinaryIO) -> str:
    """Copy what is left of a file, and return its SHA-256."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()
