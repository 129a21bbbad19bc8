"""What a take is made of, hashed: equal keys mean equal takes. What cannot be identified gets a key of its own."""

from __future__ import annotations

import io
import json
import os
import secrets
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

from blake3 import blake3

from .progress import stop_if_cancelled

# Raised by hand whenever the same ingredients would render something else than before, or are hashed in another way.
STAGE_FORMAT = 3

WHOLE = 64 * 2**20  # files up to this many bytes are hashed whole
BLOCK = 4096
CHUNK = 16 * 2**20  # bytes read at a time, enough for several threads to hash
BLOCKS = 512  # evenly spaced over a larger file, beside one in the middle of every tensor
MAX_HEADER = 100 * 2**20  # as the safetensors library allows


class Unidentified(Exception):
    """Something that shapes a take cannot be told from something else; the message says what."""


@dataclass(frozen=True)
class Source:
    """Where the weights of a part come from: equal sources load equal weights.

    Args:
        files: their content counts, not their names, nor the order these put them in.
        options: how they are read.
        upstream: hash of the nodes of the queued graph that made the part.
    """

    files: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    upstream: str = ""


@dataclass(frozen=True)
class Identity:
    """What a rendering of a stage is called.

    Args:
        key: 64 hex digits; equal keys mean equal takes.
        place: 64 hex digits; takes of one place differ only in model, words, seed and sampling: they are the takes of
            one stage.
        unidentified: why the key is used once only; empty where the take can be found again.
    """

    key: str
    place: str
    unidentified: str = ""


def identity(ingredients: Mapping[str, Any], place: Mapping[str, Any]) -> Identity:
    """The identity of a take, of everything that can change it.

    Args:
        ingredients: any values that `canonical` knows.
        place: those of them that the takes of one stage share; an object that is in both is read once.
    """
    read: dict[int, Any] = {}

    def canonical_once(values: Mapping[str, Any]) -> dict[str, Any]:
        for value in values.values():
            if id(value) not in read:
                read[id(value)] = canonical(value)
        return {name: read[id(value)] for name, value in values.items()}

    try:
        where = _hash({"format": STAGE_FORMAT, **canonical_once(place)})
    except Unidentified:
        where = secrets.token_hex(32)
    try:
        return Identity(_hash({"format": STAGE_FORMAT, **canonical_once(ingredients)}), where)
    except Unidentified as error:
        return Identity(secrets.token_hex(32), where, str(error))


def digest(value: Any) -> str:
    """64 hex digits that stand for a value.

    Raises:
        Unidentified: it holds something that has no identity.
    """
    return _hash(canonical(value))


def _hash(value: Any) -> str:
    return blake3(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def canonical(value: Any) -> Any:
    """A value as JSON that is equal for equal values alone; every field of a dataclass counts that takes part in `==`.

    Raises:
        Unidentified: for anything not known here, so that what is added later is never left out by mistake.
    """
    if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, Enum):
        return {"enum": f"{type(value).__name__}.{value.name}"}
    if isinstance(value, Fraction):
        return {"fraction": str(value)}
    own = None if isinstance(value, type) else getattr(value, "identity", None)
    if own is not None:
        return {"class": type(value).__name__, "identity": canonical(own)}
    if isinstance(value, Source):
        return {"files": sorted(file_digest(path) for path in value.files), **_fields(value, leave_out=("files",))}
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__, **_fields(value)}
    if isinstance(value, Mapping):
        return {"map": sorted([canonical(key), canonical(entry)] for key, entry in value.items())}
    if isinstance(value, (frozenset, set)):
        return {"set": sorted(digest(entry) for entry in value)}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [canonical(entry) for entry in value]
    return _heavy(value)


def file_digest(path: str | os.PathLike[str]) -> str:
    """Hash of a file's content: the whole of a small one; of a larger one its size, its safetensors header, a block of
    every tensor in it and blocks spread evenly over it.

    It is remembered by path, size and times, so that a file is read again only after somebody wrote to it.
    """
    return _remembered(path, _sampled)


def content_digest(source: str | os.PathLike[str] | io.BytesIO) -> str:
    """Hash of all of a file, or of what a buffer holds; of a file it is remembered like `file_digest`.

    For what runs as part of a prompt: a cancel of it ends the reading.
    """
    if isinstance(source, io.BytesIO):
        return blake3(source.getbuffer()).hexdigest()
    return _remembered(source, _whole_unless_cancelled)


def _remembered(path: str | os.PathLike[str], read: Callable[[str, int], str]) -> str:
    place = os.path.realpath(path)
    try:
        status = os.stat(place)
        state = (read.__name__, place, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if state not in _digests:
            _digests[state] = read(place, status.st_size)
        return _digests[state]
    except OSError as error:
        raise Unidentified(f"{Path(path).name} cannot be read ({error})") from error


_digests: dict[tuple[str, str, int, int, int], str] = {}


def _whole_unless_cancelled(path: str, size: int) -> str:
    return _whole(path, size, stop_if_cancelled)


def _whole(path: str, size: int, between: Callable[[], None] = lambda: None) -> str:
    key = blake3(struct.pack("<Q", size))
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            between()
            key.update(chunk)
    return key.hexdigest()


def _sampled(path: str, size: int) -> str:
    if size <= WHOLE:
        return _whole(path, size)
    key = blake3(struct.pack("<Q", size))
    with open(path, "rb") as file:
        header, middles = _safetensors_middles(file)
        key.update(header)
        evenly = [index * (size - BLOCK) // (BLOCKS - 1) for index in range(BLOCKS)]
        for offset in sorted({*middles, *evenly}):
            file.seek(offset)
            key.update(file.read(BLOCK))
    return key.hexdigest()


def _safetensors_middles(file: Any) -> tuple[bytes, list[int]]:
    """The header of a safetensors file and where to look into each of its tensors; empty for other files."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > MAX_HEADER:
        return b"", []
    header = file.read(length)
    try:
        tensors = json.loads(header)
        spans = [entry["data_offsets"] for name, entry in tensors.items() if name != "__metadata__"]
        return header, [8 + length + max(first, (first + stop - BLOCK) // 2) for first, stop in spans]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return b"", []


def _fields(value: Any, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    names = [field.name for field in fields(value) if field.compare and field.name not in leave_out]
    return {name: canonical(getattr(value, name)) for name in names}


def _heavy(value: Any) -> Any:
    """What can only be there once torch or a model is."""
    if hasattr(value, "untyped_storage"):
        import torch

        data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        content = blake3(data.numpy()).hexdigest()
        return {"tensor": [str(value.dtype), list(value.shape), content]}
    raise Unidentified(f"{getattr(value, 'name', None) or type(value).__name__} cannot be identified")
