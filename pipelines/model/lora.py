"""LoRAs on a bundle: a file for each expert, checked against the model's own header, patched in on first use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..errors import Refusal
from ..lora.applied import AppliedLora
from ..lora.choice import AUTO, NONE, LoraChoice, Passes
from ..lora.file import LoraFile, open_lora
from ..lora.match import match
from ..lora.names import for_second
from ..lora.patch import patch, patch_text
from ..lora.report import Coverage, coverage
from ..lora.skeleton import (
    PREFIX,
    Skeleton,
    skeleton_of_file,
    skeleton_of_model,
    text_shapes_of_file,
    text_shapes_of_model,
)
from ..lora.traits import LoraTraits, Shape
from ..weights.pairs import Noise, noise_level, other_half

if TYPE_CHECKING:
    from .bundle import VideoModel
    from .part import Part


def apply_lora(
    model: VideoModel, choice: LoraChoice, names: Iterable[str], find: Callable[[str], str]
) -> tuple[VideoModel, list[Coverage], list[str]]:
    """A bundle with LoRAs on its experts, a report for each, and remarks on what was found by name.

    Nothing is loaded: files are judged by their headers.

    Args:
        names: the files in the loras folder.
        find: name -> path; raises `Refusal` for a file that is not there.

    Raises:
        Refusal: a file that is none or does not fit, or a choice that cannot be meant.
    """
    if choice.passes is not Passes.BOTH and model.latent_upscaler is None:
        raise Refusal(
            f"{choice.passes.value} given; this bundle renders in one pass. Choose both, or for LTX-2 a latent "
            "upscaler in its loader.",
            field="passes",
        )
    high, low, remarks = _resolved(model, choice, list(names), find)
    reports = []
    chosen = ((Noise.HIGH, high, choice.strength_high), (Noise.LOW, low, choice.strength_low))
    for expert, name, strength in chosen:
        if not math.isfinite(strength):
            raise Refusal(f"{strength} given; a number is needed.", field=f"strength_{expert.value}")
        if name == NONE:
            continue
        try:
            file = open_lora(name, find(name))
            model, report = patched(model, file, expert, strength, choice.passes)
        except Refusal as refusal:
            raise refusal.at(field=_field_of(expert)) from None
        reports.append(report)
        if choice.passes is Passes.SECOND:
            remarks.append(f"{name} is on the second pass alone; the prompts are read as without it.")
        if strength == 0:
            remarks.append(f"{name} is at strength 0 and changes nothing.")
    if not reports:
        remarks.append("No LoRA is chosen.")
    return model, reports, remarks


def patched(
    model: VideoModel, file: LoraFile, expert: Noise, strength: float, passes: Passes = Passes.BOTH
) -> tuple[VideoModel, Coverage]:
    """A bundle with one expert patched by one file.

    Prompts are read once, for both passes, so what is for the second alone leaves the text encoder as it is.
    """
    part = model.expert(expert)
    if part is None:
        raise ValueError(f"{model.variant.name} has no {expert.value}-noise expert")
    place = "model" if model.low is None else f"{expert.value} noise"
    if passes is not Passes.BOTH:
        place = f"{passes.value} pass"
    traits = model.family.lora
    skeleton = skeleton_of(part).with_text(text_shapes(model.text_encoder, traits))
    matched = match(file, skeleton, traits, second=expert is Noise.LOW)
    report = coverage(file, matched, traits, model.family.title, place, strength, len(skeleton.modules))
    if strength == 0:
        return model, report
    applied = AppliedLora(file, expert, strength, passes, order=len(model.loras))
    if passes is not Passes.SECOND and any(not weight.startswith(PREFIX) for weight in matched.weights):
        text = model.text_encoder.patched(applied, lambda clip: patch_text(clip, file, matched, strength))
        model = replace(model, text_encoder=text)

    def with_lora(part: Part) -> Part:
        return part.patched(applied, lambda base: patch(base, file, matched, strength))

    if expert is Noise.LOW:
        return replace(model, low=with_lora(part)), report
    first, second = part, model.second_pass or part
    first = first if passes is Passes.SECOND else with_lora(first)
    second = second if passes is Passes.FIRST else with_lora(second)
    return replace(model, high=first, second_pass=None if second is first else second), report


def without_loras(model: VideoModel) -> VideoModel:
    """The bundle as it was before any LoRA was put on it."""
    return replace(
        model,
        high=model.high.root,
        low=None if model.low is None else model.low.root,
        text_encoder=model.text_encoder.root,
        second_pass=None,
    )


def skeleton_of(part: Part) -> Skeleton:
    """Names and shapes of a diffusion model: from its files' headers where they tell, else from the loaded model."""
    part = part.root
    if part not in _skeletons:
        if part.header is not None and not part.loaded:
            _skeletons[part] = skeleton_of_file(part.header())
        else:
            _skeletons[part] = skeleton_of_model(part.get().model)
    return _skeletons[part]


# Making one takes a moment, and every LoRA of a bundle asks for it.
_skeletons: WeakKeyDictionary[Part, Skeleton] = WeakKeyDictionary()


def text_shapes(part: Part, traits: LoraTraits) -> dict[str, Shape]:
    """The weights of a text encoder that LoRAs of the family train, with their shapes."""
    if not traits.text:
        return {}
    part = part.root
    if part.header is not None and not part.loaded:
        return text_shapes_of_file(part.header(), traits)
    return text_shapes_of_model(part.get().cond_stage_model, traits)


def _resolved(
    model: VideoModel, choice: LoraChoice, names: list[str], find: Callable[[str], str]
) -> tuple[str, str, list[str]]:
    """The file of each expert, with `AUTO` replaced by what was found."""
    high, low = choice.high, choice.low
    if model.low is None:
        if low not in (NONE, AUTO):
            raise Refusal(
                f"this bundle has one diffusion model ({model.variant.name}); choose its LoRA as high_noise_lora.",
                field="low_noise_lora",
            )
        if high == AUTO:
            raise Refusal("this bundle has one diffusion model; choose its LoRA by name.", field="high_noise_lora")
        return high, NONE, []
    remarks = []
    if high == AUTO and low in (NONE, AUTO):
        return NONE, NONE, []
    if low == AUTO:
        low = _partner(high, Noise.LOW, names, find)
        remarks += [f"Low-noise half found by name: {low}"] if low != NONE else []
    elif high == AUTO:
        high = _partner(low, Noise.HIGH, names, find)
        remarks += [f"High-noise half found by name: {high}"] if high != NONE else []
    return high, low, remarks


def _partner(name: str, level: Noise, names: list[str], find: Callable[[str], str]) -> str:
    if name == NONE:
        return NONE
    partner = other_half(name, names)
    if partner is not None:
        return partner
    if name.endswith(".safetensors") and any(map(for_second, open_lora(name, find(name)).tensors)):
        return name  # one file that holds both halves
    if noise_level(name) is None:
        raise Refusal(
            f"{name} does not say in its name that it is one half of a pair. Choose the {level.value}-noise file "
            f"yourself: the same file for both experts, or none for the {level.other.value}-noise expert alone.",
            field=_field_of(level),
        )
    raise Refusal(
        f"no {level.value}-noise half of {name} was found in the loras folder. Choose it yourself, or none for the "
        f"{level.other.value}-noise expert alone.",
        field=_field_of(level),
    )


def _field_of(expert: Noise) -> str:
    return f"{expert.value}_noise_lora"
