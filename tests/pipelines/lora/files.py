"""What the tests of LoRAs share: a model of each family, its weights, and a file put on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.pipelines.lora import formats

PREFIX = "diffusion_model."
FILES = {
    "Wan": "diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
    "LTX-2": "checkpoints/ltx-2-19b-distilled.safetensors",
    "LTX-2.3": "checkpoints/ltx-2.3-22b-distilled-fp8.safetensors",
}
# Matrices of a block that its LoRAs train.
LAYERS = {
    "Wan": (
        *(f"self_attn.{one}" for one in "qkvo"),
        *(f"cross_attn.{one}" for one in "qkvo"),
        "ffn.0",
        "ffn.2",
    ),
    "LTX-2": (
        *(f"attn1.{one}" for one in ("to_q", "to_k", "to_v", "to_out.0")),
        *("attn2.to_q", "ff.net.0.proj", "ff.net.2"),
        *("audio_attn1.to_k", "audio_attn2.to_out.0", "audio_ff.net.2", "audio_to_video_attn.to_q"),
        "video_to_audio_attn.to_v",
    ),
}
LAYERS["LTX-2.3"] = (*LAYERS["LTX-2"], "attn1.to_gate_logits")
BLOCKS = {"Wan": "blocks", "LTX-2": "transformer_blocks", "LTX-2.3": "transformer_blocks"}


@dataclass(frozen=True)
class Base:
    """A tiny model in fp32 as ComfyUI holds it, and its family."""

    name: str
    patcher: Any
    family: Any

    def weights(self) -> dict[str, torch.Tensor]:
        return weights_of(self.patcher)

    def pairs(self) -> dict[str, formats.Pair]:
        """A random pair for every matrix that LoRAs train, by native module."""
        weights, generator = self.weights(), torch.Generator().manual_seed(1)
        found = {}
        for block in range(2):
            for layer in LAYERS[self.name]:
                module = f"{BLOCKS[self.name]}.{block}.{layer}"
                out, into = weights[f"{module}.weight"].shape
                down = 0.1 * torch.randn(formats.RANK, into, generator=generator)
                found[module] = (down, 0.1 * torch.randn(out, formats.RANK, generator=generator))
        return found


def load_base(models: Path, name: str) -> Base:
    from comfy.sd import load_checkpoint_guess_config, load_diffusion_model
    from longtake.pipelines.families.ltx2 import LTX2
    from longtake.pipelines.families.wan22 import WAN22

    path, options = str(models / FILES[name]), {"dtype": torch.float32}
    if name == "Wan":
        return Base(name, load_diffusion_model(path, model_options=options), WAN22)
    model = load_checkpoint_guess_config(path, output_vae=False, output_clip=False, model_options=options)[0]
    return Base(name, model, LTX2)


def weights_of(patcher: Any) -> dict[str, torch.Tensor]:
    state = patcher.model.state_dict()
    return {key[len(PREFIX) :]: value.clone() for key, value in state.items() if key.startswith(PREFIX)}


def write(path: Path, keys: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> Any:
    """A LoRA file of these tensors, opened."""
    from longtake.pipelines.lora.file import open_lora

    save_file({key: tensor.contiguous() for key, tensor in keys.items()}, path, metadata)
    return open_lora(path.name, path)


def match_with(base: Base, file: Any) -> Any:
    from longtake.pipelines.lora.match import match
    from longtake.pipelines.lora.skeleton import skeleton_of_model

    return match(file, skeleton_of_model(base.patcher.model), base.family.lora)


def patched_weights(
    base: Base, keys: Mapping[str, torch.Tensor], folder: Path, strength: float
) -> tuple[dict[str, torch.Tensor], Any]:
    """Weights of the model with a file applied, and the match; the model is left as it was."""
    from longtake.pipelines.lora.patch import patch

    file = write(folder / "lora.safetensors", keys)
    found = match_with(base, file)
    clone = patch(base.patcher, file, found, strength)
    clone.patch_model()
    changed = weights_of(clone)
    clone.unpatch_model()
    return changed, found
