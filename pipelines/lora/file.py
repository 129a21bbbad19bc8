"""LoRA files on disk: read by their header, refused where they are none."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch

from ..errors import Refusal
from ..weights.outline import SAFE_SUFFIXES, outline
from .names import bare, is_factor, split
from .traits import Shape

SMALL = 64  # elements; alphas and the like, whose values the matcher asks for


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file as ComfyUI's loras folder names it, and its header.

    Args:
        tensors: as meta tensors that hold no data, but for the small ones, whose values are read.
        changed: size in bytes and time of last change in nanoseconds, when the header was read.
    """

    name: str
    path: str
    tensors: dict[str, torch.Tensor] = field(compare=False, repr=False)
    metadata: dict[str, str] = field(compare=False, repr=False)
    changed: tuple[int, int]

    @property
    def content(self) -> str:
        """SHA-256 of the whole file, which is what identifies it; read once for each version of the file."""
        return _sha256(self.path, *self.changed)

    @cached_property
    def bare_shapes(self) -> dict[str, Shape]:
        """Shapes by key, without what trainers put before a module."""
        shapes = {}
        for key, tensor in self.tensors.items():
            module, suffix = split(key) or (key, "")
            shapes[bare(module) + suffix] = tuple(tensor.shape)
        return shapes

    def load(self) -> dict[str, torch.Tensor]:
        """All tensors with their values."""
        from safetensors.torch import load_file

        return load_file(self.path)

    def alphas_in_metadata(self) -> dict[str, Any]:
        """What diffusers writes beside its keys: `lora_alpha`, `r` and the like, under the name of the part."""
        try:
            alphas = json.loads(self.metadata.get("lora_adapter_metadata", "{}"))
        except json.JSONDecodeError:
            return {}
        return alphas if isinstance(alphas, dict) else {}


def open_lora(name: str, path: str | os.PathLike[str]) -> LoraFile:
    """Read the header of a LoRA file.

    Raises:
        Refusal: it is a pickle, empty, damaged, or holds no LoRA.
    """
    path = Path(path)
    if path.suffix.lower() not in SAFE_SUFFIXES:
        raise Refusal(
            f"{name} is not a safetensors file. Formats that can run code when opened are not read; convert it to "
            ".safetensors."
        )
    stat = path.stat()
    if stat.st_size == 0:
        raise Refusal(f"{name} is empty (0 bytes). Download or copy it again.")
    header = outline(path)
    if not any(split(key) for key in header.tensors):
        raise Refusal(f"{name} holds no LoRA: {_what_it_holds(header.tensors)}")
    _check_shapes(name, header.tensors)
    tensors = _with_small_values(path, header.tensors)
    return LoraFile(name, str(path), tensors, header.metadata, (stat.st_size, stat.st_mtime_ns))


def _check_shapes(name: str, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse what ComfyUI's matcher would stumble over: it takes for granted what such tensors look like."""
    for key, tensor in tensors.items():
        suffix = (split(key) or ("", ""))[1]
        shape = list(tensor.shape)
        if is_factor(suffix) and (len(shape) < 2 or not tensor.numel()):
            raise Refusal(
                f"{name} is no LoRA that can be applied: {key} has the shape {shape}, and a matrix is needed."
            )
        if suffix == ".alpha" and tensor.numel() != 1:
            raise Refusal(f"{name} is no LoRA that can be applied: {key} has the shape {shape}, and it is one number.")


def _with_small_values(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) if t.numel() <= SMALL else t for key, t in tensors.items()}


def _what_it_holds(tensors: dict[str, torch.Tensor]) -> str:
    if not tensors:
        return "it has no tensors at all."
    size = sum(tensor.numel() for tensor in tensors.values())
    first = ", ".join(list(tensors)[:3])
    kind = "a whole model, by its size; load it with a model loader" if size > 10**9 else "something else"
    return f"its {len(tensors)} tensors look like {kind} (the first keys: {first})."


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
