"""Images that stages start from, end at, or are anchored to, brought to size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import Refusal

if TYPE_CHECKING:
    import torch

    # An image, or what reads it: a storyboard of a thousand stages must not hold all of theirs.
    Image = torch.Tensor | Callable[[], torch.Tensor]


def pixels(image: Image) -> torch.Tensor:
    """An image `[1, H, W, C]` in 0..1, read now where it is read when it is used; raises what its reader raises."""
    return image() if callable(image) else image


def check_single(image: torch.Tensor, field: str) -> None:
    """Raise `Refusal` unless `image` is one picture, `[1, H, W, C]` with 3 channels or more."""
    if image.ndim != 4 or image.shape[0] != 1:
        raise Refusal(
            f"a batch of {image.shape[0]} images is connected; one image is needed. "
            "Pick one with Get Image from Batch.",
            field=field,
        )
    if image.shape[-1] < 3:
        raise Refusal(f"an image with {image.shape[-1]} channels is connected; RGB is needed.", field=field)


def fit(image: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Bring an image to a stage's size: scaled to cover it (Lanczos), the rest cropped evenly on both sides.

    Every image of a stage goes through here, so that a first and a last frame cannot be shifted against each other.
    An image that already has the size is returned as it is.

    Args:
        image: `[1, H, W, C]` in 0..1; channels beyond RGB are dropped.
    """
    image = image[..., :3]
    if image.shape[1:3] == (height, width):
        return image
    from comfy.utils import common_upscale

    return common_upscale(image.movedim(-1, 1), width, height, "lanczos", "center").movedim(1, -1)


def fit_film(frames: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Bring frames of a film to a size by the same rule, in the precision they have.

    `fit` agrees with ComfyUI's scaling, which goes through 8 bits and rounds down; a film that goes through it at each
    stage gets darker from stage to stage.

    Args:
        frames: `[T, H, W, 3]` float32 in 0..1.
    """
    rows, columns = frames.shape[1:3]
    if (rows, columns) == (height, width):
        return frames
    import torch
    from PIL import Image

    x = y = 0
    if columns / rows > width / height:
        x = round((columns - rows * width / height) / 2)
    else:
        y = round((rows - columns * height / width) / 2)
    fitted = torch.empty((len(frames), height, width, 3))
    for frame, target in zip(frames[:, y : rows - y, x : columns - x].cpu().float(), fitted, strict=True):
        for channel in range(3):
            plane = Image.fromarray(frame[..., channel].numpy())
            scaled = plane.resize((width, height), Image.Resampling.LANCZOS)
            target[..., channel] = torch.from_numpy(np.array(scaled))
    return fitted.clamp_(0, 1).to(frames)


def best_size(image_width: int, image_height: int, area: int, step: int) -> tuple[int, int]:
    """Width and height in pixels near `area` that keep an image's shape best.

    Of the two heights on the grid around the ideal one, each with the width on the grid nearest to the image's shape,
    the pair whose ratio of width to height is closest to the image's.
    """
    if image_width < 1 or image_height < 1:
        raise Refusal(f"an image of {image_width}x{image_height} pixels has no shape to keep.", field="image")
    ratio = image_width / image_height
    ideal = math.sqrt(area / ratio)
    sizes = [
        (max(step, round(h * ratio / step) * step), h)
        for h in {max(step, int(ideal // step + i) * step) for i in (0, 1)}
    ]
    return min(sizes, key=lambda size: (abs(math.log(size[0] / size[1] / ratio)), abs(size[0] * size[1] - area)))
