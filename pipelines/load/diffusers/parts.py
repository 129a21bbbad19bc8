"""Parts of a bundle whose weights lie in diffusers' layout: checked by their headers, loaded on ComfyUI's classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import Refusal
from ...identity import Source
from ...lora.skeleton import PREFIX, skeleton_of_file
from ...model.part import Part
from ...weights.outline import Outline
from ...weights.stored import StoredWeights
from ..parts import weight_options
from .folder import Component
from .keys import check_whole

Weights = dict[str, Any]
# What a component's weights are read with: `Component.outline` for names and shapes, `Component.stored` for where they
# lie, `Component.load` for values.
Read = Callable[[Component], Mapping[str, Any]]


class Shape:
    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape


def native_transformer(header: Outline) -> dict[str, Shape]:
    """The weights of what ComfyUI builds for a transformer."""
    shapes = skeleton_of_file(header).shapes
    return {key[len(PREFIX) :]: Shape(shape) for key, shape in shapes.items() if key.startswith(PREFIX)}


def transformer_part(
    where: str,
    components: Sequence[Component],
    weights: Callable[[Read], Weights],
    metadata: Mapping[str, str],
    weight_dtype: str,
    stored: Callable[[], StoredWeights] | None = None,
) -> Part:
    """A diffusion model.

    Args:
        weights: the components' weights by ComfyUI's names.
        metadata: what ComfyUI's detection cannot read from shapes.
        stored: what a file of it holds that ComfyUI's loaders read, where that is more than its weights.

    Raises:
        Refusal: the weights are not those of what ComfyUI builds for them.
    """

    def header() -> Outline:
        return Outline(where, weights(Component.outline), dict(metadata))

    described = header()
    check_whole(described.tensors, native_transformer(described), where)

    def alone() -> StoredWeights:
        return StoredWeights(where, weights(Component.stored), metadata).arranged()

    def load() -> Any:
        from comfy.sd import load_diffusion_model_state_dict

        options = weight_options(weight_dtype)
        return load_diffusion_model_state_dict(weights(Component.load), model_options=options, metadata=metadata)

    options = (("weight_dtype", weight_dtype), ("metadata", metadata["config"]))
    return Part(where, load, Source(_files(components), options), header=header, stored=stored or alone)


def vae_part(
    where: str,
    components: Sequence[Component],
    weights: Callable[[Read], Weights],
    metadata: Mapping[str, str] | None = None,
) -> Part:
    """A VAE, or an audio VAE with its vocoder.

    Args:
        metadata: what ComfyUI's detection cannot read from shapes.

    Raises:
        Refusal: the weights are not those of what ComfyUI builds for them.
    """
    header = weights(Component.outline)
    check_whole(header, native_vae(header, metadata, where), where)

    def load() -> Any:
        import comfy.sd

        return comfy.sd.VAE(sd=weights(Component.load), metadata=metadata)

    options = () if metadata is None else (("metadata", metadata["config"]),)
    return Part(where, load, Source(_files(components), options))


def native_vae(header: Mapping[str, Any], metadata: Mapping[str, str] | None, where: str) -> Weights:
    """The weights of what ComfyUI builds for a VAE, as meta tensors.

    Args:
        header: the VAE's own weights, as meta tensors by ComfyUI's names.

    Raises:
        Refusal: ComfyUI builds none, or one of another width.
    """
    import comfy.sd
    import torch

    with torch.device("meta"):
        try:
            vae = comfy.sd.VAE(sd=dict(header), metadata=metadata)
            vae.throw_exception_if_invalid()
        except RuntimeError as error:
            # torch names every weight, one a line, below a heading.
            what = str(error).splitlines()[:2][-1].strip()
            raise Refusal(f"{where} is not laid out as ComfyUI builds it: {what}", field="folder") from None
        return dict(vae.first_stage_model.state_dict())


def text_encoder_part(
    where: str,
    components: Sequence[Component],
    weights: Callable[[Read], list[Weights]],
    needed: Mapping[str, Any],
    shape: Mapping[str, Any],
    encoder: Callable[[Any], Any],
    tokenizer: tuple[str, Callable[..., Any]],
    model_options: Mapping[str, Any],
) -> Part:
    """A text encoder.

    Args:
        weights: one state dict for each model in it.
        shape: its sizes, for its identity.
        encoder: ComfyUI's class for weights of a precision.
        tokenizer: the file, and what makes ComfyUI's tokenizer of it.

    Raises:
        Refusal: the weights are others than ComfyUI's class takes.
    """

    def header() -> Outline:
        return Outline(where, {k: tensor for shard in weights(Component.outline) for k, tensor in shard.items()}, {})

    check_whole(header().tensors, needed, where)
    path, make_tokenizer = tokenizer

    def load() -> Any:
        import comfy.sd
        import comfy.utils
        import folder_paths

        loaded = weights(Component.load)
        return comfy.sd.CLIP(
            # The precision of the files, as ComfyUI's loader keeps it.
            _Target(encoder(comfy.utils.weight_dtype(loaded[0])), make_tokenizer),
            embedding_directory=folder_paths.get_folder_paths("embeddings"),
            parameters=sum(comfy.utils.calculate_parameters(shard) for shard in loaded),
            state_dict=loaded,
            model_options=dict(model_options),
        )

    options = (("config", json.dumps(shape, sort_keys=True)),)
    return Part(where, load, Source((*_files(components), path), options), header=header)


class _Target:
    """What ComfyUI's CLIP is told to build."""

    def __init__(self, clip: Any, tokenizer: Any):
        self.params: dict[str, Any] = {}
        self.clip = clip
        self.tokenizer = tokenizer


def _files(components: Sequence[Component]) -> tuple[str, ...]:
    return tuple(file for component in components for file in component.files)
