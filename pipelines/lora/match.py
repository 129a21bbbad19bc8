"""What of a LoRA file lands on which weight of a model, found by ComfyUI's own matcher, from headers alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import Refusal
from .dora import peft_dora
from .file import LoraFile
from .names import BIAS, MAGNITUDE, aliases, for_second, respelled, split
from .skeleton import TEXT, Skeleton
from .traits import LoraTraits, Shape


@dataclass(frozen=True)
class Misfit:
    """A change whose shape is not that of its weight."""

    weight: str
    needed: Shape
    offered: Shape


@dataclass(frozen=True)
class Match:
    """Where a LoRA's keys lead.

    Args:
        keys: those meant for this model.
        native: how many of them ComfyUI's matcher takes as they are.
        names: key of the file -> the name it is handed to that matcher under, for those that find a weight.
        missed: keys that find none.
        alphas: alphas that the file's metadata holds in place of keys, as the matcher reads them.
        weights: names of the weights that are changed.
        misfits: weights whose change has another shape.
        ranks, scales: of its low-rank pairs; the scale is alpha / rank, or 1 without an alpha.
    """

    keys: tuple[str, ...]
    native: int
    names: Mapping[str, str]
    missed: tuple[str, ...]
    alphas: Mapping[str, float]
    weights: tuple[str, ...]
    misfits: tuple[Misfit, ...]
    ranks: tuple[int, ...]
    scales: tuple[float, ...]

    def patches(self, tensors: Mapping[str, torch.Tensor], key_map: Mapping[str, Any]) -> dict[Any, Any]:
        """What ComfyUI's ModelPatcher takes as patches: weight -> change.

        Args:
            tensors: all of the file's, with their values.
            key_map: of the model that is to be patched.
        """
        return _patches(_arranged(self.names, self.alphas, tensors), key_map)[1]


def match(file: LoraFile, skeleton: Skeleton, traits: LoraTraits, second: bool = False) -> Match:
    """Match a file with a model.

    Args:
        second: whether the model is the second of two; a file that names both says which keys are meant for it.
    """
    keys = _meant(file, second)
    own = {key: file.tensors[key] for key in keys}
    taken = _taken(own, skeleton.key_map)[0]
    modules = aliases(skeleton.modules, traits.diffusers_name)

    def find(module: str) -> str | None:
        text = traits.text_module(module)
        return modules.get(module) if text is None else TEXT + text

    names = {key: key for key in taken}
    used_names = set(taken)
    for key in keys:
        name = None if key in taken else respelled(key, find)
        if name is not None and name not in used_names:
            names[key] = name
            used_names.add(name)
    alphas = _metadata_alphas(file, names)
    read, patches = _patches(_arranged(names, alphas, own), skeleton.key_map)
    names = {key: name for key, name in names.items() if name in read}
    return Match(
        keys=tuple(keys),
        native=len(taken),
        names=names,
        missed=tuple(key for key in keys if key not in names),
        alphas=alphas,
        weights=tuple(target if isinstance(target, str) else target[0] for target in patches),
        misfits=tuple(_misfits(patches, skeleton)),
        ranks=tuple(sorted({r for r, _ in map(_rank_and_scale, patches.values()) if r})),
        scales=tuple(sorted({s for r, s in map(_rank_and_scale, patches.values()) if r})),
    )


def _meant(file: LoraFile, second: bool) -> list[str]:
    """The keys for this model; a file of `transformer` and `transformer_2` keys holds both halves of a pair."""
    theirs = {key for key in file.tensors if for_second(key)}
    if not theirs:
        return list(file.tensors)
    return [key for key in file.tensors if (key in theirs) == second]


class _Offered(dict[str, torch.Tensor]):
    """Tensors by key that remember which of them were taken."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]):
        super().__init__(tensors)
        self.taken: set[str] = set()

    def __getitem__(self, key: str) -> torch.Tensor:
        value = super().__getitem__(key)
        self.taken.add(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            return default
        return self[key]


def _taken(tensors: Mapping[str, torch.Tensor], key_map: Mapping[str, Any]) -> tuple[set[str], dict[Any, Any]]:
    """The keys that ComfyUI's matcher makes something of, and the patches it makes of them."""
    from comfy.lora import load_lora
    from comfy.lora_convert import convert_lora

    # Conversion may rename keys, so a tensor is known again by being the same object.
    names = {id(tensor): key for key, tensor in tensors.items()}
    offered = _Offered(convert_lora(dict(tensors)))
    try:
        patches = load_lora(offered, key_map, log_missing=False)
    except KeyError as error:
        raise Refusal(
            f"the file lacks {error.args[0]}, the other half of a pair. Download or copy it again."
        ) from error
    used = {id(dict.__getitem__(offered, key)) for key in offered.taken}
    return {names[tensor_id] for tensor_id in used if tensor_id in names}, patches


def _arranged(
    names: Mapping[str, str], alphas: Mapping[str, float], tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Tensors of a file under the names that the matcher reads."""
    arranged = {name: tensors[key] for key, name in names.items()}
    return arranged | {name: torch.tensor(alpha) for name, alpha in alphas.items()}


def _patches(offered: Mapping[str, torch.Tensor], key_map: Mapping[str, Any]) -> tuple[set[str], dict[Any, Any]]:
    """The keys that are made use of, and the patches, PEFT's additions to a pair among them."""
    read, patches = _taken(offered, key_map)
    for name, tensor in offered.items():
        module, suffix = split(name) or (name, "")
        target = key_map.get(module)
        pair = patches.get(target)
        if suffix not in (MAGNITUDE, BIAS) or not isinstance(target, str) or getattr(pair, "name", None) != "lora":
            continue
        read.add(name)
        if suffix == MAGNITUDE:
            patches[target] = peft_dora(pair, tensor)
        else:
            scale = _rank_and_scale(pair)[1]
            patches[target.removesuffix(".weight") + ".bias"] = ("diff", (tensor * scale,))
    return read, patches


def _metadata_alphas(file: LoraFile, names: Mapping[str, str]) -> dict[str, float]:
    """Alphas for the pairs of a diffusers file that keeps them in its metadata.

    diffusers scales by lora_alpha / r there, and by 1 where it wrote no such metadata.
    """
    facts = file.alphas_in_metadata()
    alphas = {}
    for key, name in names.items():
        pair = re.match(r"(transformer(?:_2)?)\.(.+)\.lora_A\.weight$", key)
        if pair is None or name == key:
            continue
        part, module = pair.groups()
        alpha = _of_module(facts.get(f"{part}.alpha_pattern"), module, facts.get(f"{part}.lora_alpha"))
        if isinstance(alpha, (int, float)):
            alphas[name.removesuffix(".lora_A.weight") + ".alpha"] = float(alpha)
    return {name: alpha for name, alpha in alphas.items() if name not in names.values()}


def _of_module(pattern: Any, module: str, default: Any) -> Any:
    """PEFT's rule: a pattern names a module by its end."""
    for end, value in (pattern or {}).items() if isinstance(pattern, dict) else ():
        if module == end or module.endswith(f".{end}") or re.match(rf"(.*\.)?({end})$", module):
            return value
    return default


def _rank_and_scale(patch: Any) -> tuple[int, float]:
    """Of a low-rank pair; (0, 1.0) for any other kind of change."""
    if getattr(patch, "name", None) not in ("lora", "peft dora"):
        return 0, 1.0
    rank = int(patch.weights[1].shape[0])
    alpha = patch.weights[2]
    return rank, 1.0 if alpha is None else alpha / rank


def _misfits(patches: Mapping[Any, Any], skeleton: Skeleton) -> list[Misfit]:
    misfits = []
    for target, patch in patches.items():
        weight, part = (target, None) if isinstance(target, str) else (target[0], target[1])
        needed = skeleton.shapes.get(weight)
        offered = shape_of(patch)
        if needed is None:
            # A bias that the model's layer does not have.
            misfits.append(Misfit(weight, (), offered or ()))
            continue
        if part is not None:
            needed = tuple(part[2] if axis == part[0] else size for axis, size in enumerate(needed))
        if offered is not None and not _fits(offered, needed):
            misfits.append(Misfit(weight, needed, offered))
    return misfits


def _fits(offered: Shape, needed: Shape) -> bool:
    # A pair over a convolution multiplies to a matrix; ComfyUI gives it the weight's shape.
    return offered == needed or (
        len(offered) == 2 and len(needed) > 2 and offered == (needed[0], math.prod(needed[1:]))
    )


def shape_of(patch: Any) -> Shape | None:
    """Shape of the change that a patch makes, or None for kinds whose shape says nothing beforehand."""
    if isinstance(patch, tuple):
        return tuple(patch[1][0].shape)
    weights: Any = getattr(patch, "weights", ())
    kind = getattr(patch, "name", None)
    if kind in ("lora", "peft dora"):
        up, down, _, mid, _, reshape = weights
        if reshape is not None:
            return None
        if mid is None and up.shape[1] != down.shape[0]:
            return tuple(up.shape) + tuple(down.shape)
        return None if mid is not None else (int(up.shape[0]), math.prod(down.shape[1:]))
    if kind == "loha":
        return None if weights[5] is not None else (int(weights[0].shape[0]), int(weights[1].shape[1]))
    if kind == "lokr" and weights[7] is None:
        first = _factor(weights[0], weights[3], weights[4])
        second = _factor(weights[1], weights[5], weights[6])
        return (first[0] * second[0], first[1] * math.prod(second[1:]))
    return None


def _factor(whole: Any, left: Any, right: Any) -> Shape:
    return tuple(whole.shape) if whole is not None else (int(left.shape[0]), int(right.shape[1]))
