"""The names and shapes of a diffusion model's weights, known before a weight is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Refusal
from ..weights.outline import Outline
from .traits import LoraTraits, Shape

PREFIX = "diffusion_model."
TEXT = "text_encoders."  # what ComfyUI's matcher has before a module of the text encoder


@dataclass(frozen=True)
class Skeleton:
    """What a model offers a LoRA.

    Args:
        key_map: LoRA module -> weight, as ComfyUI's own matcher spells both. A weight may come with the part of it that
            is meant, as ComfyUI writes it: (name, (axis, start, length)).
        shapes: weight -> shape, as the model computes with it, whatever it is stored as.
    """

    key_map: dict[str, Any]
    shapes: dict[str, Shape]

    def with_text(self, shapes: Mapping[str, Shape]) -> Skeleton:
        """The same with weights of the text encoder, which a LoRA may hold changes to as well."""
        names = {TEXT + name.removesuffix(".weight"): name for name in shapes}
        return Skeleton(self.key_map | names, self.shapes | dict(shapes))

    @property
    def modules(self) -> list[str]:
        """Its modules and lone parameters: `blocks.0.self_attn.q`, `blocks.0.modulation`."""
        return [name[len(PREFIX) :].removesuffix(".weight") for name in self.shapes if name.startswith(PREFIX)]


def skeleton_of_model(model: Any) -> Skeleton:
    """The skeleton of ComfyUI's model object (what a ModelPatcher holds as `.model`)."""
    import comfy.lora

    # A parameter's shape is that of the values; the state dict of a quantised one holds its packed form.
    parameters = dict(model.named_parameters())
    shapes = {name: tuple(parameters.get(name, tensor).shape) for name, tensor in model.state_dict().items()}
    return Skeleton(comfy.lora.model_lora_keys_unet(model, {}), shapes)


def skeleton_of_file(file: Outline) -> Skeleton:
    """The skeleton of the model that ComfyUI would build from a file; nothing of it is allocated.

    Raises:
        Refusal: ComfyUI's detection knows no such model.
    """
    import torch
    from comfy import model_detection

    prefix = model_detection.unet_prefix_from_state_dict(file.tensors)
    if not any(key.startswith(prefix) for key in file.tensors):
        prefix = ""
    config = model_detection.model_config_from_unet(file.tensors, prefix, metadata=file.metadata)
    if config is None:
        raise Refusal(f"{file.name} is not a diffusion model that ComfyUI knows.")
    return skeleton_of_model(config.get_model(file.tensors, prefix, device=torch.device("meta")))


def text_shapes_of_file(file: Outline, traits: LoraTraits) -> dict[str, Shape]:
    """Those weights of the text encoder that LoRAs of the family train, under ComfyUI's names, if a file has them."""
    return {name: tuple(file.tensors[key].shape) for key, name in text_names(file.tensors, traits).items()}


def text_names(keys: Iterable[str], traits: LoraTraits) -> dict[str, str]:
    """Key of a file -> the name of that weight in ComfyUI's text encoder."""
    names = {}
    for key in keys:
        module, _, end = key.rpartition(".")
        ours = traits.text_module(module)
        if ours is not None:
            names[key] = f"{ours}.{end}"
    return names


def text_shapes_of_model(model: Any, traits: LoraTraits) -> dict[str, Shape]:
    """The same of a loaded text encoder (what ComfyUI's CLIP holds as `.cond_stage_model`)."""
    stems = tuple({ours.split(".")[0] for _, ours in traits.text})
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name.startswith(stems)}
