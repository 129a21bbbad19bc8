"""Colour, contrast and sharpness over the stages of films of one length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .deliveries import MATCHED, RENDERED
from .results import Films

INK = ("#222222", "#7f7f7f", "#d62728", "#1f77b4", "#9467bd", "#ff7f0e", "#2ca02c", "#17becf", "#e0a0a0")
PANELS = (("contrast", "contrast, % of stage 1"), ("sharpness", "sharpness, % of stage 1"), ("colour", "colour, % off"))
WIDTH, HEIGHT, MARGIN, LINE = 360, 230, 34, 14  # pixels, of a panel and of the legend


def plot(films: Films, handings: Sequence[str], path: Path) -> None:
    """Means over chains, as rendered above and with colours matched below; a line ends where too few chains are left.

    Args:
        handings: by name, a line in each panel.
    """
    picture = Image.new("RGB", (3 * WIDTH, 2 * HEIGHT + 26 + LINE * len(handings)), "white")
    pen = ImageDraw.Draw(picture)
    inks = dict(zip(handings, INK, strict=False))
    for column, (name, title) in enumerate(PANELS):
        rows = [
            {handing: films.curve((handing, delivery), name) for handing in handings}
            for delivery in (RENDERED, MATCHED)
        ]
        curves = [curve for row in rows for curve in row.values()]
        low, high = min(map(np.nanmin, curves)), max(map(np.nanmax, curves))
        for index, (delivery, row) in enumerate(zip((RENDERED, MATCHED), rows, strict=True)):
            corner = column * WIDTH + MARGIN, index * HEIGHT + MARGIN
            _panel(pen, corner, f"{title}, {delivery}", (low, high), films.stages)
            for handing, curve in row.items():
                pen.line(_points(curve, corner, (low, high)), inks[handing], 2)
    for index, (handing, ink) in enumerate(inks.items()):
        y = 2 * HEIGHT + 8 + LINE * index
        pen.line((MARGIN, y + 6, MARGIN + 30, y + 6), ink, 3)
        pen.text((MARGIN + 40, y), handing, "black")
    picture.save(path, optimize=True)


def _panel(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], title: str, bounds: tuple[float, float], stages: int
) -> None:
    left, top = corner
    bottom = top + HEIGHT - 2 * MARGIN
    pen.rectangle((left, top, left + WIDTH - 2 * MARGIN, bottom), outline="#bbbbbb")
    pen.text((left, top - 16), title, "black")
    pen.text((left - MARGIN + 2, top), f"{bounds[1]:.0f}", "black")
    pen.text((left - MARGIN + 2, bottom - 10), f"{bounds[0]:.0f}", "black")
    pen.text((left, bottom + 4), f"stage 1 to {stages}", "black")


def _points(curve: np.ndarray, corner: tuple[int, int], bounds: tuple[float, float]) -> list[tuple[float, float]]:
    left, top = corner
    across = np.linspace(left, left + WIDTH - 2 * MARGIN, len(curve))
    down = top + (HEIGHT - 2 * MARGIN) * (1 - (curve - bounds[0]) / max(bounds[1] - bounds[0], 1e-6))
    return [(x, y) for x, y in zip(across.tolist(), down.tolist(), strict=True) if y == y]
