"""The layout of a safetensors file, for reading and writing it tensor by tensor.

Format: 8 bytes length of the header, little endian; the header, JSON; the tensors' bytes, at offsets from its end.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .checkpoint import DTYPES


@dataclass(frozen=True)
class Entry:
    """A tensor: the format's name of its type, its shape, and its bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]


@dataclass(frozen=True)
class Layout:
    """Where everything in a file is.

    Args:
        begin: first byte of the tensors.
        size: bytes of all tensors.
    """

    entries: dict[str, Entry]
    metadata: dict[str, str]
    begin: int
    size: int

    def in_order(self) -> Iterator[tuple[str, Entry]]:
        """Tensors as their bytes follow one another."""
        return iter(sorted(self.entries.items(), key=lambda one: one[1].start))

    def header(self, metadata: dict[str, str]) -> bytes:
        """The head of a file with the same tensors and other metadata, up to the first tensor's byte."""
        tensors = {
            name: {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [entry.start, entry.stop]}
            for name, entry in self.entries.items()
        }
        text = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as the format's own writer has it
        return len(text).to_bytes(8, "little") + text


def layout_of(path: str | os.PathLike[str]) -> Layout:
    """Read a file's layout; the file must have passed `checkpoint.outline`, which judges damage."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    entries = {
        name: Entry(entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"]) for name, entry in header.items()
    }
    return Layout(entries, metadata, 8 + length, max((entry.stop for entry in entries.values()), default=0))
