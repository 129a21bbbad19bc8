"""How much of a LoRA file a model takes, in words; and when that is so little that nothing should be rendered."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ..errors import Refusal
from ..weights.pairs import Noise, noise_level
from .file import LoraFile
from .ltx2 import LTX2_LORA
from .match import Match
from .names import format_of
from .traits import LoraTraits
from .wan22 import WAN_LORA

SHOWN = 3  # keys that a message names
TRAITS = (WAN_LORA, LTX2_LORA)

# Telling parts of keys of models that no family here is about.
OTHERS = (
    (r"double_blocks|single_blocks|single_transformer_blocks", "Flux or HunyuanVideo"),
    (r"joint_blocks|context_block", "Stable Diffusion 3"),
    (r"input_blocks|down_blocks|mid_block|lora_te1?_text_model", "Stable Diffusion"),
    (r"img_mlp|txt_mlp|add_q_proj", "Qwen-Image"),
    (r"noise_refiner|context_refiner", "Lumina or Z-Image"),
)


@dataclass(frozen=True)
class Coverage:
    """What became of one file on one diffusion model.

    Args:
        place: the model it is for: "high noise", "low noise" or "model".
        total: keys meant for it; `used` of them change a weight, `harmless` (reason -> number) need not.
        native: how many ComfyUI takes without this pack.
        missed: the keys left over.
        weights: how many weights are changed, of `of_weights`.
    """

    file: str
    place: str
    strength: float
    format: str
    base: str | None
    ranks: tuple[int, ...]
    scales: tuple[float, ...]
    total: int
    used: int
    native: int
    harmless: dict[str, int]
    missed: tuple[str, ...]
    weights: int
    of_weights: int
    remarks: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.missed

    @property
    def percent(self) -> float:
        """Used keys of those that a model of this kind could use, 0..100."""
        return 100 * self.used / max(1, self.used + len(self.missed))

    def lines(self) -> list[str]:
        """The report, one fact a line."""
        said = [f"{self.place}: {self.file} at {self.strength:g}"]
        said.append(f"  format: {self.format}")
        said.append(f"  trained for: {self.base or 'the file does not say'}")
        if self.ranks:
            said.append(f"  rank {_range(self.ranks)}, alpha / rank {_range(self.scales)}")
        renamed = self.used - self.native
        note = f", {renamed} of them renamed" if renamed > 0 else ""
        said.append(f"  keys: {self.used} of {self.total} used ({self.percent:.4g} %){note}")
        said.append(f"  weights changed: {self.weights} of {self.of_weights}")
        said += [f"  left out, which does no harm: {count} keys, {why}" for why, count in self.harmless.items()]
        said += [f"  {self.warning()}"] if self.missed else []
        said += [f"  {remark}" for remark in self.remarks]
        return said

    def warning(self) -> str:
        return (
            f"WARNING: only {self.percent:.4g} % of {self.file} fits; {len(self.missed)} keys find no weight: "
            f"{_first(self.missed)}"
        )


def coverage(
    file: LoraFile,
    matched: Match,
    traits: LoraTraits,
    title: str,
    place: str,
    strength: float,
    of_weights: int,
) -> Coverage:
    """Judge a match.

    Args:
        title: of the family, as people know it.

    Raises:
        Refusal: nothing matches, or a change has another shape than its weight.
    """
    left = {key: traits.why_harmless(key) for key in matched.missed}
    report = Coverage(
        file=file.name,
        place=place,
        strength=strength,
        format=format_of(matched.keys or file.tensors),
        base=base_of(file),
        ranks=matched.ranks,
        scales=matched.scales,
        total=len(matched.keys),
        used=len(matched.names),
        native=matched.native,
        harmless=dict(Counter(why for why in left.values() if why)),
        missed=tuple(key for key, why in left.items() if why is None),
        weights=len(matched.weights),
        of_weights=of_weights,
        remarks=_remarks(file, place),
    )
    if not matched.weights:
        raise Refusal(_nothing_matches(file, matched, report, title))
    if matched.misfits:
        raise Refusal(_does_not_fit(matched, report, file))
    return report


def base_of(file: LoraFile) -> str | None:
    """The model a file was trained for, as far as its keys, shapes and metadata show it."""
    trained = next((base for base in (traits.base(file.bare_shapes) for traits in TRAITS) if base), None)
    if trained is None:
        joined = " ".join(file.tensors)
        trained = next((name for pattern, name in OTHERS if re.search(pattern, joined)), None)
    said = _metadata_base(file.metadata)
    if said is None:
        return trained
    return f"{trained}; its metadata says {said}" if trained else said


def _metadata_base(metadata: dict[str, str]) -> str | None:
    for name in ("modelspec.architecture", "ss_base_model_version", "base_model", "ss_sd_model_name"):
        value = metadata.get(name, "").strip()
        if value and value != "None":
            return value[:80]
    return None


def level_of(file: LoraFile) -> Noise | None:
    """The expert it was trained for, where the file's name or the timesteps in its metadata say so."""
    named = noise_level(file.name)
    return named if named is not None else _trained_level(file.metadata)


def _trained_level(metadata: dict[str, str]) -> Noise | None:
    """musubi-tuner writes the range of timesteps, 0..1000; the experts change over at 875 or 900."""
    first, last = (_number(metadata.get(f"ss_{end}_timestep")) for end in ("min", "max"))
    if first is not None and first >= 800:
        return Noise.HIGH
    if last is not None and last <= 950:
        return Noise.LOW
    return None


def _number(text: Any) -> float | None:
    try:
        return float(json.loads(text))
    except (TypeError, ValueError):
        return None


def _remarks(file: LoraFile, place: str) -> tuple[str, ...]:
    level = level_of(file)
    if level is None or place not in ("high noise", "low noise") or place.startswith(level.value):
        return ()
    return (
        f"WARNING: {file.name} is a {level.value}-noise file by its name or metadata, and this is the {place} place.",
    )


def _nothing_matches(file: LoraFile, matched: Match, report: Coverage, title: str) -> str:
    if not matched.keys:
        reason = "all its keys are for the other expert; choose it there"
    elif report.base is not None:
        reason = f"it was trained for {report.base}, and this bundle is {title}"
    else:
        reason = "it was trained for another kind of model, or is written in a format not known here"
    keys = matched.keys or tuple(file.tensors)
    return (
        f"not one of the {len(keys)} keys of {file.name} fits the {_model_of(report.place)} "
        f"(format: {report.format}). First keys: {_first(keys)}. The likely reason: {reason}."
    )


def _does_not_fit(matched: Match, report: Coverage, file: LoraFile) -> str:
    shown = "; ".join(
        f"{misfit.weight} is {_size(misfit.needed)}, the file has {_size(misfit.offered)}"
        if misfit.needed
        else f"no {misfit.weight}"
        for misfit in matched.misfits[:SHOWN]
    )
    reason = f"it was trained for {report.base}" if report.base else "it was trained for a model of another size"
    if any("patch_embedding" in misfit.weight for misfit in matched.misfits):
        reason = (
            "the patch embedding tells text-to-video from image-to-video models, and this file was trained for the "
            "other kind"
        )
    level = level_of(file)
    if level is not None and report.place.endswith("noise") and not report.place.startswith(level.value):
        reason += f"; it is also a {level.value}-noise file in the {report.place} place"
    return (
        f"{len(matched.misfits)} of the {report.weights} weights that {file.name} changes "
        f"{'has' if len(matched.misfits) == 1 else 'have'} another shape in the "
        f"{_model_of(report.place)} (format: {report.format}): {shown}. The likely reason: {reason}."
    )


def _model_of(place: str) -> str:
    return place if place == "model" else f"{place} model"


def _first(keys: tuple[str, ...]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _range(values: tuple[float, ...]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
