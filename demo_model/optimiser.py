"""Muon for the matrices of the blocks, Adam for all else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

RATE_MUON, RATE_ADAM = 0.015, 1.5e-3


class Optimiser:
    def __init__(self, model: torch.nn.Module):
        named = list(model.named_parameters())
        inner = [p for name, p in named if name.startswith("blocks.") and p.ndim == 2]
        self.groups = [[p for p in inner if p.shape == shape] for shape in sorted({p.shape for p in inner})]
        chosen = {id(p) for p in inner}
        self.adam = torch.optim.Adam([p for _, p in named if id(p) not in chosen], lr=RATE_ADAM, betas=(0.9, 0.98))
        self.momenta = [torch.zeros(len(group), *group[0].shape) for group in self.groups]

    def state(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict(), "momenta": self.momenta}

    def restore(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state["adam"])
        self.momenta = state["momenta"]

    @torch.no_grad()
    def step(self, share: float) -> None:
        for group in self.adam.param_groups:
            group["lr"] = RATE_ADAM * share
        self.adam.step()
        for matrices, momentum in zip(self.groups, self.momenta, strict=True):
            gradient = torch.stack([p.grad for p in matrices])
            momentum.lerp_(gradient, 0.05)
            update = _orthogonal(gradient.lerp(momentum, 0.95))
            rows, columns = update.shape[1:]
            size = RATE_MUON * share * max(1, rows / columns) ** 0.5
            for p, u in zip(matrices, update, strict=True):
                p.mul_(1 - 0.01 * RATE_MUON * share).add_(u, alpha=-size)


def _orthogonal(gradient: Tensor) -> Tensor:
    """Newton-Schulz iteration of Muon (Jordan et al., 2024), its published coefficients."""
    wide = gradient.shape[1] <= gradient.shape[2]
    x = gradient if wide else gradient.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x if wide else x.mT
