"""Model families: everything that differs between Wan 2.2, LTX-2 and what comes after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.bundle import Family
from ..model.shot import Keyframe, Pictures, Shot
from ..model.variant import Mode, Settings, Variant
from .ltx2 import LTX2
from .wan22 import WAN22

FAMILIES: tuple[Family, ...] = (WAN22, LTX2)

__all__ = ["FAMILIES", "Family", "Keyframe", "Mode", "Pictures", "Settings", "Shot", "Variant", "recognise"]


def recognise(config: Mapping[str, Any]) -> tuple[Family, Variant] | None:
    """The family and variant of a `unet_config` that ComfyUI's detection gave, or None."""
    for family in FAMILIES:
        variant = family.variant_of(config)
        if variant is not None:
            return family, variant
    return None
