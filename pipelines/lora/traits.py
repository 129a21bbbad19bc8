"""What a family says about the LoRAs that were trained for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoraTraits:
    """How the LoRAs of a family name what they change, and what their tensors tell about where they come from.

    Args:
        diffusers: pairs of a pattern that a whole native module name matches and what diffusers calls that module.
        harmless: pairs of a pattern that is searched in a LoRA's key and why a model that has no such module does not
            miss it.
        text: pairs of a pattern that a whole module name matches and what ComfyUI's text encoder calls that module, for
            those that train it too.
        base: tensors of a LoRA file (name -> shape) to what it was trained for, or None where it is another family's.
    """

    diffusers: tuple[tuple[str, str], ...]
    harmless: tuple[tuple[str, str], ...]
    base: Callable[[Mapping[str, Shape]], str | None]
    text: tuple[tuple[str, str], ...] = ()

    def diffusers_name(self, module: str) -> str:
        """What diffusers calls a module; the same name where it has none of its own."""
        for pattern, theirs in self.diffusers:
            if re.fullmatch(pattern, module):
                return re.sub(pattern, theirs, module)
        return module

    def text_module(self, module: str) -> str | None:
        """The module of the text encoder that a LoRA's module is, or None.

        Args:
            module: with dots or with underscores between its parts.
        """
        for pattern, ours in self.text:
            for spelling in (pattern, pattern.replace(r"\.", "_")):
                if match := re.fullmatch(spelling, module):
                    return match.expand(ours)
        return None

    def why_harmless(self, key: str) -> str | None:
        return next((why for pattern, why in self.harmless if re.search(pattern, key)), None)
