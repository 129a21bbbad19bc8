"""A Wan 2.1 VAE whose encoder is computed, not trained: principal components of blocks of 8x8 pixels and 4 frames.

Every residual branch of the encoder is zero, so that a block is its shortcut; strided convolutions gather 2x2 pixels
(or two frames) and keep the strongest components; the head is linear because silu(x) - silu(-x) = x and because a
channel far larger than all others makes its RMS norm a constant. Slot 0 holds one frame, read as a clip that stands
still, and no slot sees another, so that the latents of a prefix are the prefix of the latents.

The decoder starts as "mean colour of the block, smoothly enlarged" and is trained; latents stay as they are, hence the
transformer can be trained beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 16
SLOT = 4  # frames of a latent slot after the first, which holds one
CELL = 8  # pixels of a latent, each way
CHANNELS = 16
CONFIG = {
    "z_dim": CHANNELS,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
}
# The constant channel before the encoder's head: the larger, the closer RMS norm is to a constant (64 errs by 3 %).
LARGE = 1024.0
# Components kept of 4x4 pixels: of the mean of two frames, of their difference; then of 8x8 pixels: of the mean, of
# the fast difference, of the slow one.
KEEP_4, KEEP_4_TIME = 22, 10
KEEP_8, KEEP_8_TIME, KEEP_8_SLOW = 20, 5, 6

Matrices = dict[str, Tensor]


def wan_vae() -> Any:
    """ComfyUI's own class, its weights drawn from torch's global generator."""
    from comfy.ldm.wan.vae import WanVAE

    vae = WanVAE(dim=WIDTH, **CONFIG)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return vae


def statistics() -> tuple[Tensor, Tensor]:
    """Mean and deviation that ComfyUI takes Wan 2.1 latents to have, shaped (16, 1, 1, 1)."""
    from comfy.latent_formats import Wan21

    known = Wan21()
    return known.latents_mean[0], known.latents_std[0]


def quiet(coder: Any) -> None:
    """Let a coder's attention add nothing, and make each of its residual blocks the shortcut, and that an embedding."""
    for block in [*getattr(coder, "downsamples", ()), *coder.middle, *getattr(coder, "upsamples", ())]:
        if hasattr(block, "residual"):
            nn.init.zeros_(block.residual[6].weight)
            nn.init.zeros_(block.residual[6].bias)
            if not isinstance(block.shortcut, nn.Identity):
                embed(block.shortcut)
    nn.init.zeros_(coder.middle[1].proj.weight)


def embed(conv: Any) -> None:
    """Make a convolution hand its channels on, as many as fit; of three frames it looks at the newest."""
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    at = [size // 2 for size in conv.weight.shape[2:]]
    if len(at) == 3:
        at[0] = conv.weight.shape[2] - 1
    for channel in range(min(conv.weight.shape[:2])):
        conv.weight.data[(channel, channel, *at)] = 1


def _principal(samples: Tensor, keep: int) -> Tensor:
    """The strongest directions through the origin: (keep, width)."""
    _, vectors = torch.linalg.eigh(samples.T @ samples / len(samples))
    return vectors.flip(1)[:, :keep].T.contiguous()


def gathered(x: Tensor) -> Tensor:
    """2x2 neighbours side by side, channel = place * channels + channel: (n, 4c, t, h/2, w/2)."""
    return torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)


def _flat(x: Tensor) -> Tensor:
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def applied(matrix: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("oc,ncthw->nothw", matrix, x)


def _put_gathering(conv: Any, matrix: Tensor, rows: slice, columns: slice) -> None:
    """Write a matrix on gathered channels into a convolution of stride 2 that sees 3x3."""
    channels = matrix.shape[1] // 4
    for place in range(4):
        part = matrix[:, place * channels : (place + 1) * channels]
        conv.weight.data[rows, columns, place // 2, place % 2] = part


def _in_pairs(x: Tensor, slow: int) -> Tensor:
    """Frames 1.. two by two: their mean, and half the difference of the first `slow` channels; frame 0 stands still."""
    a, b = x[:, :, 1::2], x[:, :, 2::2]
    rest = torch.cat([(a + b) / 2, (b - a)[:, :slow] / 2], 1)
    first = torch.cat([x[:, :, :1], torch.zeros_like(x[:, :slow, :1])], 1)
    return torch.cat([first, rest], 2)


def encode(matrices: Matrices, clips: Tensor) -> Tensor:
    """What the built encoder gives for pixels in -1..1, normalised as ComfyUI hands it to a diffusion model."""
    x = applied(matrices["first"], gathered(clips))
    x = _in_pairs(applied(matrices["second"], gathered(x)), KEEP_4_TIME)
    x = _in_pairs(applied(matrices["third"], gathered(x)), KEEP_8_SLOW)
    return applied(matrices["last"], x) + matrices["shift"][:, None, None, None]


@torch.no_grad()
def build_encoder(vae: Any, clips: Tensor) -> Matrices:
    """Compute the encoder from clips of 4n+1 frames; returns what it does as matrices."""
    encoder = vae.encoder
    quiet(encoder)
    embed(encoder.conv1)
    halve, quarter, eighth = encoder.downsamples[2], encoder.downsamples[5], encoder.downsamples[8]
    for resample in (halve, quarter, eighth):
        nn.init.zeros_(resample.resample[1].weight)
        if hasattr(resample, "time_conv"):
            nn.init.zeros_(resample.time_conv.weight)
    first, x = _build_halves(halve, clips)
    second, x = _build_quarters(quarter, x)
    third, x = _build_eighths(eighth, x)
    return {"first": first, "second": second, "third": third, **_build_head(vae, x)}


def _build_halves(resample: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    """2x2 pixels by Haar: nothing is lost."""
    haar = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2.0
    matrix = torch.einsum("kp,cd->kcpd", haar, torch.eye(3)).reshape(12, 12)
    _put_gathering(resample.resample[1], matrix, slice(0, 12), slice(0, 3))
    return matrix, applied(matrix, gathered(clips))


def _build_quarters(resample: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """4x4 pixels, then two frames: the mean of all channels, the difference of the strongest.

    Slot 0 bypasses the convolution over time, hence the channels of differences stay empty before it.
    """
    blocks = gathered(x)
    matrix = _principal(_flat(blocks), KEEP_4)
    _put_gathering(resample.resample[1], matrix, slice(0, KEEP_4), slice(0, 12))
    time = resample.time_conv.weight.data[..., 0, 0]
    for c in range(KEEP_4):
        time[c, c, 1] = time[c, c, 2] = 0.5
    for c in range(KEEP_4_TIME):
        time[KEEP_4 + c, c, 1], time[KEEP_4 + c, c, 2] = -0.5, 0.5
    return matrix, _in_pairs(applied(matrix, blocks), KEEP_4_TIME)


def _build_eighths(resample: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """8x8 pixels, then two steps of two frames; each channel twice, with either sign, for the head."""
    blocks = gathered(x)
    width = KEEP_4 + KEEP_4_TIME
    order = torch.arange(4 * width).reshape(4, width)
    still, moving = order[:, :KEEP_4].flatten(), order[:, KEEP_4:].flatten()
    kept = KEEP_8 + KEEP_8_TIME
    matrix = torch.zeros(kept, 4 * width)
    matrix[:KEEP_8, still] = _principal(_flat(blocks[:, still]), KEEP_8)
    matrix[KEEP_8:, moving] = _principal(_flat(blocks[:, moving, 1:]), KEEP_8_TIME)
    both = kept + KEEP_8_SLOW
    conv, time = resample.resample[1], resample.time_conv.weight.data[..., 0, 0]
    for sign, at in ((1, 0), (-1, both)):
        _put_gathering(conv, sign * matrix, slice(at, at + kept), slice(0, width))
        for c in range(kept):
            time[at + c, at + c, 1] = time[at + c, at + c, 2] = 0.5
        for c in range(KEEP_8_SLOW):
            time[at + kept + c, c, 1], time[at + kept + c, c, 2] = -0.5 * sign, 0.5 * sign
    return matrix, _in_pairs(applied(matrix, blocks), KEEP_8_SLOW)


def _build_head(vae: Any, x: Tensor) -> Matrices:
    """The principal components of everything, scaled half way to equal strength: the strong stay the stronger."""
    encoder, both = vae.encoder, x.shape[1]
    last_channel = 4 * WIDTH - 1
    encoder.middle[2].residual[6].bias.data[last_channel] = LARGE
    encoder.head[0].gamma.fill_(LARGE / (4 * WIDTH) ** 0.5)
    encoder.head[0].gamma[last_channel] = 0
    samples = _flat(x)
    mean = samples.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(samples.T))
    values, vectors = values.flip(0)[:CHANNELS], vectors.flip(1)[:, :CHANNELS]
    deviation = values.sqrt()
    scale = (deviation * deviation[0]).sqrt()
    last = vectors.T / scale[:, None]
    shift = -(last @ mean)
    known_mean, known_std = (s.flatten() for s in statistics())
    head = encoder.head[2]
    nn.init.zeros_(head.weight)
    head.weight.data[:CHANNELS, :both, 2, 1, 1] = known_std[:, None] * last
    head.weight.data[:CHANNELS, both : 2 * both, 2, 1, 1] = -known_std[:, None] * last
    nn.init.zeros_(head.bias)
    head.bias.data[:CHANNELS] = known_std * shift + known_mean
    nn.init.zeros_(vae.conv1.bias)
    embed(vae.conv1)
    return {"last": last, "shift": shift, "inverse": vectors * scale, "mean": mean}
