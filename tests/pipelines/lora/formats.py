"""LoRA files as every trainer and tool writes them, over the same changes to the same modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Pair = tuple[torch.Tensor, torch.Tensor]  # down [rank, in] and up [out, rank]
Keys = dict[str, torch.Tensor]

RANK, ALPHA = 4, 2.0


@dataclass(frozen=True)
class Format:
    """A way to write low-rank pairs.

    Args:
        down, up, alpha: names of the tensors of a module; `{n}` is its native name, `{d}` that of diffusers, `{nu}` and
            `{du}` the same with underscores for dots. No alpha where it is empty.
    """

    title: str
    down: str
    up: str
    alpha: str = ""

    def write(self, pairs: Mapping[str, Pair], diffusers_name: Callable[[str], str]) -> Keys:
        """Tensors of a file that changes `pairs`, by native module."""
        keys = {}
        for native, (down, up) in pairs.items():
            theirs = diffusers_name(native)
            names = {"n": native, "nu": native.replace(".", "_"), "d": theirs, "du": theirs.replace(".", "_")}
            keys[self.down.format(**names)], keys[self.up.format(**names)] = down, up
            if self.alpha:
                keys[self.alpha.format(**names)] = torch.tensor(ALPHA)
        return keys

    @property
    def scale(self) -> float:
        return ALPHA / RANK if self.alpha else 1.0


def _ab(title: str, module: str, adapter: str = "", alpha: bool = False) -> Format:
    return Format(
        title,
        f"{module}.lora_A{adapter}.weight",
        f"{module}.lora_B{adapter}.weight",
        f"{module}.alpha" if alpha else "",
    )


def _down_up(title: str, module: str) -> Format:
    return Format(title, f"{module}.lora_down.weight", f"{module}.lora_up.weight", f"{module}.alpha")


PAIRS = (
    _down_up("`diffusion_model.*`, lora_down/up, alpha", "diffusion_model.{n}"),
    _ab("`diffusion_model.*`, lora_A/B", "diffusion_model.{n}"),
    _down_up("`lora_unet_*`, kohya and musubi", "lora_unet_{nu}"),
    _down_up("`lora_unet__*`, Wan-Fun", "lora_unet__{nu}"),
    _ab("native names, no prefix", "{n}"),
    _ab("native names, `.default`, DiffSynth and SVI", "{n}", ".default"),
    _ab("diffusers `transformer.*`", "transformer.{d}"),
    _ab("diffusers `transformer.*` with alpha", "transformer.{d}", alpha=True),
    _ab("diffusers block names, no prefix", "{d}"),
    _ab("PEFT `base_model.model.*`, diffusers names", "base_model.model.{d}"),
    _ab("PEFT `base_model.model.*`, native names", "base_model.model.{n}"),
    _ab("`model.diffusion_model.*`", "model.diffusion_model.{n}"),
    _down_up("OneTrainer `lora_transformer_*`", "lora_transformer_{du}"),
    _down_up("SimpleTuner `lycoris_*`", "lycoris_{du}"),
)


@dataclass(frozen=True)
class Change:
    """A kind of change other than a plain pair, to one matrix `[out, in]` of a module.

    Args:
        keys: tensors of a file, from the module's native name and the weight.
        result: the changed weight at a strength, computed without ComfyUI.
    """

    title: str
    keys: Callable[[str, torch.Tensor], Keys]
    result: Callable[[Keys, torch.Tensor, float], torch.Tensor]


def _noise(*shape: int, seed: int = 5) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def _by_end(keys: Keys, end: str) -> torch.Tensor:
    return next(tensor for key, tensor in keys.items() if key.endswith(end))


def _lokr(prefix: str) -> Callable[[str, torch.Tensor], Keys]:
    def keys(module: str, weight: torch.Tensor) -> Keys:
        name = prefix + (module if prefix.endswith(".") else module.replace(".", "_"))
        out, into = weight.shape
        return {f"{name}.lokr_w1": _noise(2, 2), f"{name}.lokr_w2": _noise(out // 2, into // 2)}

    return keys


def _loha(module: str, weight: torch.Tensor) -> Keys:
    name = "lora_unet_" + module.replace(".", "_")
    out, into = weight.shape
    halves = {"hada_w1_a": (out, 2), "hada_w1_b": (2, into), "hada_w2_a": (out, 2), "hada_w2_b": (2, into)}
    keys = {f"{name}.{end}": _noise(*shape, seed=seed) for seed, (end, shape) in enumerate(halves.items())}
    return keys | {f"{name}.alpha": torch.tensor(1.0)}


def _pair(module: str, weight: torch.Tensor) -> Keys:
    out, into = weight.shape
    name = f"diffusion_model.{module}"
    return {f"{name}.lora_A.weight": _noise(RANK, into), f"{name}.lora_B.weight": _noise(out, RANK)}


def _delta(keys: Keys) -> torch.Tensor:
    return _by_end(keys, "lora_B.weight") @ _by_end(keys, "lora_A.weight")


def _dora(keys: Keys, weight: torch.Tensor, strength: float) -> torch.Tensor:
    """ComfyUI's reading: the length of a row is that of the weight as it was."""
    rows = _by_end(keys, ".dora_scale") / (weight.norm(dim=1, keepdim=True) + torch.finfo(weight.dtype).eps)
    return weight + strength * ((weight + _delta(keys)) * rows - weight)


def _peft_dora(keys: Keys, weight: torch.Tensor, strength: float) -> torch.Tensor:
    merged = weight + strength * _delta(keys)
    return (_by_end(keys, "lora_magnitude_vector") / merged.norm(dim=1))[:, None] * merged


CHANGES = (
    Change(
        "LyCORIS LoKr, `lora_unet_*`",
        _lokr("lora_unet_"),
        lambda k, w, s: w + s * torch.kron(_by_end(k, "lokr_w1"), _by_end(k, "lokr_w2")),
    ),
    Change(
        "LyCORIS LoKr, `diffusion_model.*`",
        _lokr("diffusion_model."),
        lambda k, w, s: w + s * torch.kron(_by_end(k, "lokr_w1"), _by_end(k, "lokr_w2")),
    ),
    Change(
        "LyCORIS LoHa",
        _loha,
        lambda k, w, s: (
            w
            + s
            * 0.5  # alpha 1 over rank 2
            * (_by_end(k, "w1_a") @ _by_end(k, "w1_b"))
            * (_by_end(k, "w2_a") @ _by_end(k, "w2_b"))
        ),
    ),
    Change(
        "DoRA, `dora_scale`",
        lambda m, w: _pair(m, w) | {f"diffusion_model.{m}.dora_scale": 0.5 + _noise(w.shape[0], 1).abs()},
        _dora,
    ),
    Change(
        "DoRA, PEFT's `lora_magnitude_vector`",
        lambda m, w: _pair(m, w) | {f"diffusion_model.{m}.lora_magnitude_vector": 0.5 + _noise(w.shape[0]).abs()},
        _peft_dora,
    ),
    Change(
        "`.diff`",
        lambda m, w: {f"diffusion_model.{m}.diff": _noise(*w.shape)},
        lambda k, w, s: w + s * _by_end(k, ".diff"),
    ),
)
