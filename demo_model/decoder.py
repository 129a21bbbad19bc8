"""The VAE's decoder: how it starts, a fast way through it on whole clips, and its training for fixed latents.

Only the blocks listed here learn; all others stay their shortcut. The flat ones look at one frame only.
"""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import world
from .files import progress, write_whole
from .vae import CELL, KEEP_4_TIME, KEEP_8_SLOW, WIDTH, Matrices, applied, embed, encode, gathered, quiet, statistics

DEEP = ("middle.0", "middle.2", "upsamples.0")
FLAT = ("upsamples.4", "upsamples.5", "upsamples.8", "upsamples.9")
ENLARGE = (3, 7, 11)  # places of the resampling layers
FRAMES = 9  # of a training clip
SIDE = 4  # latents of a training clip, each way
BATCH = 8
NOISE = 0.02  # on latents: what a diffusion model gives is never exact
STEPS, RATE = 800, 3e-3
SAVE_EVERY = 60.0  # seconds


@torch.no_grad()
def start(vae: Any, matrices: Matrices) -> None:
    """Set the decoder to the mean colour of each block, smoothly enlarged: about 18 dB."""
    decoder = vae.decoder
    quiet(decoder)
    known_mean, known_std = (s.flatten() for s in statistics())
    embed(vae.conv2)
    vae.conv2.weight.data /= known_std[:, None, None, None, None]
    vae.conv2.bias.data = -known_mean / known_std
    _start_colours(decoder.conv1, matrices)
    for index in ENLARGE:
        _start_enlarging(decoder.upsamples[index], last=index == ENLARGE[-1])
    decoder.head[0].gamma.fill_(8 / WIDTH**0.5)
    nn.init.zeros_(decoder.head[2].weight)
    nn.init.zeros_(decoder.head[2].bias)
    for c in range(3):
        decoder.head[2].weight.data[c, c, 2, 1, 1] = 1
        decoder.head[2].weight.data[c, c + 3, 2, 1, 1] = -1


def _start_colours(conv: Any, matrices: Matrices) -> None:
    """Mean colour of a block first, as the encoder's pyramid sees it, then its components."""
    ones = torch.ones(3, 3, 1, 16, 16) * torch.eye(3)[:, :, None, None, None]
    x = applied(matrices["second"], gathered(applied(matrices["first"], gathered(ones))))
    x = torch.cat([x, torch.zeros(3, KEEP_4_TIME, *x.shape[2:])], 1)
    x = applied(matrices["third"], gathered(x))[:, :, 0, 0, 0]
    plain = torch.cat([x, torch.zeros(3, KEEP_8_SLOW)], 1)
    colour = torch.linalg.pinv(plain.T)
    both = matrices["inverse"].shape[0]
    conv.weight.data *= 0.5
    conv.weight.data[: 3 + both] = 0
    conv.weight.data[:3, :, 2, 1, 1] = colour @ matrices["inverse"]
    conv.bias.data[:3] = colour @ matrices["mean"]
    conv.weight.data[3 : 3 + both, :, 2, 1, 1] = matrices["inverse"] / 4
    conv.bias.data[3 : 3 + both] = matrices["mean"] / 4


def _start_enlarging(resample: Any, last: bool) -> None:
    smooth = torch.tensor([1.0, 2.0, 1.0]) / 4
    if hasattr(resample, "time_conv"):
        time = resample.time_conv
        half = time.weight.shape[1]
        time.weight.data *= 0.3
        time.weight.data[0:3] = time.weight.data[half : half + 3] = 0
        for c in range(half):
            time.weight.data[c, c, 2] += 1
            time.weight.data[half + c, c, 2] += 1
    conv = resample.resample[1]
    conv.weight.data[:3] = 0
    for c in range(3):
        conv.weight.data[c, c] = smooth[:, None] * smooth[None]
    if last:  # for the head: each colour with either sign, and a constant that makes its RMS norm nearly one
        conv.weight.data[3:6] = -conv.weight.data[:3]
        conv.weight.data[-1] = 0
        conv.bias.data[-1] = 8.0


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Pixels of whole clips at once, through the blocks in use alone; `latents` are normalised."""
    decoder, n = vae.decoder, len(latents)
    mean, std = statistics()
    x = _causal(decoder.conv1, _causal(vae.conv2, latents * std + mean))
    for name in DEEP:
        x = _residual(decoder.get_submodule(name), x, _causal)
    x = _enlarged(decoder.upsamples[ENLARGE[0]], _frames(_doubled(decoder.upsamples[ENLARGE[0]], x)))
    for name in FLAT[:2]:
        x = _residual(decoder.get_submodule(name), x, _single)
    x = x.unflatten(0, (n, -1)).transpose(1, 2)
    x = _enlarged(decoder.upsamples[ENLARGE[1]], _frames(_doubled(decoder.upsamples[ENLARGE[1]], x)))
    for name in FLAT[2:]:
        x = _residual(decoder.get_submodule(name), x, _single)
    x = _enlarged(decoder.upsamples[ENLARGE[2]], x)
    x = _single(decoder.head[2], F.silu(_norm(decoder.head[0], x)))
    return x.unflatten(0, (n, -1)).transpose(1, 2)


def _causal(conv: Any, x: Tensor) -> Tensor:
    t, h, w = conv.weight.shape[2:]
    return F.conv3d(F.pad(x, (w // 2, w // 2, h // 2, h // 2, t - 1, 0)), conv.weight, conv.bias)


def _single(conv: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, conv.weight[:, :, -1], conv.bias, padding=conv.weight.shape[-1] // 2)


def _norm(layer: Any, x: Tensor) -> Tensor:
    gamma = layer.gamma.reshape(1, -1, *[1] * (x.ndim - 2))
    return x * (x.square().sum(1, keepdim=True) + 1e-12).rsqrt() * layer.scale * gamma


def _residual(block: Any, x: Tensor, conv: Any) -> Tensor:
    r = block.residual
    y = conv(r[2], F.silu(_norm(r[0], x)))
    y = conv(r[6], F.silu(_norm(r[3], y)))
    return y + (x if isinstance(block.shortcut, nn.Identity) else conv(block.shortcut, x))


def _doubled(resample: Any, x: Tensor) -> Tensor:
    """Twice the frames, but for the first slot."""
    first, rest = x[:, :, :1], x[:, :, 1:]
    if rest.shape[2]:
        n, c, t, h, w = rest.shape
        rest = _causal(resample.time_conv, rest).reshape(n, 2, c, t, h, w)
        rest = rest.permute(0, 2, 3, 1, 4, 5).reshape(n, c, 2 * t, h, w)
    return torch.cat([first, rest], 2)


def _frames(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _enlarged(resample: Any, x: Tensor) -> Tensor:
    conv = resample.resample[1]
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), conv.weight, conv.bias, padding=1)


@torch.no_grad()
def settle(vae: Any) -> None:
    """Silence the taps that the fast way leaves out, so that ComfyUI's class computes the same."""
    for name in FLAT:
        for layer in (2, 6):
            vae.decoder.get_submodule(name).residual[layer].weight.data[:, :, :-1] = 0
    vae.decoder.head[2].weight.data[:, :, :-1] = 0


def _loss(vae: Any, matrices: Matrices, generator: torch.Generator) -> Tensor:
    """Of one batch of pieces about the shape."""
    clips = world.draw(BATCH, generator, turns=(0, 5), turning=0.5)
    pixels = clips.pixels(FRAMES)
    pieces, latents = _pieces(pixels, encode(matrices, pixels), clips.centres(FRAMES)[:, FRAMES // 2], generator)
    latents = latents + NOISE * torch.randn(latents.shape, generator=generator)
    difference = decode(vae, latents) - pieces
    return difference.square().mean() + 0.05 * difference.abs().mean()


def _pieces(pixels: Tensor, latents: Tensor, centres: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    shift = (torch.rand(len(pixels), 2, generator=generator) - 0.5) * 3 * CELL
    corners = (((centres % world.SIZE) + shift) / CELL - SIDE / 2).round().long().clamp(0, world.SIZE // CELL - SIDE)
    xs, zs = [], []
    for x, z, (left, top) in zip(pixels, latents, corners.tolist(), strict=True):
        zs.append(z[:, :, top : top + SIDE, left : left + SIDE])
        xs.append(x[:, :, CELL * top : CELL * (top + SIDE), CELL * left : CELL * (left + SIDE)])
    return torch.stack(xs), torch.stack(zs)


def train(vae: Any, matrices: Matrices, path: Path, steps: int = STEPS) -> None:
    """Train the decoder of `vae` in place, with a checkpoint at `path` every minute."""
    weights = [p for name, p in vae.named_parameters() if name.startswith("decoder.")]
    adam = torch.optim.Adam(weights, lr=RATE, betas=(0.9, 0.98))
    step, losses = 0, []
    if path.exists():
        stored = torch.load(path, weights_only=True)
        vae.load_state_dict(stored["vae"])
        adam.load_state_dict(stored["adam"])
        step, losses = stored["step"], stored["losses"]
    say, saved = progress("decoder", steps, step), time.monotonic()
    while step < steps:
        for group in adam.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 30) * (0.5 * (1 + math.cos(math.pi * step / steps)) + 0.01)
        adam.zero_grad(set_to_none=True)
        loss = _loss(vae, matrices, torch.Generator().manual_seed(1_000_003 + step))
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in weights if p.grad is not None], 1.0)
        adam.step()
        step += 1
        losses.append(loss.item())
        if step == steps:
            settle(vae)
        if time.monotonic() - saved > SAVE_EVERY or step == steps:
            stored = {"vae": vae.state_dict(), "adam": adam.state_dict(), "step": step, "losses": losses}
            write_whole(path, partial(torch.save, stored))
            saved = time.monotonic()
        say(step, f"loss {sum(losses[-50:]) / len(losses[-50:]):.5f}")
