"""The parts of the model together, in ComfyUI's own classes, and clips rendered from them the fast way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import decoder, transformer
from .vae import SLOT, Matrices, encode
from .world import SIZE


@dataclass(frozen=True)
class Model:
    vae: Any
    matrices: Matrices
    experts: tuple[Any, Any]  # of high noise, of low noise

    def encode(self, pixels: Tensor) -> Tensor:
        return encode(self.matrices, pixels)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return torch.cat([decoder.decode(self.vae, part) for part in latents.split(8)]).clamp(-1, 1)

    def render(
        self,
        prompts: Sequence[str],
        seed: int,
        frames: int = 17,
        before: Tensor | None = None,
        end: Tensor | None = None,
        steps: int = 10,
    ) -> Tensor:
        """Pixels (n, 3, frames, SIZE, SIZE) in -1..1.

        Args:
            before: known frames at the start, (n, 3, 4k+1, SIZE, SIZE).
            end: the last frame, (n, 3, SIZE, SIZE).
        """
        n = len(prompts)
        gray = self.encode(torch.zeros(1, 3, frames, SIZE, SIZE))
        latents = gray.expand(n, -1, -1, -1, -1).clone()
        known = 0
        if before is not None:
            head = self.encode(before)
            known = head.shape[2]
            latents[:, :, :known] = head
        ends = None
        if end is not None:
            clip = torch.zeros(n, 3, 1 + SLOT, SIZE, SIZE)
            clip[:, :, -1] = end
            ends = self.encode(clip)[:, :, -1]
        beside = transformer.conditioning(latents, torch.full((n,), known), gray, ends)
        return self.decode(transformer.sample(self.experts, prompts, beside, seed, steps))
