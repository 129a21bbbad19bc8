"""DoRA as PEFT writes it: a pair and the length that each row of the changed weight is brought to."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch


def peft_dora(pair: Any, magnitude: torch.Tensor) -> Any:
    """A ComfyUI weight adapter that merges as PEFT's `fuse_lora` does, m (W + dW) / |W + dW| row by row.

    ComfyUI's own `dora_scale` divides by |W| instead.

    Args:
        pair: ComfyUI's LoRAAdapter of the same weight.
        magnitude: `[out]`, m.
    """
    return _adapter_class()(pair.loaded_keys, (*pair.weights[:4], magnitude, pair.weights[5]))


@lru_cache(maxsize=1)
def _adapter_class() -> type:
    from comfy.model_management import cast_to_device
    from comfy.weight_adapter.base import WeightAdapterBase

    class PeftDora(WeightAdapterBase):
        name = "peft dora"

        def __init__(self, loaded_keys: set[str], weights: tuple[Any, ...]):
            self.loaded_keys = loaded_keys
            self.weights = weights

        def calculate_weight(
            self,
            weight: torch.Tensor,
            key: str,
            strength: float,
            strength_model: float,
            offset: Any,
            function: Any,
            intermediate_dtype: torch.dtype = torch.float32,
            original_weight: Any = None,
        ) -> torch.Tensor:
            up, down, magnitude = (
                cast_to_device(self.weights[i], weight.device, intermediate_dtype) for i in (0, 1, 4)
            )
            alpha = self.weights[2]
            scale = strength * (1.0 if alpha is None else alpha / down.shape[0])
            change = torch.mm(up.flatten(start_dim=1), down.flatten(start_dim=1)) * scale
            merged = weight + function(change.reshape(weight.shape).type(weight.dtype))
            lengths = merged.flatten(start_dim=1).norm(dim=1)
            rows = (magnitude / lengths).reshape(-1, *[1] * (weight.ndim - 1))
            return (rows * merged).type(weight.dtype)

    return PeftDora
