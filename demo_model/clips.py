"""Clips of the world as latents, and the batches that training draws from them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from . import transformer, vae, world
from .files import progress, write_whole

COUNT, SEED = 4000, 5
FRAMES = 61
STARTS = 4  # slots of a stored clip that a window may begin with
TURNS = (0, 5, 9, 13)  # frames from which a clip moves as its prompt says: at the end of what may be known
TURNING = 0.6
# Slots of a window, clips a batch (about as many tokens each), share of the batches.
WINDOWS = ((5, 24, 0.5), (9, 13, 0.5))
KNOWN = (0.25, 0.15, 0.3, 0.2, 0.1)  # shares of clips of which 0, 1, 5, 9, 13 frames are known
ENDS = 0.25  # share of those whose last frame is known too
EMPTY = 0.1  # share of empty prompts
# What a chain hands on was decoded and encoded again, and never exact.
INEXACT = 0.05


@dataclass(frozen=True)
class Pool:
    """Latents of clips, to be cut into windows.

    Attributes:
        slots: (clips, 16, slots, h, w).
        firsts: what slot 0 of a window holds that begins with slot 0, 1, ...: the encode of a single frame.
        ends: of each slot, the encode of three gray frames and its last.
        clips: what is in them.
    """

    slots: Tensor
    firsts: Tensor
    ends: Tensor
    clips: world.Clips

    def __len__(self) -> int:
        return len(self.slots)

    @classmethod
    def joined(cls, parts: list[Pool]) -> Pool:
        tensors = [torch.cat([getattr(p, name) for p in parts]) for name in ("slots", "firsts", "ends")]
        clips = world.Clips(*(torch.cat([getattr(p.clips, f.name) for p in parts]) for f in fields(world.Clips)))
        return cls(*tensors, clips)

    @classmethod
    def load(cls, path: Path) -> Pool:
        stored = torch.load(path, weights_only=True)
        return cls(**{**stored, "clips": world.Clips(**stored["clips"])})

    def save(self, path: Path) -> None:
        stored = {**vars(self), "clips": vars(self.clips)}
        write_whole(path, partial(torch.save, stored))


def make_pool(matrices: vae.Matrices, count: int = COUNT) -> Pool:
    """Draw at least `count` clips of scenes that are not held out, and encode them."""
    parts: list[Pool] = []
    generator = torch.Generator().manual_seed(SEED)
    say = progress("clips", count)
    seen = torch.tensor([not scene.held_out for scene in world.SCENES])
    while (done := sum(map(len, parts))) < count:
        say(done)
        clips = world.draw(60, generator, TURNS, TURNING)
        clips = clips[seen[clips.scene]]
        pixels = clips.pixels(FRAMES)
        slots = vae.encode(matrices, pixels)
        singles = pixels[:, :, : vae.SLOT * STARTS : vae.SLOT].transpose(1, 2).flatten(0, 1)[:, :, None]
        firsts = vae.encode(matrices, singles).squeeze(2).unflatten(0, (-1, STARTS)).transpose(1, 2)
        pixels[:, :, torch.arange(FRAMES) % vae.SLOT != 0] = 0
        ends = vae.encode(matrices, pixels)
        parts.append(Pool(slots.half(), firsts.half(), ends.half(), clips))
    say(count)
    return Pool.joined(parts)


@dataclass(frozen=True)
class Batch:
    """Clips to be denoised.

    Attributes:
        latents: (n, 16, slots, h, w).
        beside: the 20 channels beside the noise.
        prompt: index into SCENES, len(SCENES) for the empty prompt.
        known: slots known from the start.
    """

    latents: Tensor
    beside: Tensor
    prompt: Tensor
    known: Tensor


def draw_batch(pool: Pool, gray: Tensor, generator: torch.Generator) -> Batch:
    """Windows of clips, each moved to another place of the torus.

    Args:
        gray: latents of a gray clip of FRAMES frames.
    """

    def chance(*size: int) -> Tensor:
        return torch.rand(size, generator=generator)

    shares = torch.tensor([share for *_, share in WINDOWS])
    length, size, _ = WINDOWS[int(torch.multinomial(shares, 1, generator=generator))]
    pick = torch.randint(len(pool), (size,), generator=generator)
    clips = pool.clips[pick]
    begin = torch.randint(min(STARTS, pool.slots.shape[2] + 1 - length), (size,), generator=generator)
    # A clip that turns within the window is known up to there, else it would contradict its prompt.
    until_turn = torch.where(clips.before != clips.each("motion"), (clips.turn - 1) // vae.SLOT + 1 - begin, 0)
    known = torch.multinomial(torch.tensor(KNOWN), size, replacement=True, generator=generator)
    known = torch.where(until_turn > 0, until_turn, known)
    latents, ends = _windows(pool, pick, begin, length)
    shift = _places(clips, begin, known, generator)
    latents, ends = _rolled(latents, shift), _rolled(ends, shift)
    ends *= ((chance(size) < ENDS) & (known > 0))[:, None, None, None]
    seen = latents + INEXACT * chance(size, 1, 1, 1, 1) * torch.randn(latents.shape, generator=generator)
    ends += (ends != 0) * INEXACT * chance(size, 1, 1, 1) * torch.randn(ends.shape, generator=generator)
    beside = transformer.conditioning(seen, known, gray[:, :, :length], ends)
    prompt = torch.where(chance(size) < EMPTY, len(world.SCENES), clips.scene)
    return Batch(latents, beside, prompt, known)


def _windows(pool: Pool, pick: Tensor, begin: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Latents of `length` slots of each clip, and the encodes of their last frames."""
    at = begin[:, None] + torch.arange(length)
    latents = pool.slots[pick[:, None], :, at].float().transpose(1, 2).contiguous()
    latents[:, :, 0] = pool.firsts[pick, :, begin].float()
    return latents, pool.ends[pick, :, at[:, -1]].float()


def _places(clips: world.Clips, begin: Tensor, known: Tensor, generator: torch.Generator) -> Tensor:
    """By how many latents each clip is moved, x and y.

    On a torus every place is as good; but what is made from text alone starts near the middle, or nothing says where.
    """
    anywhere = torch.randint(world.SIZE // vae.CELL, (len(clips), 2), generator=generator)
    start = clips.centres(vae.SLOT * STARTS)[torch.arange(len(clips)), vae.SLOT * begin]
    middle = ((world.SIZE / 2 - start) / vae.CELL).round().long()
    return torch.where((known == 0)[:, None], middle, anywhere)


def _rolled(x: Tensor, shift: Tensor) -> Tensor:
    """Each clip moved on the torus by its own whole latents, x and y."""
    h, w = x.shape[-2:]
    ys = (torch.arange(h)[None] - shift[:, 1:]) % h
    xs = (torch.arange(w)[None] - shift[:, :1]) % w
    ys = ys.reshape(len(x), *[1] * (x.ndim - 3), h, 1).expand(x.shape)
    xs = xs.reshape(len(x), *[1] * (x.ndim - 3), 1, w).expand(x.shape)
    return x.gather(-2, ys).gather(-1, xs)
