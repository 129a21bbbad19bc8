"""Tensors of safetensors files where they lie on disk, for reading and writing them one by one.

Format: 8 bytes length of the header, little endian; the header, JSON; the tensors' bytes, at offsets from its end.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from .outline import DTYPES, Outline, outline


@dataclass(frozen=True)
class Stored:
    """A tensor on disk.

    Args:
        begin: its first byte in the file.
        size: in bytes.
        dtype: the format's name of its type.
    """

    path: str
    begin: int
    size: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def read(self) -> torch.Tensor:
        dtype = DTYPES[self.dtype]
        if not self.size:
            return torch.empty(self.shape, dtype=dtype)
        with open(self.path, "rb") as file:
            file.seek(self.begin)
            return torch.frombuffer(bytearray(file.read(self.size)), dtype=dtype).reshape(self.shape)


@dataclass(frozen=True)
class StoredWeights:
    """What a safetensors file holds, or what one could hold whose tensors lie in several.

    Args:
        name: as errors call it.
        tensors: in the order in which their bytes follow one another in such a file.
    """

    name: str
    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size for tensor in self.tensors.values())

    def outline(self) -> Outline:
        """Names, shapes and types alone."""
        hollow = {
            # As in `checkpoint.outline`, types without a name in torch are those of quantised weights.
            name: torch.empty(tensor.shape, dtype=DTYPES.get(tensor.dtype, torch.uint8), device="meta")
            for name, tensor in self.tensors.items()
        }
        return Outline(self.name, hollow, dict(self.metadata))

    def starts(self) -> dict[str, int]:
        """First byte of each tensor, counted from the end of the header."""
        starts, start = {}, 0
        for name, tensor in self.tensors.items():
            starts[name] = start
            start += tensor.size
        return starts

    def header(self, metadata: Mapping[str, str]) -> bytes:
        """The head of a file with these tensors and other metadata, up to the first tensor's byte."""
        starts = self.starts()
        tensors = {
            name: {
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "data_offsets": [starts[name], starts[name] + tensor.size],
            }
            for name, tensor in self.tensors.items()
        }
        text = json.dumps({"__metadata__": dict(metadata), **tensors}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as the format's own writer has it
        return len(text).to_bytes(8, "little") + text

    def arranged(self) -> StoredWeights:
        """The same with every tensor at a multiple of its type's size, as the format's own writer arranges them."""

        def place(named: tuple[str, Stored]) -> tuple[int, str]:
            name, tensor = named
            return -(tensor.size // max(1, tensor.elements)), name

        return replace(self, tensors=dict(sorted(self.tensors.items(), key=place)))


def stored_in(path: str | os.PathLike[str]) -> StoredWeights:
    """What a file holds.

    Raises:
        Refusal: it is a pickle or another format, or its header is damaged.
    """
    name = outline(path).name
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    tensors = {}
    for key, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        tensors[key] = Stored(str(path), 8 + length + start, stop - start, entry["dtype"], tuple(entry["shape"]))
    return StoredWeights(name, tensors, metadata)
