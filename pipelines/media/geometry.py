"""Frames cropped and resized while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .frames import FrameSource, from_float


class Cropped:
    """A rectangle of another source's frames."""

    def __init__(self, source: FrameSource, x: int, y: int, width: int, height: int):
        self.source = source
        self.x, self.y, self.width, self.height = x, y, width, height
        self.frame_rate, self.frame_count = source.frame_rate, source.frame_count

    @property
    def identity(self) -> list[Any]:
        return [self.source, self.x, self.y, self.width, self.height]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for frame in self.source.frames(start, stop):
            yield np.ascontiguousarray(frame[self.y : self.y + self.height, self.x : self.x + self.width])


class Resized:
    """Another source's frames at another size, as ComfyUI's own nodes scale an image.

    Args:
        method, crop: as comfy.utils.common_upscale takes them.
    """

    def __init__(self, source: FrameSource, width: int, height: int, method: str, crop: str):
        self.source = source
        self.width, self.height, self.method, self.crop = width, height, method, crop
        self.frame_rate, self.frame_count = source.frame_rate, source.frame_count

    @property
    def identity(self) -> list[Any]:
        return [self.source, self.width, self.height, self.method, self.crop]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        import torch
        from comfy.utils import common_upscale

        for frame in self.source.frames(start, stop):
            image = torch.from_numpy(frame.astype(np.float32) / 65535).movedim(-1, 0)[None]
            scaled = common_upscale(image, self.width, self.height, self.method, self.crop)
            yield from_float(scaled[0].movedim(0, -1).numpy())
