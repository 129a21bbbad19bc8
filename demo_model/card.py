"""Measure the model of the folder and write MODEL_CARD.md: no figure in it is written by hand."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import folder, measure, transformer, world
from .model import Model

CARD = folder.HERE / "MODEL_CARD.md"
TRAINING = folder.HERE / "training.json"
PROMPTS = 100
CLIPS = 60  # that go on from known frames
FRAMES = 33
KNOWN = (1, 5, 9, 13)
COLUMNS = ("noise", "frames", "speeds", "loss")  # of the table of runs, as training.json has them
LATER = 8  # frames after the seam over which a speed is measured


def held_out_prompts(count: int = PROMPTS) -> list[int]:
    """Indices of scenes that training never saw, over and over until there are enough."""
    scenes = [index for index, scene in enumerate(world.SCENES) if scene.held_out]
    return [scenes[i % len(scenes)] for i in range(count)]


def truths(scenes: Iterable[int]) -> world.Clips:
    """Clips of which only the scene counts."""
    scene = torch.tensor(list(scenes))
    drawn = world.draw(len(scene), torch.Generator().manual_seed(1))
    motion = torch.tensor([s.motion for s in world.SCENES])[scene]
    return world.Clips(scene, motion, torch.zeros_like(scene), drawn.speed, drawn.radius, drawn.start)


def moving(count: int, seed: int) -> world.Clips:
    """Clips, none of which stands still."""
    clips = world.draw(2 * count, torch.Generator().manual_seed(seed))
    return clips[(clips.each("motion") != world.STILL).nonzero().flatten()[:count]]


def share(right: Tensor) -> str:
    """A share with its 95 % interval (Wilson)."""
    n, p, z = len(right), right.float().mean().item(), 1.96
    middle, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * width) / (1 + z * z / n) for sign in (-1, 1))
    return f"{100 * p:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def round_trip(model: Model) -> str:
    pixels = world.draw(24, torch.Generator().manual_seed(999)).pixels(17)
    value = measure.psnr(model.decode(model.encode(pixels)), pixels)
    return f"{value.mean():.1f} dB on average, {value.min():.1f} dB at worst, over {len(value)} clips of 17 frames"


def from_text(model: Model, frames: int, count: int) -> list[str]:
    """Cells of a row: how often the clip shows what the prompt says."""
    truth = truths(held_out_prompts(count))
    seen = measure.look(model.render(truth.prompts(), seed=4, frames=frames))
    right = [seen.colour == truth.each("colour"), seen.shape == truth.each("shape")]
    right += [seen.motion() == truth.each("motion"), seen.ground == truth.each("ground")]
    return [f"{frames}", f"{count}", *map(share, right)]


@dataclass(frozen=True)
class Seam:
    """Clips that go on from their known frames, beside the painted truth."""

    known: int
    truth: world.Clips
    seen: measure.Seen
    pixels: Tensor
    painted: Tensor

    @classmethod
    def of(cls, model: Model, known: int, clips: world.Clips, frames: int = FRAMES) -> Seam:
        painted = clips.pixels(frames)
        pixels = model.render(clips.prompts(), seed=5, frames=frames, before=painted[:, :, :known])
        joined = torch.cat([painted[:, :, :known], pixels[:, :, known:]], 2)
        return cls(known, clips, measure.look(joined), joined, painted)

    def speed_error(self, last: int = -1) -> Tensor:
        """Pixels a frame, from the last known frame to `last`."""
        return (self.seen.velocity(self.known - 1, last).norm(dim=1) - self.truth.speed).abs()

    def jump(self) -> Tensor:
        """How far the step across the seam is from a step of the truth, in pixels."""
        step = (self.seen.centre[:, self.known] - self.seen.centre[:, self.known - 1]).norm(dim=1)
        return (step - self.truth.speed).abs()

    def row(self) -> list[str]:
        speed = self.seen.velocity(self.known - 1).norm(dim=1)
        correlation = torch.corrcoef(torch.stack([speed, self.truth.speed]))[0, 1]
        likeness = measure.psnr(self.pixels[:, :, self.known :], self.painted[:, :, self.known :])
        return [
            f"{self.known}",
            share(self.seen.motion(self.known - 1) == self.truth.each("motion")),
            share(self.seen.shape == self.truth.each("shape")),
            f"{self.speed_error(self.known - 1 + LATER).mean():.2f}",
            f"{self.speed_error().mean():.2f}",
            f"{correlation:.2f}",
            f"{self.jump().median():.2f}",
            f"{likeness.median():.1f}",
        ]


def constant_guess(clips: world.Clips) -> float:
    """Mean error in speed of always guessing the median."""
    return (clips.speed - clips.speed.median()).abs().mean().item()


def turning(count: int) -> world.Clips:
    """Clips whose first five frames move otherwise than their prompts say."""
    clips = world.draw(4 * count, torch.Generator().manual_seed(502), turns=(5,), turning=1.0)
    return clips[(clips.before != clips.each("motion")).nonzero().flatten()[:count]]


def turned(model: Model) -> str:
    """How often a clip turns at the seam as the prompt says, after five frames of another motion."""
    clips = turning(CLIPS)
    pixels = model.render(clips.prompts(), seed=9, before=clips.pixels(5))
    return share(measure.look(pixels).motion(4) == clips.each("motion"))


def to_the_end(model: Model, count: int = CLIPS, frames: int = FRAMES) -> tuple[float, float]:
    """Of clips between a first and a last frame: likeness of the last in dB, and how many pixels the middle is off."""
    clips = moving(count, 78)
    painted = clips.pixels(frames)
    pixels = model.render(clips.prompts(), 6, frames, painted[:, :, :1], painted[:, :, -1])
    seen, truth = measure.look(pixels).centre, measure.look(painted).centre
    half = frames // 2
    off = ((seen[:, half] - seen[:, 0]) - (truth[:, half] - truth[:, 0])).norm(dim=1)
    last = measure.psnr(pixels[:, :, -1:], painted[:, :, -1:])
    return last.median().item(), off.median().item()


def _run(row: dict[str, Any]) -> list[str]:
    return [row["run"], f"{row['steps']}", f"{row['seconds'] / 60:.0f}", *(row[k] for k in COLUMNS)]


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def write(path: Path = CARD) -> None:
    started = time.process_time()
    model = folder.read()
    training = json.loads(TRAINING.read_text(encoding="utf-8"))
    clips = moving(CLIPS, 77)
    last, middle = to_the_end(model)
    text = TEMPLATE.format(
        megabytes=f"{folder.size() / 1e6:.1f}",
        parameters=f"{sum(p.numel() for p in model.experts[0].parameters()) / 1e6:.1f}",
        colours=", ".join(world.COLOUR_NAMES),
        shapes=", ".join(world.SHAPES),
        grounds=", ".join(world.GROUND_NAMES),
        prompt=world.SCENES[0].prompt,
        still=next(scene.prompt for scene in world.SCENES if scene.motion == world.STILL),
        speeds=" or ".join(f"{speed:g}" for speed in world.SPEEDS),
        radii=f"{world.RADIUS[0]:.0f} to {world.RADIUS[1]:.0f}",
        scenes=len(world.SCENES),
        unseen=sum(scene.held_out for scene in world.SCENES),
        training=table(
            ["run", "steps", "minutes of one core", "noise levels", "frames", "pixels a frame", "loss at the end"],
            [_run(row) for row in training],
        ),
        round_trip=round_trip(model),
        text=table(
            ["frames", "clips", "colour", "shape", "direction", "ground"],
            [from_text(model, frames, PROMPTS) for frames in (17, FRAMES)],
        ),
        turned=turned(model),
        clips=len(clips),
        later=LATER,
        frames=FRAMES,
        seams=table(
            [
                "known frames",
                "direction",
                "shape",
                f"speed error, {LATER} frames",
                "to the end",
                "correlation",
                "jump, px",
                "likeness, dB",
            ],
            [Seam.of(model, known, clips).row() for known in KNOWN],
        ),
        guess=f"{constant_guess(clips):.2f}",
        last=f"{last:.1f} dB",
        middle=f"{middle:.1f} px",
        steps=len(transformer.sigmas(10)) - 1,
        shift=f"{transformer.SHIFT:g}",
        boundary=transformer.BOUNDARY,
        seconds=f"{time.process_time() - started:.0f}",
    )
    path.write_text(text, encoding="utf-8")


TEMPLATE = """\
# Demo model: a tiny Wan 2.2 that was trained

`model/` is Wan 2.2 image to video in diffusers' layout, half precision, {megabytes} MB in all: two experts of
{parameters} million weights each (36 input channels, 4 blocks, width 128), the Wan 2.1 VAE at width 16, and a text
encoder of one frozen layer. `Load Diffusers Folder` reads it like any other. It exists so that anyone can see a film
being made, and so that continuity can be measured where the truth is known.

It knows one world and nothing else: one shape ({shapes}) in one colour ({colours}) on a plain ground ({grounds}),
64 x 64 pixels, 16 frames a second, moving right, left, up or down or staying, at {speeds} pixels a frame, of a radius
of {radii} pixels. What leaves on one side comes in on the other. A prompt is one of {scenes} sentences: "{prompt}",
"{still}". Any other word means nothing to it.

## Training

Clips are painted by `world.py`, encoded once, and cut into windows of 17 and 33 frames, of which 0, 1, 5, 9 or 13
are known, and in a quarter of those that begin with known frames the last one too. {unseen} of the {scenes} sentences
are never seen. The VAE's encoder is computed, not trained (principal components); its decoder was trained on the same
world.

{training}

`loss.png` shows the loss of the runs that it names. One seed. "before" are runs of earlier scripts that drew other
speeds and lengths; their weights are what the others began with. `python dev.py train` goes the whole way from random
weights: decoder, clips, one network at every noise level, then the two experts.

## What it does

Euler, {steps} steps, shift {shift}, experts change over at {boundary}, no guidance. Shares with their 95 % intervals.

VAE round trip: {round_trip}.

From text alone, sentences that training never saw (all {unseen} of them, each with one or two seeds):

{text}

Going on from painted frames: {clips} clips of {frames} frames that move steadily, of any sentence. Error in speed, in
pixels a frame, over the first {later} frames after the seam and to the end, and its correlation with the truth (means);
how far the step of the centre across the seam is from a step of the truth, and likeness to the painted continuation
(medians):

{seams}

Always guessing the same speed errs by {guess}: only below that is a speed carried over. One known frame tells none.

After five frames of another motion it turns as the prompt says: {turned}. Between a first and a last frame, the last
comes out at {last}, and half way the shape is {middle} from where it should be (medians).

Measured in {seconds} s of one core by `card.py`, which writes this page.

## What it cannot

Two shapes, turning, growing, textures, other sizes than 64 x 64, words outside the list, a shape of another radius,
the way from one shape or colour to another, and sound.
"""
