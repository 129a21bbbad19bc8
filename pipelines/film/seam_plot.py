"""A picture of a film and its seams: how much changes from frame to frame, and the mean colour, over the whole film."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .seams import Report, Seam, Verdict

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

# A node shows it at half this width and less.
WIDTH, HEIGHT = 800, 760
LEFT, RIGHT, TYPE = 86, 16, 24
CHARTS = (110, 400)  # upper edges
TALL = 230  # of a chart
LEGEND = 700
PAPER, INK, RULE = (28, 28, 32), (236, 236, 236), (84, 84, 92)  # legible on a dark and on a light canvas
RGB = ((255, 105, 97), (119, 221, 119), (120, 170, 255))
VERDICTS = {
    Verdict.GOOD: (80, 200, 120),
    Verdict.VISIBLE: (255, 190, 60),
    Verdict.BROKEN: (255, 80, 80),
    None: (150, 150, 160),
}
LEAST = 20  # codes of 255 that the chart of colours spans at least, so that noise does not look like drift


def plot(report: Report) -> np.ndarray:
    """Two charts over the seconds of the film, its seams as lines of their verdicts' colours: `[H, W, 3]` uint8."""
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TYPE)
    seconds = len(report.looks.change) / float(report.fps)
    change, colour = report.looks.change * 255, report.looks.colour * 255
    top = max(float(change.max()), 1.0)
    middle, half = (colour.max() + colour.min()) / 2, max(colour.max() - colour.min(), LEAST) / 2
    charts = (
        Chart(draw, font, CHARTS[0], "change from frame to frame, of 255", 0.0, top, seconds),
        Chart(draw, font, CHARTS[1], "mean red, green, blue, of 255", middle - half, middle + half, seconds),
    )
    for chart in charts:
        for seam in sorted(report.seams, key=lambda seam: seam.verdict or 0):
            chart.mark(seam.frame / float(report.fps), VERDICTS[seam.verdict])
    charts[0].curve(change, INK, np.max)
    for channel, ink in enumerate(RGB):
        charts[1].curve(colour[:, channel], ink, np.mean)
    _numbers(charts[0], report)
    _legend(draw, font)
    return np.asarray(sheet)


@dataclass(frozen=True)
class Chart:
    """A chart over the seconds of a film, drawn when it is made.

    Attributes:
        top: its upper edge, below a line of title.
        low, high: values at its lower and upper edge.
    """

    draw: ImageDraw.ImageDraw
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont
    top: int
    title: str
    low: float
    high: float
    seconds: float

    def __post_init__(self) -> None:
        self.text((LEFT, self.top - 6), self.title, "ls")
        self.draw.rectangle((LEFT, self.top, WIDTH - RIGHT, self.top + TALL), outline=RULE)
        digits = 0 if self.high - self.low >= 10 else 1
        for value, anchor in ((self.low, "rs"), (self.high, "rt")):
            self.text((LEFT - 8, self.y(value)), f"{value:.{digits}f}", anchor)
        for second in _ticks(self.seconds):
            x = self.x(second)
            self.draw.line((x, self.top + TALL, x, self.top + TALL + 6), fill=INK)
            self.text((x, self.top + TALL + 10), f"{second:g} s", "mt")

    def x(self, second: float) -> float:
        return LEFT + second / self.seconds * (WIDTH - RIGHT - LEFT)

    def y(self, value: float) -> float:
        return self.top + TALL * (1 - (value - self.low) / (self.high - self.low))

    def text(self, at: tuple[float, float], words: str, anchor: str, ink: tuple[int, ...] = INK) -> None:
        self.draw.text(at, words, ink, self.font, anchor)

    def mark(self, second: float, ink: tuple[int, int, int]) -> None:
        self.draw.line((self.x(second), self.top, self.x(second), self.top + TALL), ink, 3)

    def curve(self, values: np.ndarray, ink: tuple[int, ...], of_many: Callable[[np.ndarray], float]) -> None:
        """A line through the values of all frames; `of_many` says what stands for those of one column of pixels."""
        width = WIDTH - RIGHT - LEFT
        parts = np.array_split(values, min(len(values), width))
        points = [
            (LEFT + (index + 0.5) / len(parts) * width, self.y(float(of_many(part))))
            for index, part in enumerate(parts)
        ]
        self.draw.line(points, ink, 2)


def _ticks(seconds: float) -> Iterator[float]:
    """At most seven round times from 0 on."""
    step = next(step for step in (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600) if seconds / step < 7)
    yield from np.arange(0, seconds - step / 4, step)


def _numbers(chart: Chart, report: Report) -> None:
    """Above the upper chart the number of each seam, as far as there is room; those that are not good go first."""
    taken: list[float] = []
    for seam in sorted(report.seams, key=_urgency):
        x = chart.x(seam.frame / float(report.fps))
        if all(abs(x - other) > 1.5 * TYPE for other in taken):
            taken.append(x)
            chart.text((x, chart.top - 36), f"{seam.number}", "ms", VERDICTS[seam.verdict])
    if taken:
        chart.text((LEFT - 8, chart.top - 36), "seam", "rs")


def _urgency(seam: Seam) -> tuple[int, int]:
    return -(seam.verdict or 0), seam.number


def _legend(draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> None:
    x = float(LEFT)
    for verdict, ink in VERDICTS.items():
        words = "cut or fade" if verdict is None else f"{verdict}"
        draw.line((x, LEGEND, x, LEGEND + TYPE), ink, 5)
        draw.text((x + 12, LEGEND + TYPE / 2), words, INK, font, "lm")
        x += 12 + draw.textlength(words, font) + 40
