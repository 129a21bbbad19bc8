"""Previews: frames made small, each pixel the mean of those it stands for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from longtake.pipelines.film.preview import Shrunk
from longtake.pipelines.media.frames import Images


@pytest.mark.parametrize(
    ("width", "height", "at_most", "small"),
    [(64, 48, 64, (64, 48)), (66, 50, 64, (32, 24)), (1280, 704, 480, (426, 234)), (832, 480, 480, (416, 240))],
)
def test_a_preview_is_even_and_no_wider_than_asked(
    width: int, height: int, at_most: int, small: tuple[int, int]
) -> None:
    shrunk = Shrunk(Images(torch.zeros(1, height, width, 3), Fraction(16)), at_most)
    assert (shrunk.width, shrunk.height) == small
    assert next(shrunk.frames()).shape == (small[1], small[0], 3)


def test_a_pixel_of_a_preview_is_the_mean_of_a_square() -> None:
    images = torch.rand(2, 8, 12, 3, generator=torch.Generator().manual_seed(1))
    shrunk = np.stack(list(Shrunk(Images(images, Fraction(16)), 6).frames()))
    mean = images.reshape(2, 4, 2, 6, 2, 3).mean((2, 4)).numpy() * 65535
    assert np.abs(shrunk - mean).max() <= 1.5  # rounded to 16 bits before, and down after
