"""What a model file is, read from its header alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import Refusal

SAFE_SUFFIXES = (".safetensors", ".sft")

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Outline:
    """Names, shapes and dtypes of a file's tensors, as meta tensors that hold no data."""

    name: str
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]


def outline(path: str | os.PathLike[str]) -> Outline:
    """Read the header of a safetensors file; costs milliseconds whatever its size.

    Raises:
        Refusal: the file is a pickle or another format, or its header is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.suffix.lower() not in SAFE_SUFFIXES:
        raise Refusal(
            f"{path.name} is not a safetensors file. Formats that can run code when opened are not read; "
            "convert it to .safetensors, or load it with its own loader and pass it through Use Loaded Models."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: _hollow(file.get_slice(key)) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise Refusal(
            f"{path.name} cannot be read as a safetensors file ({error}). Download or copy it again."
        ) from error
    if _is_mlx(tensors, metadata):
        raise Refusal(
            f"{path.name} holds weights for MLX, whose layout ComfyUI does not compute with; use what was published "
            "for PyTorch, diffusers or ComfyUI. To render Wan by MLX, put it into models/diffusers as diffusers has "
            "it, and choose MLX as what it is rendered by in Load Diffusers Folder. LTX-2 has a node of its own, "
            "Render LTX-2 by MLX."
        )
    return Outline(path.name, tensors, metadata)


def _is_mlx(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bool:
    """MLX says so in the metadata, as MLX-Gen does; quantised weights lie beside their scales and biases."""
    if metadata.get("format") == "mlx" or "mflux_version" in metadata:
        return True
    quantised = (key.removesuffix(".scales") for key in tensors if key.endswith(".scales"))
    return any(f"{name}.biases" in tensors and f"{name}.weight" in tensors for name in quantised)


def misfit(name: str, error: RuntimeError) -> Refusal | None:
    """What torch says of weights that a model cannot take, in a sentence that names the first of them; None for any
    other error.

    Args:
        name: what the weights come from.
    """
    head, *lines = [line.strip() for line in str(error).splitlines()] or [""]
    if not head.startswith("Error(s) in loading state_dict"):
        return None
    first = lines[0] if lines else head
    shapes = re.match(r"size mismatch for (\S+): .*Size\((.*?)\).*Size\((.*?)\)", first)
    if shapes:
        first = f"{shapes[1]} is {shapes[2]} in the file and {shapes[3]} in the model"
    more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
    return Refusal(f"{name} does not fit the model that it was taken for: {first.rstrip('.')[:200]}{more}.")


def _hollow(part: Any) -> torch.Tensor:
    # Types that torch has no name for only occur in quantised weights, whose dtype no detection looks at.
    return torch.empty(part.get_shape(), dtype=DTYPES.get(part.get_dtype(), torch.uint8), device="meta")


def model_config(file: Outline) -> dict[str, Any] | None:
    """What ComfyUI's own detection makes of a diffusion model: its `unet_config`, or None if it knows no such model."""
    from comfy import model_detection

    prefix = model_detection.unet_prefix_from_state_dict(file.tensors)
    if not any(key.startswith(prefix) for key in file.tensors):
        prefix = ""
    try:
        return model_detection.detect_unet_config(file.tensors, prefix, metadata=file.metadata)
    except (KeyError, IndexError, ZeroDivisionError, NotImplementedError):
        # Detection indexes keys that a file of another kind does not have.
        return None


def vae_channels(file: Outline) -> int | None:
    """Latent channels of a video VAE, or None where the layout is not one known here."""
    for key, axis in (("conv2.weight", 0), ("decoder.1.weight", 1)):  # Wan's VAEs; TAEHV, its small stand-in
        tensor = file.tensors.get(key)
        if tensor is not None and tensor.ndim >= 4:
            return int(tensor.shape[axis])
    return None
