"""Merged checkpoints: LoRAs computed into a model file's weights, tensor by tensor, and written as a file of its own.

The new file has every tensor of the old one with its type, shape and place, so whatever loads the old one loads it.
Changes are computed in fp32 by ComfyUI's own code and rounded as it rounds a patched weight.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..bundle.checkpoint import outline
from ..bundle.safetensors_file import Entry, Layout, layout_of
from ..bundle.skeleton import PREFIX, Skeleton, skeleton_of_file, text_names, text_shapes_of_file
from ..errors import Refusal
from ..families import Family
from ..whole_file import whole_file
from .apply import AppliedLora
from .match import match
from .names import bare, split
from .patch import merged

RECORD = "longtake.fused"  # entry of the file's metadata
CHUNK = 1 << 24  # bytes
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
FP8 = {"float8_e4m3fn", "float8_e5m2"}

Progress = Callable[[int, int], None]  # bytes done, bytes of all
Patches = dict[str, list[Any]]  # weight -> entries as a ModelPatcher keeps them


@dataclass(frozen=True)
class Fused:
    """A merged file: its path, and how many weights are changed in it."""

    path: Path
    weights: int


def fuse(
    source: str | os.PathLike[str],
    loras: Sequence[AppliedLora],
    family: Family,
    target: Path,
    progress: Progress = lambda done, total: None,
) -> Fused:
    """Write `source` with LoRAs merged into it; the target exists wholly or not at all.

    Only one tensor at a time is in memory, beside the LoRAs.

    Args:
        loras: in the order they are applied.
        target: the new file; it is replaced where it exists.

    Raises:
        Refusal: the source is quantised in a way that cannot be written again, a LoRA does not fit, or the disk is
            full.
    """
    source = Path(source)
    file = outline(source)
    layout = layout_of(source)
    skeleton = skeleton_of_file(file).with_text(text_shapes_of_file(file, family.lora))
    patches = _patches(skeleton, loras, family, source.name)
    names = _names_in_file(layout, patches, source.name, family)
    quantised = _quantised_layers(layout, source)
    for weight, name in names.items():
        _check_writable(layout.entries[name], name, quantised, layout, source.name, patches[weight])
    _check_space(target, layout)
    metadata = {**layout.metadata, RECORD: json.dumps([*_records(layout.metadata), _record(source, loras)])}

    def write(into: BinaryIO) -> None:
        with open(source, "rb") as old:
            _write(old, into, layout, metadata, names, patches, quantised, progress)

    _write_whole(target, write)
    return Fused(target, len(names))


def _write(
    old: BinaryIO,
    new: BinaryIO,
    layout: Layout,
    metadata: dict[str, str],
    names: dict[str, str],
    patches: Patches,
    quantised: dict[str, str],
    progress: Progress,
) -> None:
    begin = new.write(layout.header(metadata))
    changed = {name: weight for weight, name in names.items()}
    done = 0
    rewritten: set[str] = set()
    for name, entry in layout.in_order():
        if name in changed:
            weight = changed[name]
            values = _read(old, layout, entry)
            scale = _scale_name(name, layout) if name in quantised else None
            if scale is None:
                result = merged(values, patches[weight], weight, values.dtype)
                _put(new, begin, entry, result)
            else:
                old_scale = _read(old, layout, layout.entries[scale])
                result, new_scale = _requantised(values, old_scale, patches[weight], weight, quantised[name])
                _put(new, begin, entry, result)
                _put(new, begin, layout.entries[scale], new_scale.to(old_scale.dtype).reshape(old_scale.shape))
                rewritten.add(scale)
        elif name not in rewritten:
            _copy(old, layout.begin + entry.start, new, begin + entry.start, entry.size)
        done += entry.size
        progress(done, layout.size)


def _patches(skeleton: Skeleton, loras: Sequence[AppliedLora], family: Family, source: str) -> Patches:
    """Every weight's changes in order, as ModelPatcher.add_patches keeps them."""
    found: Patches = {}
    for lora in loras:
        matched = match(lora.file, skeleton, family.lora, second=lora.expert == "low")
        text = [key for key in matched.missed if family.lora.text_module(bare((split(key) or (key,))[0]))]
        if text:
            raise Refusal(
                f"{lora.file.name} changes the projection of the text encoder ({text[0]} first), which {source} does "
                "not hold. Merge it into the whole checkpoint."
            )
        for target, patch in matched.patches(lora.file.load(), skeleton.key_map).items():
            weight, offset = (target, None) if isinstance(target, str) else (target[0], target[1])
            found.setdefault(weight, []).append((lora.strength, patch, 1.0, offset, None))
    return found


def _requantised(
    values: torch.Tensor, scale: torch.Tensor, patches: list[Any], weight: str, form: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight in scaled fp8 and its scale, which is chosen anew: a change may reach beyond the old one's range."""
    import comfy.lora
    import comfy.utils
    from comfy.quant_ops import QUANT_ALGOS, get_layout_class

    plain = values.to(torch.float32) * scale.to(torch.float32).reshape(())
    changed = comfy.lora.calculate_weight(patches, plain, weight, intermediate_dtype=torch.float32)
    layout = get_layout_class(QUANT_ALGOS[form]["comfy_tensor_layout"])
    quantised, params = layout.quantize(
        changed, scale="recalculate", stochastic_rounding=comfy.utils.string_to_seed(weight)
    )
    return quantised, params.scale


def _names_in_file(layout: Layout, patches: Patches, source: str, family: Family) -> dict[str, str]:
    """Weight of ComfyUI's models -> its name in the file."""
    from comfy import model_detection

    prefix = model_detection.unet_prefix_from_state_dict(dict.fromkeys(layout.entries))
    if not any(name.startswith(prefix) for name in layout.entries):
        prefix = ""
    text = {ours: key for key, ours in text_names(layout.entries, family.lora).items()}
    names = {weight: text.get(weight, prefix + weight.removeprefix(PREFIX)) for weight in patches}
    missing = [name for name in names.values() if name not in layout.entries]
    if missing:
        raise Refusal(f"{source} has no {missing[0]} to merge a LoRA into.")
    return names


def _quantised_layers(layout: Layout, source: Path) -> dict[str, str]:
    """Names of weights that are stored with a scale -> ComfyUI's name of their format.

    Both ways of saying so are read as comfy.utils.convert_old_quants reads them.
    """
    found = {}
    for name in layout.entries:
        if name.endswith(".scale_weight"):
            found[name.removesuffix(".scale_weight") + ".weight"] = "float8_e4m3fn"
    said = json.loads(layout.metadata.get("_quantization_metadata", "{}")).get("layers", {})
    found |= {f"{layer}.weight": form["format"] for layer, form in said.items()}
    with open(source, "rb") as file:
        for name, entry in layout.entries.items():
            if name.endswith(".comfy_quant"):
                form = json.loads(_read(file, layout, entry).numpy().tobytes())
                found[name.removesuffix(".comfy_quant") + ".weight"] = form["format"]
    return found


def _scale_name(weight: str, layout: Layout) -> str | None:
    layer = weight.removesuffix(".weight")
    return next((name for name in (f"{layer}.weight_scale", f"{layer}.scale_weight") if name in layout.entries), None)


def _check_writable(
    entry: Entry, name: str, quantised: dict[str, str], layout: Layout, source: str, patches: list[Any]
) -> None:
    form = quantised.get(name)
    scale = _scale_name(name, layout)
    if form is None and scale is None and entry.dtype in FLOATS:
        return
    single = scale is not None and layout.entries[scale].elements == 1
    if form in FP8 and single and entry.dtype in FLOATS:
        return
    kind = form or (f"{entry.dtype} with a scale" if scale else entry.dtype)
    raise Refusal(
        f"{source} is quantised ({kind}, {name} first), and merged weights cannot be written back in that form without "
        "loss. Fuse into the bf16, fp16 or fp8 file of the same model."
    )


def _check_space(target: Path, layout: Layout) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < layout.size + CHUNK:
        raise Refusal(
            f"{layout.size / 1e9:.1f} GB are needed in {target.parent.name} and {free / 1e9:.1f} GB are free there."
        )


def _records(metadata: dict[str, str]) -> list[Any]:
    return json.loads(metadata.get(RECORD, "[]"))


def _record(source: Path, loras: Sequence[AppliedLora]) -> dict[str, Any]:
    return {
        "into": source.name,
        "computed_in": "float32",
        "loras": [lora.facts() for lora in loras],
    }


def _read(file: BinaryIO, layout: Layout, entry: Entry) -> torch.Tensor:
    file.seek(layout.begin + entry.start)
    data = bytearray(file.read(entry.size))
    if not data:
        return torch.empty(entry.shape, dtype=entry.torch_dtype)
    return torch.frombuffer(data, dtype=entry.torch_dtype).reshape(entry.shape)


def _put(file: BinaryIO, begin: int, entry: Entry, values: torch.Tensor) -> None:
    data = values.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    if len(data) != entry.size:
        raise ValueError(f"{len(data)} bytes for a tensor of {entry.size}")
    file.seek(begin + entry.start)
    file.write(data)


def _copy(old: BinaryIO, start: int, new: BinaryIO, to: int, size: int) -> None:
    old.seek(start)
    new.seek(to)
    while size:
        block = old.read(min(CHUNK, size))
        if not block:
            raise OSError(f"{old.name} ends early")
        new.write(block)
        size -= len(block)


def _write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    with whole_file(path) as unfinished, open(unfinished, "wb") as file:
        write(file)
