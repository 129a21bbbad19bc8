"""Deterministic weights for a module, and the safetensors file they are kept in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def random_weights(module: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Return a state dict of `module`'s shapes that keeps activations near unit size."""
    return dict(random_tensors(module, seed))


def random_tensors(
    module: torch.nn.Module, seed: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and float32 value of every tensor of `module`, which may be on the meta device, made on `device`.

    Gains are about 1, matrices scaled by 1/sqrt(fan in), biases and tables small.
    """
    generator = torch.Generator(device).manual_seed(seed)
    for name, tensor in module.state_dict().items():
        leaf = name.rpartition(".")[2]
        noise = torch.randn(tensor.shape, generator=generator, device=device)
        if not tensor.is_floating_point() or tensor.ndim == 0:
            yield name, tensor.clone()
        elif leaf == "gamma" or (leaf == "weight" and tensor.ndim == 1):
            yield name, 1 + 0.02 * noise
        elif leaf == "weight":
            yield name, noise / math.sqrt(math.prod(tensor.shape[1:]))
        else:
            yield name, 0.02 * noise


def save(weights: Mapping[str, torch.Tensor], path: Path, config: Mapping[str, Any] | None = None) -> None:
    """Write `weights` as fp16 safetensors; `config` becomes the file's metadata entry of that name, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    halved = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous() for name, tensor in weights.items()
    }
    save_file(halved, path, metadata={"config": json.dumps(config)} if config is not None else None)
