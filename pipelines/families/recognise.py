"""The families there are, and which of them a model is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .ltx2 import LTX2
from .wan22 import WAN22

if TYPE_CHECKING:
    from ..model.bundle import Family
    from ..model.variant import Variant

FAMILIES: tuple[Family, ...] = (WAN22, LTX2)


def recognise(config: Mapping[str, Any]) -> tuple[Family, Variant] | None:
    """The family and variant of a `unet_config` that ComfyUI's detection gave, or None."""
    for family in FAMILIES:
        variant = family.variant_of(config)
        if variant is not None:
            return family, variant
    return None
