"""Putting a model bundle together, from files or from what other loaders have loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..errors import Refusal
from ..families.recognise import FAMILIES, recognise
from ..identity import Source
from ..model.bundle import Family, VideoModel
from ..model.part import Part
from ..model.variant import Variant
from ..weights.outline import Outline, model_config, outline, vae_channels
from ..weights.pairs import Noise, noise_level
from .parts import check_vae, diffusion_part, text_encoder_part, vae_part


@dataclass(frozen=True)
class ModelFile:
    """A model file as the loader node names it, and where ComfyUI found it."""

    name: str
    path: str


def bundle_from_files(
    family: Family,
    high: ModelFile,
    low: ModelFile | None,
    text_encoder: ModelFile,
    vae: ModelFile,
    weight_dtype: str = "default",
) -> VideoModel:
    """A bundle of files that are checked now, by their headers, and loaded when they are first needed.

    Raises:
        Refusal: a file is of another kind than its place asks for, or two do not belong together.
    """
    variant = _variant_of_file(family, high, "high_noise_model")
    if low is not None:
        _check_pair(variant, _variant_of_file(family, low, "low_noise_model"))
    _check_text_encoder(family, _outline(text_encoder, "text_encoder"))
    check_vae(variant, vae.name, vae_channels(_outline(vae, "vae")))
    return VideoModel(
        family=family,
        variant=variant,
        high=diffusion_part(high.path, high.name, weight_dtype),
        low=None if low is None else diffusion_part(low.path, low.name, weight_dtype),
        text_encoder=text_encoder_part(text_encoder.path, text_encoder.name, family.text_encoder_kind),
        vae=vae_part(vae.path, vae.name, variant),
        notes=() if low is None else swapped_names(high.name, low.name),
    )


def bundle_from_loaded(
    high: Any,
    low: Any | None,
    clip: Any,
    vae: Any,
    audio_vae: Any | None = None,
    sources: Mapping[str, Source | None] = MappingProxyType({}),
) -> VideoModel:
    """A bundle of ComfyUI's own MODEL, CLIP and VAE objects, whichever loader they came from.

    Args:
        sources: what identifies each of them, by this function's own names (`high`, `low`, ...).

    Raises:
        Refusal: a model is of no known family, or two do not belong together.
    """
    family, variant = _recognise_loaded(high, "high_noise_model")
    if low is not None:
        _check_pair(variant, _recognise_loaded(low, "low_noise_model")[1])
    check_vae(variant, "the VAE", getattr(vae, "latent_channels", None))
    return VideoModel(
        family=family,
        variant=variant,
        high=Part.of("high-noise model", high, sources.get("high")),
        low=None if low is None else Part.of("low-noise model", low, sources.get("low")),
        text_encoder=Part.of("text encoder", clip, sources.get("clip")),
        vae=Part.of("VAE", vae, sources.get("vae")),
        audio_vae=None if audio_vae is None else Part.of("audio VAE", audio_vae, sources.get("audio_vae")),
    )


def swapped_names(high: str, low: str) -> tuple[str, ...]:
    """A remark if the file names say high and low the other way round; the weights themselves cannot tell."""
    if noise_level(high) is Noise.LOW and noise_level(low) is Noise.HIGH:
        return (
            f"The names suggest that the experts are swapped: {high} is in the high-noise place "
            f"and {low} in the low-noise one.",
        )
    return ()


def _outline(file: ModelFile, field: str) -> Outline:
    try:
        return outline(file.path)
    except Refusal as refusal:
        raise refusal.at(field=field) from None


def _variant_of_file(family: Family, file: ModelFile, field: str) -> Variant:
    config = model_config(_outline(file, field))
    variant = None if config is None else family.variant_of(config)
    if variant is None:
        raise Refusal(f"{file.name} is {_kind(config)}; {_wanted(family)}", field=field)
    return variant


def _recognise_loaded(model: Any, field: str) -> tuple[Family, Variant]:
    config = model.model.model_config.unet_config
    recognised = recognise(config)
    if recognised is None:
        raise Refusal(f"the connected model is {_kind(config)}; {_wanted(*FAMILIES)}", field=field)
    return recognised


def _check_pair(high: Variant, low: Variant) -> None:
    if high.experts == 1:
        raise Refusal(f"{high.name} is one model; leave the low-noise model empty.", field="low_noise_model")
    if high != low:
        raise Refusal(
            f"the low-noise model is {low.name}, the high-noise model {high.name}; both must be of one variant.",
            field="low_noise_model",
        )


def _check_text_encoder(family: Family, file: Outline) -> None:
    if not family.is_text_encoder(file.tensors):
        raise Refusal(
            f"{file.name} is not {family.text_encoder_hint}, which {family.title} reads prompts with.",
            field="text_encoder",
        )


def _wanted(*families: Family) -> str:
    kinds = "; ".join(f"{f.title}: {', '.join(v.name for v in f.variants)}" for f in families)
    return f"a diffusion model of one of these kinds is needed ({kinds})."


def _kind(config: Mapping[str, Any] | None) -> str:
    if config is None:
        return "not a diffusion model that ComfyUI knows"
    kind = config.get("image_model") or "a Stable Diffusion UNet"
    flavour = config.get("model_type")
    channels = config.get("in_dim") or config.get("in_channels")
    detail = ", ".join(str(x) for x in (flavour, f"{channels} input channels" if channels else None) if x)
    return f"{kind} ({detail})" if detail else str(kind)
