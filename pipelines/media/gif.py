"""Frames for GIF: 256 colours chosen from all over the film, and dithered between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .frames import FrameSource, to_uint8

if TYPE_CHECKING:
    import av
    from PIL.Image import Image

LOOKED_AT = 24  # frames, evenly over the film
COLOURS = 256
SIDE = 128  # pixels of a frame looked at, at most


class Paletted:
    """Frames `[H, W, 3]` uint8 to the one palette that suits all of a film."""

    dtype = np.uint8

    def __init__(self, source: FrameSource):
        self._palette = _palette(source)
        colours = np.zeros((COLOURS, 4), np.uint8)
        chosen = np.array(self._palette.getpalette(), np.uint8).reshape(-1, 3)[:COLOURS]
        colours[: len(chosen), 1:] = chosen
        colours[:, 0] = 255
        self._colours = colours

    def __call__(self, frame: np.ndarray) -> av.VideoFrame:
        import av
        from PIL import Image

        picture = Image.fromarray(frame)
        indices = np.asarray(picture.quantize(palette=self._palette, dither=Image.Dither.FLOYDSTEINBERG))
        return av.VideoFrame.from_ndarray((indices, self._colours), format="pal8")  # type: ignore[arg-type]


def _palette(source: FrameSource) -> Image:
    from PIL import Image

    step = max(1, -(-max(source.width, source.height) // SIDE))
    seen = []
    for index in np.unique(np.linspace(0, source.frame_count - 1, LOOKED_AT).astype(int)):
        [frame] = source.frames(int(index), int(index) + 1)
        seen.append(to_uint8(frame[::step, ::step]))
    return Image.fromarray(np.concatenate(seen)).quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
