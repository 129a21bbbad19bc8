"""The tiny umt5 as a real comfy.sd.CLIP: core classes throughout, only the configuration is replaced."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import comfy.sd
import comfy.text_encoders.wan
import comfy.utils


def load(paths: list[str], config: dict[str, Any]) -> comfy.sd.CLIP:
    state = comfy.utils.load_torch_file(paths[0], safe_load=True)
    target = SimpleNamespace(
        params={}, clip=comfy.text_encoders.wan.te(), tokenizer=comfy.text_encoders.wan.WanT5Tokenizer
    )
    return comfy.sd.CLIP(
        target,
        # The tokens of the real one are padded to 512; 16 make the tiny one fast.
        tokenizer_data={"spiece_model": state["spiece_model"], "umt5xxl_min_length": 16},
        parameters=comfy.utils.calculate_parameters(state),
        state_dict=[state],
        model_options={"umt5xxl_model_config": config},
    )
