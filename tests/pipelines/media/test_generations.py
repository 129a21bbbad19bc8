"""What is saved and read again and again keeps its colours."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from longtake.pipelines.media.codecs import H264, Form
from longtake.pipelines.media.encode import encode
from longtake.pipelines.media.frames import to_uint8
from longtake.pipelines.media.pixels import to_pixels
from longtake.pipelines.media.video_file import VideoFile

WIDTH, HEIGHT, FRAMES = 128, 96, 3
BEST = {"quality": 1, "preset": "ultrafast"}  # of what an encoder takes away there is next to nothing


class Shown:
    """Frames that are there, `[T, H, W, 3]` uint16."""

    frame_rate = Fraction(16)

    def __init__(self, frames: np.ndarray):
        self.all = frames
        self.frame_count, self.height, self.width = frames.shape[:3]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        yield from self.all[start:stop]


def film(picture: np.ndarray, step: int) -> np.ndarray:
    """A picture 0..1 that moves by some pixels a frame."""
    return (np.stack([np.roll(picture, step * number, 1) for number in range(FRAMES)]) * 65535).astype(np.uint16)


def grey() -> np.ndarray:
    return film(np.repeat(np.mgrid[:HEIGHT, :WIDTH][1][..., None] / WIDTH * 0.9 + 0.05, 3, 2), 0)


def colours() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return film(np.stack([x / WIDTH, y / HEIGHT, 1 - (x + y) / (WIDTH + HEIGHT)], -1) * 0.9 + 0.05, 0)


def texture() -> np.ndarray:
    """Squares of 8 pixels, each channel all or nothing."""
    squares = np.random.default_rng(0).integers(0, 2, (HEIGHT // 8, WIDTH // 8, 3))
    return film(squares.repeat(8, 0).repeat(8, 1).astype(float), 2)


@pytest.mark.parametrize(
    ("picture", "form", "most"),
    [
        (grey, Form(), 0.1),
        (grey, Form(H264, bits=10, **BEST), 0.1),
        (colours, Form(**BEST), 0.1),
        (colours, Form(H264, bits=10, **BEST), 0.1),
        (texture, Form(**BEST), 0.5),
        (texture, Form(H264, bits=10, **BEST), 0.5),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_ten_generations_keep_the_mean(tmp_path: Path, picture, form: Form, most: float) -> None:
    first = shown = picture()
    for _ in range(10):
        encode(Shown(shown), tmp_path / "film.mp4", form, lasting=False)
        shown = np.stack([frame.copy() for frame in VideoFile(tmp_path / "film.mp4").frames()])
    off = (shown / 257.0 - first / 257.0).mean((0, 1, 2))
    assert abs(off.mean()) < most
    assert np.abs(off).max() < 2 * most, "of any one channel"


@pytest.mark.parametrize("format", ["yuv420p", "yuv420p10le", "nv12", "yuv422p10le"])
def test_chroma_lies_where_players_take_it_to_lie(format: str) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.stack([x / WIDTH, y / HEIGHT, 1 - x / WIDTH], -1) * 0.9 + 0.05
    frame = (picture * 65535).astype(np.uint16)
    convert = to_pixels(format)
    plane = convert(frame if convert.dtype is np.uint16 else to_uint8(frame)).planes[1]

    deep, paired = "10" in format, format == "nv12"
    values = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
    blue = values[:, :WIDTH:2] if paired else values[:, : WIDTH // 2]
    exact = 128 + 224 * (picture[..., 2] - picture @ [0.2126, 0.7152, 0.0722]) / 1.8556
    exact = exact[:, ::2]  # on the left one of two pixels, and between two rows
    if "420" in format or paired:
        exact = (exact[::2] + exact[1::2]) / 2
    # Between two pixels it would be 0.45 away.
    assert abs((blue / (4 if deep else 1) - exact)[:, 4:-4].mean()) < 0.06
