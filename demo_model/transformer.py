"""A small Wan 2.2 transformer of ComfyUI's own class, and a faster way through it for training and for measuring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import text
from .vae import CHANNELS, SLOT

CONFIG = {"dim": 128, "ffn_dim": 384, "num_layers": 4, "num_heads": 4, "text_dim": text.WIDTH, "freq_dim": 64}
IN_CHANNELS = CHANNELS + SLOT + CHANNELS  # noise, mask, image
BOUNDARY = 0.9  # of Wan 2.2's image to video: the sigma below which the second expert denoises
SHIFT = 5.0


def wan_transformer() -> Any:
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    return WanModel(
        model_type="t2v",
        in_dim=IN_CHANNELS,
        out_dim=CHANNELS,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
        device=torch.device("cpu"),
        **CONFIG,
    )


@torch.no_grad()
def start(model: Any, words: Tensor, seed: int = 0) -> None:
    """First weights.

    Args:
        words: embeddings of real tokens; queries of cross attention begin as looking for such, not for padding.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            weight.zero_()
        elif name.endswith("modulation"):
            weight.normal_(std=0.02, generator=generator)
        elif "norm" in name:
            weight.fill_(1)
        else:
            weight.normal_(std=weight[0].numel() ** -0.5, generator=generator)
            if name.endswith((".o.weight", "ffn.2.weight")):
                weight *= (2 * len(model.blocks)) ** -0.5
            if name.startswith("time_projection"):
                weight *= 0.1
    nn.init.zeros_(model.head.head.weight)
    context = model.text_embedding(words)
    for block in model.blocks:
        block.modulation[:, 2] += 1
        block.modulation[:, 5] += 1
        cross = block.cross_attn
        keys = _rms(cross.k(context), cross.norm_k.weight).mean(0)
        cross.q.bias.copy_(keys / keys.square().mean().sqrt())
        cross.norm_q.weight.fill_(1.5)


def forward(model: Any, x: Tensor, sigma: Tensor, context: Tensor, lengths: Tensor) -> Tensor:
    """Velocity as ComfyUI computes it for prompts padded to 512 places; the padding is one place that counts for all.

    Args:
        x: noisy latents, mask and image, (n, 36, t, h, w).
        context, lengths: as `text.embedded` gives them.
    """
    n, _, t, h, w = x.shape
    x = x.reshape(n, -1, t, h // 2, 2, w // 2, 2).permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)
    x = F.linear(x, model.patch_embedding.weight.flatten(1), model.patch_embedding.bias)
    half = model.freq_dim // 2
    angle = sigma[:, None] * 1000 * torch.pow(10000, -torch.arange(half) / half)
    e = model.time_embedding(torch.cat([angle.cos(), angle.sin()], 1))
    modulation = model.time_projection(e).unflatten(1, (6, model.dim))
    places = context.shape[1]
    words = model.text_embedding(torch.cat([context, context.new_zeros(n, 1, context.shape[2])], 1))
    bias = torch.zeros(n, places + 1)
    bias[:, :places].masked_fill_(torch.arange(places)[None] >= lengths[:, None], -math.inf)
    bias[:, places] = torch.log(text.PLACES - lengths.float())
    bias = bias[:, None, None].expand(-1, model.num_heads, x.shape[1], -1)
    turn = _rotation(model, t, h // 2, w // 2)
    for block in model.blocks:
        x = _block(block, x, modulation, words, bias, turn)
    m = (model.head.modulation + e[:, None]).unsqueeze(2).unbind(1)
    x = model.head.head(F.layer_norm(x, (model.dim,), eps=model.eps) * (1 + m[1]) + m[0])
    x = x.reshape(n, t, h // 2, w // 2, 2, 2, CHANNELS)
    return x.permute(0, 6, 1, 2, 4, 3, 5).reshape(n, CHANNELS, t, h, w)


def _block(block: Any, x: Tensor, modulation: Tensor, words: Tensor, bias: Tensor, turn: Tensor) -> Tensor:
    m = (block.modulation + modulation).unsqueeze(2).unbind(1)
    own, cross = block.self_attn, block.cross_attn
    width, heads = x.shape[-1:], own.num_heads
    y = torch.addcmul(m[0], F.layer_norm(x, width, eps=own.eps), 1 + m[1])
    q = _rotated(_rms(own.q(y), own.norm_q.weight).unflatten(-1, (heads, -1)), turn)
    k = _rotated(_rms(own.k(y), own.norm_k.weight).unflatten(-1, (heads, -1)), turn)
    x = torch.addcmul(x, own.o(_attention(q, k, own.v(y).unflatten(-1, (heads, -1)))), m[2])
    q = _rms(cross.q(block.norm3(x)), cross.norm_q.weight).unflatten(-1, (heads, -1))
    k = _rms(cross.k(words), cross.norm_k.weight).unflatten(-1, (heads, -1))
    x = x + cross.o(_attention(q, k, cross.v(words).unflatten(-1, (heads, -1)), bias))
    y = torch.addcmul(m[3], F.layer_norm(x, width, eps=own.eps), 1 + m[4])
    return torch.addcmul(x, block.ffn(y), m[5])


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], weight, 1e-6)


def _rotation(model: Any, t: int, h: int, w: int) -> Tensor:
    """Cosine and sine of every position's angles: (2, tokens, 1, head / 2)."""
    grid = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (t, h, w)), indexing="ij")
    angles = [
        axis.flatten()[:, None] * 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        for axis, size in zip(grid, model.rope_embedder.axes_dim, strict=True)
    ]
    angle = torch.cat(angles, 1)[:, None]
    return torch.stack([angle.cos(), angle.sin()]).float()


def _rotated(x: Tensor, turn: Tensor) -> Tensor:
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack([a * turn[0] - b * turn[1], a * turn[1] + b * turn[0]], -1).flatten(-2)


def conditioning(latents: Tensor, known: Tensor, gray: Tensor, ends: Tensor | None = None) -> Tensor:
    """The 20 channels beside the noise: mask (1 where known), latents of the known frames, of gray elsewhere.

    Zero where nothing is known, as ComfyUI gives where no image is connected.

    Args:
        latents: (n, 16, t, h, w); the known slots of each are taken from it.
        known: known slots from the start, one number a clip.
        gray: latents of a gray clip, (1, 16, t, h, w).
        ends: latents of three gray frames and the clip's last, (n, 16, h, w), zero where no end is given.
    """
    t = latents.shape[2]
    is_known = (torch.arange(t)[None] < known[:, None]).float()[:, None, :, None, None]
    image = latents * is_known + gray * (1 - is_known)
    mask = is_known.expand(-1, SLOT, -1, *latents.shape[3:])
    anything = known > 0
    if ends is not None:
        given = ends.flatten(1).any(1)
        anything = anything | given
        image[given, :, -1] = ends[given]
        mask = mask.clone()
        mask[given, -1, -1] = 1
    return torch.cat([mask, image], 1) * anything[:, None, None, None, None]


def sigmas(steps: int) -> Tensor:
    """ComfyUI's `simple` scheduler on a shifted flow."""
    u = torch.linspace(1, 0, steps + 1)
    return SHIFT * u / (1 + (SHIFT - 1) * u)


@torch.no_grad()
def sample(experts: Sequence[Any], prompts: Sequence[str], beside: Tensor, seed: int, steps: int = 10) -> Tensor:
    """Euler without guidance; `experts` are those of high and of low noise, `beside` comes from `conditioning`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(beside), CHANNELS, *beside.shape[2:], generator=generator)
    context, lengths = text.embedded(prompts)
    schedule = sigmas(steps)
    for now, then in pairwise(schedule):
        expert = experts[0] if now >= BOUNDARY else experts[1]
        x = x + (then - now) * forward(expert, torch.cat([x, beside], 1), now.expand(len(x)), context, lengths)
    return x
