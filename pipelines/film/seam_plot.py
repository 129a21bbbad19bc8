"""A picture of a film's seams: mean colour over the frames around each, as shown and as rendered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .seams import AROUND, Seam

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH, HEIGHT, COLUMNS, MARGIN = 380, 200, 3, 26
INK, PAPER, RULE = (40, 40, 40), (255, 255, 255), (190, 190, 190)
LINES = ((208, 48, 48), (40, 140, 60), (50, 90, 210))
LEAST = 0.02  # of the range from black to white that a panel shows at least, so that noise does not look like drift


def plot(seams: Sequence[Seam]) -> np.ndarray:
    """One panel a seam: red, green and blue, bold as shown and thin as rendered. `[H, W, 3]` uint8."""
    from PIL import Image, ImageDraw

    rows = max(1, -(-len(seams) // COLUMNS))
    sheet = Image.new("RGB", (WIDTH * min(COLUMNS, max(1, len(seams))), HEIGHT * rows), PAPER)
    draw = ImageDraw.Draw(sheet)
    if not seams:
        draw.text((MARGIN, HEIGHT // 2), "one stage, no seam", fill=INK)
    for index, seam in enumerate(seams):
        _panel(draw, WIDTH * (index % COLUMNS), HEIGHT * (index // COLUMNS), seam)
    return np.asarray(sheet)


def _panel(draw: ImageDraw.ImageDraw, left: int, top: int, seam: Seam) -> None:
    low, high = (float(edge) for edge in (min(seam.raw.min(), seam.shown.min()), max(seam.raw.max(), seam.shown.max())))
    middle, span = (low + high) / 2, max(high - low, LEAST)
    inner = (WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN)

    def at(frame: float, value: float) -> tuple[float, float]:
        across = (frame - seam.frame + AROUND) / (2 * AROUND)
        return left + MARGIN + across * inner[0], top + MARGIN + (0.5 - (value - middle) / span) * inner[1]

    draw.rectangle((left + MARGIN, top + MARGIN, left + WIDTH - MARGIN, top + HEIGHT - MARGIN), outline=RULE)
    x = at(seam.frame - 0.5, middle)[0]
    draw.line((x, top + MARGIN, x, top + HEIGHT - MARGIN), fill=INK)
    for colours, width in ((seam.raw, 1), (seam.shown, 3)):
        for channel, ink in enumerate(LINES):
            points = [at(seam.first + i, value) for i, value in enumerate(colours[:, channel])]
            draw.line(points, fill=ink, width=width)
    draw.text((left + MARGIN, top + 6), _title(seam), fill=INK)
    below = f"{100 * (middle - span / 2):.0f} to {100 * (middle + span / 2):.0f} %, bold: shown, thin: as rendered"
    draw.text((left + MARGIN, top + HEIGHT - MARGIN + 6), below, fill=INK)


def _title(seam: Seam) -> str:
    said = f"stage {seam.stage - 1} to {seam.stage}, frame {seam.frame}, {seam.transition.value}"
    return said if seam.jump is None else f"{said}, change {seam.jump:.1f}x ({seam.raw_jump:.1f}x)"
