"""Merged checkpoints: LoRAs computed into a model's weights, tensor by tensor, and written as a file of its own.

The new file has every tensor of the old one with its type, shape and place, so whatever loads the old one loads it.
Of a diffusers folder it has what a file of that model has under ComfyUI's names.
Changes are computed in fp32 by ComfyUI's own code and rounded as it rounds a patched weight.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import Refusal
from ..files.whole import CountedName, whole_file
from ..lora.applied import AppliedLora
from ..lora.choice import Passes
from ..lora.match import match
from ..lora.names import bare, split
from ..lora.patch import merged
from ..lora.skeleton import PREFIX, Skeleton, skeleton_of_file, text_names, text_shapes_of_file
from ..weights.pairs import Noise
from ..weights.stored import Stored, StoredWeights
from .bundle import Family, VideoModel

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


def experts_to_fuse(model: VideoModel) -> list[tuple[Noise, StoredWeights]]:
    """The experts of a bundle that have LoRAs, and what their files hold.

    Raises:
        Refusal: there is none, its weights are in no file, or a file of one model cannot say what the bundle does.
    """
    if model.second_pass is not None:
        single = next(lora for lora in model.loras if lora.passes is not Passes.BOTH)
        raise Refusal(
            f"{single.file.name} is on the {single.passes.value} of two passes alone, and a merged file is for both. "
            "Put it on both, or merge the bundle without it and put it on the merged one.",
            field="model",
        )
    parts = [(expert, model.expert(expert)) for expert in Noise if model.loras_of(expert)]
    experts = [(expert, part) for expert, part in parts if part is not None]
    if not experts:
        raise Refusal("the bundle has no LoRA to merge; put Apply LoRA before this node.", field="model")
    stored = []
    for expert, part in experts:
        if part.stored is None:
            raise Refusal(
                f"the {part.name} was loaded by another node, which may have changed it, and merging works from files. "
                "Choose its file in Load Wan 2.2 or Load LTX-2, or its folder in Load Diffusers Folder.",
                field="model",
            )
        stored.append((expert, part.stored()))
    return stored


def fuse(
    source: StoredWeights,
    loras: Sequence[AppliedLora],
    family: Family,
    target: Path | CountedName,
    progress: Progress = lambda done, total: None,
) -> Fused:
    """Write `source` with LoRAs merged into it; the target exists wholly or not at all.

    Only one tensor at a time is in memory, beside the LoRAs.

    Args:
        loras: in the order they are applied.
        target: the new file, which is replaced where it exists, or a name that counts up to the first that is free.

    Raises:
        Refusal: the source is quantised in a way that cannot be written again, a LoRA does not fit, or the disk is
            full.
    """
    outline = source.outline()
    skeleton = skeleton_of_file(outline).with_text(text_shapes_of_file(outline, family.lora))
    patches = _patches(skeleton, loras, family, source.name)
    names = _names_in_file(source, patches, family)
    quantised = _quantised_layers(source)
    for name in names.values():
        _check_writable(name, quantised, source)
    _check_space(target, source)
    record = json.dumps([*_records(source.metadata), _record(source.name, loras)])
    with whole_file(target) as unfinished, open(unfinished, "wb") as file:
        begin = file.write(source.header({**source.metadata, RECORD: record}))
        _write(file, begin, source, names, patches, quantised, progress)
    return Fused(target.parent / target.name, len(names))


def _write(
    file: BinaryIO,
    begin: int,
    source: StoredWeights,
    names: dict[str, str],
    patches: Patches,
    quantised: dict[str, str],
    progress: Progress,
) -> None:
    """Write the tensors behind a header of `begin` bytes."""
    starts = {name: begin + start for name, start in source.starts().items()}
    changed = {name: weight for weight, name in names.items()}
    done = 0
    rewritten: set[str] = set()
    for name, tensor in source.tensors.items():
        if name in changed:
            weight = changed[name]
            values = tensor.read()
            scale = _scale_name(name, source) if name in quantised else None
            if scale is None:
                result = merged(values, patches[weight], weight, values.dtype)
                _put(file, starts[name], tensor, result)
            else:
                old_scale = source.tensors[scale].read()
                result, new_scale = _requantised(values, old_scale, patches[weight], weight, quantised[name])
                _put(file, starts[name], tensor, result)
                new_scale = new_scale.to(old_scale.dtype).reshape(old_scale.shape)
                _put(file, starts[scale], source.tensors[scale], new_scale)
                rewritten.add(scale)
        elif name not in rewritten:
            _copy(tensor, file, starts[name])
        done += tensor.size
        progress(done, source.size)


def _patches(skeleton: Skeleton, loras: Sequence[AppliedLora], family: Family, source: str) -> Patches:
    """Every weight's changes in order, as ModelPatcher.add_patches keeps them."""
    patches: Patches = {}
    for lora in loras:
        matched = match(lora.file, skeleton, family.lora, second=lora.expert is Noise.LOW)
        text = [key for key in matched.missed if family.lora.text_module(bare((split(key) or (key,))[0]))]
        if text:
            raise Refusal(
                f"{lora.file.name} changes the projection of the text encoder ({text[0]} first), which {source} does "
                "not hold. Merge it into the whole checkpoint."
            )
        for target, patch in matched.patches(lora.file.load(), skeleton.key_map).items():
            weight, offset = (target, None) if isinstance(target, str) else (target[0], target[1])
            patches.setdefault(weight, []).append((lora.strength, patch, 1.0, offset, None))
    return patches


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


def _names_in_file(source: StoredWeights, patches: Patches, family: Family) -> dict[str, str]:
    """Weight of ComfyUI's models -> its name in the file."""
    from comfy import model_detection

    prefix = model_detection.unet_prefix_from_state_dict(dict.fromkeys(source.tensors))
    if not any(name.startswith(prefix) for name in source.tensors):
        prefix = ""
    text = {ours: key for key, ours in text_names(source.tensors, family.lora).items()}
    names = {weight: text.get(weight, prefix + weight.removeprefix(PREFIX)) for weight in patches}
    missing = [name for name in names.values() if name not in source.tensors]
    if missing:
        raise Refusal(f"{source.name} has no {missing[0]} to merge a LoRA into.")
    return names


def _quantised_layers(source: StoredWeights) -> dict[str, str]:
    """Names of weights that are stored with a scale -> ComfyUI's name of their format.

    Both ways of saying so are read as comfy.utils.convert_old_quants reads them.
    """
    formats = {}
    for name in source.tensors:
        if name.endswith(".scale_weight"):
            formats[name.removesuffix(".scale_weight") + ".weight"] = "float8_e4m3fn"
    said = json.loads(source.metadata.get("_quantization_metadata", "{}")).get("layers", {})
    formats |= {f"{layer}.weight": form["format"] for layer, form in said.items()}
    for name, tensor in source.tensors.items():
        if name.endswith(".comfy_quant"):
            form = json.loads(tensor.read().numpy().tobytes())
            formats[name.removesuffix(".comfy_quant") + ".weight"] = form["format"]
    return formats


def _scale_name(weight: str, source: StoredWeights) -> str | None:
    layer = weight.removesuffix(".weight")
    return next((name for name in (f"{layer}.weight_scale", f"{layer}.scale_weight") if name in source.tensors), None)


def _check_writable(name: str, quantised: dict[str, str], source: StoredWeights) -> None:
    form, stored = quantised.get(name), source.tensors[name]
    scale = _scale_name(name, source)
    if form is None and scale is None and stored.dtype in FLOATS:
        return
    single = scale is not None and source.tensors[scale].elements == 1
    if form in FP8 and single and stored.dtype in FLOATS:
        return
    kind = form or (f"{stored.dtype} with a scale" if scale else stored.dtype)
    raise Refusal(
        f"{source.name} is quantised ({kind}, {name} first), and merged weights cannot be written back in that form "
        "without loss. Fuse into the bf16, fp16 or fp8 file of the same model."
    )


def _check_space(target: Path | CountedName, source: StoredWeights) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < source.size + CHUNK:
        raise Refusal(
            f"{source.size / 1e9:.1f} GB are needed in {target.parent.name} and {free / 1e9:.1f} GB are free there."
        )


def _records(metadata: Mapping[str, str]) -> list[Any]:
    return json.loads(metadata.get(RECORD, "[]"))


def _record(source: str, loras: Sequence[AppliedLora]) -> dict[str, Any]:
    return {
        "into": source,
        "computed_in": "float32",
        "loras": [lora.facts() for lora in loras],
    }


def _put(file: BinaryIO, start: int, stored: Stored, values: torch.Tensor) -> None:
    data = values.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    if len(data) != stored.size:
        raise ValueError(f"{len(data)} bytes for a tensor of {stored.size}")
    file.seek(start)
    file.write(data)


def _copy(stored: Stored, file: BinaryIO, start: int) -> None:
    file.seek(start)
    left = stored.size
    with open(stored.path, "rb") as old:
        old.seek(stored.begin)
        while left:
            block = old.read(min(CHUNK, left))
            if not block:
                raise OSError(f"{stored.path} ends early")
            file.write(block)
            left -= len(block)
