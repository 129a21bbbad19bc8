"""Tensors one after the other in a file that is only added to, each with a hash of itself.

Nothing is flushed to the disk: a process that is killed loses nothing that it had added, and a machine that loses its
power loses the last seconds, which the hashes tell.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_HEAD = struct.Struct("<8sQ32s")  # kind, bytes of the body, its SHA-256


@dataclass(frozen=True)
class Record:
    """What was added at once.

    Args:
        facts: JSON values.
        tensors: by name.
    """

    facts: dict[str, Any]
    tensors: dict[str, torch.Tensor]


class Tape:
    """A file of records, read from its beginning and written on from where reading stopped.

    Raises:
        OSError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")  # noqa: SIM115
        self._place = 0

    @property
    def at_end(self) -> bool:
        """Whether nothing lies ahead, be it whole or not."""
        return self._size() <= self._place

    def next(self, kind: str, facts: Mapping[str, Any]) -> dict[str, torch.Tensor] | None:
        """The tensors of the next record, or None where there is none of this kind and with these facts."""
        head = self._head()
        record = None if head is None or head[0] != kind else self._body(*head[1:])
        if record is None or record.facts != facts:
            return None
        self._place = self._file.tell()
        return record.tensors

    def last(self, kind: str) -> Record | None:
        """The last record of a kind; the place is then behind it. None, and the place stays, where there is none."""
        begun, behind, record = self._place, self._place, None
        while (head := self._head()) is not None:
            self._place += _HEAD.size + head[1]
            if head[0] == kind and (whole := self._body(*head[1:])) is not None:
                record, behind = whole, self._place
        self._place = begun if record is None else behind
        return record

    def add(self, kind: str, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Put a record in the place of whatever still lies ahead; raises `OSError`.

        Args:
            tensors: contiguous, on the CPU, each in memory of its own.
        """
        from safetensors.torch import save

        body = save(dict(tensors), {"facts": json.dumps(facts)})
        self._file.truncate(self._place)
        self._file.write(_HEAD.pack(kind.encode(), len(body), hashlib.sha256(body).digest()))
        self._file.write(body)
        self._file.flush()
        self._place = self._file.tell()

    def close(self) -> None:
        """Let go of the file; it stays unless nothing was added."""
        if self._file.closed:
            return
        empty = self._size() == 0
        with suppress(OSError):
            self._file.close()
            if empty:
                self.path.unlink()

    def remove(self) -> None:
        self.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _head(self) -> tuple[str, int, bytes] | None:
        self._file.seek(self._place)
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        kind, size, check = _HEAD.unpack(head)
        if size > self._size() - self._place - _HEAD.size:
            return None
        return kind.rstrip(b"\0").decode(errors="replace"), size, check

    def _body(self, size: int, check: bytes) -> Record | None:
        from safetensors.torch import load

        body = self._file.read(size)
        if hashlib.sha256(body).digest() != check:
            return None
        header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
        return Record(json.loads(header["__metadata__"]["facts"]), load(body))
