"""A small picture of a take, made of its latent alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ..model.bundle import VideoModel

WIDTH = 160  # pixels, at least


def thumbnail(model: VideoModel, latent: torch.Tensor) -> torch.Tensor | None:
    """The middle of a clip as `[H, W, 3]` uint8, by the linear map that ComfyUI's previews use; None where it has none.

    Args:
        latent: `[1, C, T, h, w]` in VAE space.
    """
    import torch

    form = model.high.get().model.latent_format
    factors = form.latent_rgb_factors
    if factors is None or form.latent_rgb_factors_reshape is not None or len(factors) != latent.shape[1]:
        return None
    slot = form.process_in(latent.detach().float().cpu())[0, :, latent.shape[2] // 2]
    bias = form.latent_rgb_factors_bias
    colours = torch.nn.functional.linear(
        slot.movedim(0, -1), torch.tensor(factors).T, None if bias is None else torch.tensor(bias)
    )
    times = -(-WIDTH // colours.shape[1])
    large = colours.repeat_interleave(times, 0).repeat_interleave(times, 1)
    return ((large + 1) / 2 * 255).clamp(0, 255).round().to(torch.uint8)
