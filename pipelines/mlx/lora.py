"""What a bundle's LoRAs add to the weights of an expert, as a runner can add it: low-rank pairs and whole tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..errors import Refusal
from ..lora.applied import AppliedLora
from ..lora.file import LoraFile
from ..lora.match import Match, match
from ..lora.skeleton import PREFIX
from ..model.lora import skeleton_of, text_shapes
from ..weights.pairs import Noise
from .process import FIELD

if TYPE_CHECKING:
    import torch

    from ..model.bundle import VideoModel
    from ..model.part import Part


def check_loras(model: VideoModel) -> None:
    """Raise `Refusal` for a LoRA that changes weights otherwise than by low-rank pairs and differences."""
    for noise in Noise:
        for lora in model.loras_of(noise):
            part = model.expert(noise)
            assert part is not None  # noqa: S101 - it carries the LoRA
            good = _good.setdefault(part.root, set())
            if (lora.file, noise) not in good:
                for change in _patches(model, noise, lora, lora.file.tensors).values():
                    _check_kind(change, lora)
                good.add((lora.file, noise))


# Every stage of a film is checked, and matching a file takes a moment.
_good: WeakKeyDictionary[Part, set[tuple[LoraFile, Noise]]] = WeakKeyDictionary()


def changes(model: VideoModel, noise: Noise, diffusers_name: Callable[[str], str]) -> dict[str, torch.Tensor]:
    """All that an expert's LoRAs add: `up/NAME` `[out, rank]` with strength and alpha in it and `down/NAME`
    `[rank, in]`, or `added/NAME`, for a weight that diffusers calls NAME.

    Args:
        diffusers_name: of a weight by its name in ComfyUI's model.
    """
    import torch

    pairs: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    added: dict[str, torch.Tensor] = {}
    for lora in model.loras_of(noise):
        for weight, change in _patches(model, noise, lora, lora.file.load()).items():
            name = diffusers_name(weight.removeprefix(PREFIX))
            if isinstance(change, tuple):
                added[name] = added.get(name, 0) + change[1][0].float() * lora.strength
            else:
                pairs.setdefault(name, []).append(_scaled(change, lora.strength))
    ups = {f"up/{name}": torch.cat([up for up, _ in of_weight], 1) for name, of_weight in pairs.items()}
    downs = {f"down/{name}": torch.cat([down for _, down in of_weight], 0) for name, of_weight in pairs.items()}
    return {**ups, **downs, **{f"added/{name}": tensor for name, tensor in added.items()}}


def _scaled(pair: Any, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    up, down, alpha, *_ = pair.weights
    scale = strength * (1.0 if alpha is None else float(alpha) / down.shape[0])
    return up.float().flatten(1) * scale, down.float().flatten(1)


def _check_kind(change: Any, lora: AppliedLora) -> None:
    kind = change[0] if isinstance(change, tuple) else change.name
    plain = kind == "diff" or (kind == "lora" and all(extra is None for extra in change.weights[3:]))
    if not plain:
        what = "a low-rank pair with more to it (DoRA, a kernel in the middle)" if kind == "lora" else kind
        raise Refusal(
            f"{lora.file.name} is {what}; MLX adds low-rank pairs and differences. Choose ComfyUI in the loader's "
            f"{FIELD}, or take the LoRA off.",
            field="model",
        )


def _patches(model: VideoModel, noise: Noise, lora: AppliedLora, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Weight of an expert -> its change; what a LoRA changes in the text encoder is ComfyUI's."""
    part = model.expert(noise)
    assert part is not None  # noqa: S101 - it carries the LoRA
    matched = _matched(model, part.root, noise, lora)
    key_map = skeleton_of(part).key_map
    return {key: change for key, change in matched.patches(tensors, key_map).items() if key.startswith(PREFIX)}


def _matched(model: VideoModel, part: Part, noise: Noise, lora: AppliedLora) -> Match:
    traits = model.family.lora
    skeleton = skeleton_of(part).with_text(text_shapes(model.text_encoder, traits))
    return match(lora.file, skeleton, traits, second=noise is Noise.LOW)
