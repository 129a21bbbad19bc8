"""The steps that make the demo model, each from the files of those before it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from . import card, decoder, folder, transformer, vae, world
from .clips import FRAMES, WINDOWS, Pool, make_pool
from .files import write_whole
from .model import Model
from .train import PLANS, Plan, train, weights_of

ENCODER_CLIPS = 300  # of which the encoder is computed


class Workshop:
    """
    Args:
        checkpoints: where unfinished work is kept.
        origin: weights that the trunk begins with, instead of random ones.
    """

    def __init__(self, checkpoints: Path, origin: Path | None = None):
        self.checkpoints, self.origin = checkpoints, origin
        self.plans = {plan.name: plan for plan in PLANS}
        checkpoints.mkdir(parents=True, exist_ok=True)

    def checkpoint(self, name: str) -> Path:
        return self.checkpoints / f"{name}.pt"

    def _has(self, name: str) -> bool:
        return self.checkpoint(name).exists()

    @property
    def matrices(self) -> vae.Matrices:
        """Of the encoder that was computed here, else of the finished model's."""
        if self._has("encoder"):
            return torch.load(self.checkpoint("encoder"), weights_only=True)["matrices"]
        return load_file(folder.ENCODER)

    def encoder(self) -> None:
        """Compute it once: another machine's may differ in its signs, and whatever is trained is trained for one."""
        if self._has("encoder"):
            return
        model = vae.wan_vae()
        clips = world.draw(ENCODER_CLIPS, torch.Generator().manual_seed(1))
        stored = {"matrices": vae.build_encoder(model, clips.pixels(17)), "weights": _encoder_weights(model)}
        write_whole(self.checkpoint("encoder"), partial(torch.save, stored))

    def decoder(self, steps: int = decoder.STEPS) -> None:
        torch.manual_seed(0)
        model, matrices = vae.wan_vae(), self.matrices
        if self._has("encoder"):
            weights = torch.load(self.checkpoint("encoder"), weights_only=True)["weights"]
        else:
            weights = _encoder_weights(folder.read().vae)
        model.load_state_dict(weights, strict=False)
        decoder.start(model, matrices)
        decoder.settle(model)
        decoder.train(model, matrices, self.checkpoint("decoder"), steps)

    def clips(self) -> None:
        if not self.checkpoint("clips").exists():
            make_pool(self.matrices).save(self.checkpoint("clips"))

    def train(self, plan: Plan) -> None:
        origin = self.origin if plan.origin is None else self.checkpoint(plan.origin)
        gray = vae.encode(self.matrices, torch.zeros(1, 3, FRAMES, world.SIZE, world.SIZE))
        train(plan, Pool.load(self.checkpoint("clips")), gray, self.checkpoint(plan.name), origin)

    def folder(self) -> None:
        """Write model/, loss.png and what is known of the training; a VAE that was not trained here stays as it is.

        Raises:
            SystemExit: there is no expert, or none that fits the VAE.
        """
        if missing := [name for name in ("high", "low") if not self._has(name)]:
            raise SystemExit(f"{' and '.join(missing)} must be trained first: python dev.py train {' '.join(missing)}")
        if self._has("encoder") and not self._has("decoder"):
            raise SystemExit("the encoder is new, so its decoder must be trained: python dev.py train decoder")
        experts = []
        for name in ("high", "low"):
            expert = transformer.wan_transformer()
            expert.load_state_dict(weights_of(self.checkpoint(name)))
            experts.append(expert)
        if self._has("decoder"):
            whole = vae.wan_vae()
            whole.load_state_dict(torch.load(self.checkpoint("decoder"), weights_only=True)["vae"])
        else:
            whole = folder.read().vae
        folder.write(Model(whole, self.matrices, (experts[0], experts[1])))
        runs = [(p, torch.load(self.checkpoint(p.name), weights_only=True)) for p in PLANS if self._has(p.name)]
        _plot({plan.name: run["losses"] for plan, run in runs}, folder.HERE / "loss.png")
        # What these runs began with was trained too, if not here.
        elsewhere = self.origin is not None or not self._has("trunk")
        before = json.loads(card.TRAINING.read_text(encoding="utf-8")) if elsewhere else []
        rows = [row for row in before if row["run"] not in self.plans] + [_row(plan, run) for plan, run in runs]
        card.TRAINING.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")

    def card(self) -> None:
        card.write()


def _encoder_weights(model: Any) -> dict[str, Tensor]:
    """The weights of a VAE by which it encodes."""
    return {name: weight for name, weight in model.state_dict().items() if name.startswith(("encoder.", "conv1."))}


def _row(plan: Plan, run: dict[str, Any]) -> dict[str, Any]:
    last = run["losses"][-200:]
    return {
        "run": plan.name,
        "steps": run["step"],
        "seconds": round(run["seconds"]),
        "noise": f"{plan.low:g} to {plan.high:g}",
        "frames": " and ".join(f"{vae.SLOT * slots - vae.SLOT + 1}" for slots, *_ in WINDOWS),
        "speeds": " or ".join(f"{speed:g}" for speed in world.SPEEDS),
        "loss": f"{sum(last) / len(last):.4f}",
    }


def _plot(losses: dict[str, list[float]], path: Path) -> None:
    """Curves of the loss, averaged over fifty steps, on a logarithmic scale."""
    from PIL import Image, ImageDraw

    width, height, margin = 720, 360, 40
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    smooth = {name: _averaged(values) for name, values in losses.items()}
    values = torch.cat(list(smooth.values())).log10()
    low, high = values.min().item(), values.max().item()
    steps = max(len(value) for value in losses.values())

    def place(step: int, loss: float) -> tuple[float, float]:
        y = (loss - low) / max(1e-6, high - low)
        return margin + step / steps * (width - 2 * margin), height - margin - y * (height - 2 * margin)

    for at in (low, (low + high) / 2, high):
        pen.line([place(0, at), place(steps, at)], "#dddddd")
        pen.text((2, place(0, at)[1] - 6), f"{10**at:.3f}", "black")
    for number, (name, curve) in enumerate(smooth.items()):
        colour = ("#1f77b4", "#d62728", "#2ca02c")[number % 3]
        pen.line([place(50 * i, v) for i, v in enumerate(curve.log10().tolist())], colour, 2)
        pen.text((width - 3 * margin, margin + 14 * number), name, colour)
    pen.text((width // 2 - 40, height - 16), f"{steps} steps", "black")
    picture.save(path)


def _averaged(losses: list[float]) -> Tensor:
    return torch.stack([part.mean() for part in torch.tensor(losses).split(50)])
