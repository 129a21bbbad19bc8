"""A LoRA as a bundle carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..weights.pairs import Noise
from .choice import Passes
from .file import LoraFile


@dataclass(frozen=True)
class AppliedLora:
    """A LoRA that an expert is patched with; `content` (SHA-256) and strength are what identify it.

    Args:
        expert: the diffusion model that is patched.
        passes: of two, that it is for; the parts it is on tell the same, so it has no say in what identifies it.
        order: which of its bundle's LoRAs it is, counted from 0 in the order they were put on.
    """

    file: LoraFile
    expert: Noise
    strength: float
    passes: Passes = Passes.BOTH
    order: int = 0

    @property
    def content(self) -> str:
        return self.file.content

    @property
    def identity(self) -> tuple[str, str, float]:
        """What the key of a take counts of it."""
        return self.content, self.expert.value, self.strength

    def facts(self) -> dict[str, Any]:
        """What is written down of it, as JSON values."""
        passes = {} if self.passes is Passes.BOTH else {"passes": self.passes.value}
        return {
            "file": self.file.name,
            "sha256": self.content,
            "expert": self.expert.value,
            "strength": self.strength,
            **passes,
        }
