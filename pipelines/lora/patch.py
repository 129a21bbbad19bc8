"""A file's changes put on a ModelPatcher, those that ComfyUI would pass over among them."""

from __future__ import annotations

from typing import Any

from ..errors import Refusal
from .file import LoraFile
from .match import Match
from .skeleton import PREFIX, TEXT


def patch(base: Any, file: LoraFile, matched: Match, strength: float) -> Any:
    """A clone of a ModelPatcher with a file's changes added, as ComfyUI's LoraLoaderModelOnly adds them.

    ComfyUI patches the weights of modules without children only; a parameter beside children, as the modulation tables
    of a transformer block are, is counted as patched and stays as it was. Such a one is exchanged for a changed copy.

    Raises:
        Refusal: the loaded model lacks weights that its header names.
    """
    from comfy.lora import model_lora_keys_unet

    patches = matched.patches(file.load(), model_lora_keys_unet(base.model, {}))
    if not patches:
        return base
    clone = base.clone()
    tables = {name: patches.pop(name) for name in _beside_children(base.model) if name in patches}
    taken = set(clone.add_patches(patches, strength))
    left = [str(target) for target in patches if target not in taken]
    if left:
        raise Refusal(
            f"{file.name}: the loaded model lacks {len(left)} of the weights that its header names, {left[0]} first. "
            "Was the file changed in between?"
        )
    for name, change in tables.items():
        clone.add_object_patch(name, _changed(clone.get_model_object(name), name, change, strength))
    return clone


def patch_text(clip: Any, file: LoraFile, matched: Match, strength: float) -> Any:
    """A clone of a CLIP with a file's changes to the text encoder added."""
    key_map = {
        TEXT + weight.removesuffix(".weight"): weight for weight in matched.weights if not weight.startswith(PREFIX)
    }
    clone = clip.clone()
    patches = matched.patches(file.load(), key_map)
    if set(clone.add_patches(patches, strength)) != set(patches):
        raise Refusal(f"{file.name}: the loaded text encoder lacks weights that its header names.")
    return clone


def merged(values: Any, patches: list[Any], weight: str, dtype: Any) -> Any:
    """A weight with changes computed in fp32 and rounded to `dtype` as ComfyUI rounds a patched weight.

    Args:
        values: the weight; it is left as it is.
        patches: entries as a ModelPatcher keeps them for a weight.
        weight: its name in ComfyUI's model, which seeds the rounding to fp8.
    """
    import comfy.float
    import comfy.lora
    import comfy.utils
    import torch

    changed = comfy.lora.calculate_weight(
        patches, values.to(torch.float32, copy=True), weight, intermediate_dtype=torch.float32
    )
    return comfy.float.stochastic_rounding(changed, dtype, seed=comfy.utils.string_to_seed(weight))


def _beside_children(model: Any) -> list[str]:
    """Parameters of modules that have parameters further down too."""
    names = []
    for path, module in model.named_modules():
        own = [name for name, _ in module.named_parameters(recurse=False)]
        if own and any("." in name for name, _ in module.named_parameters()):
            names += [f"{path}.{name}" if path else name for name in own]
    return names


def _changed(parameter: Any, name: str, change: Any, strength: float) -> Any:
    """A changed copy that remembers what it was made of, so that stacked changes are rounded once."""
    import torch

    original, changes = getattr(parameter, "unmerged", (parameter, []))
    changes = [*changes, (strength, change, 1.0, None, None)]
    copy = torch.nn.Parameter(merged(original.detach(), changes, name, original.dtype), requires_grad=False)
    copy.unmerged = (original, changes)  # type: ignore[attr-defined]
    return copy
