"""Previews: frames made small, each pixel the mean of those it stands for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.film.preview import Shrunk, write_preview
from longtake.pipelines.media.footage import Footage
from longtake.pipelines.media.frames import Images
from longtake.pipelines.timeline.clips import Clip, Join, Transition


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
    mean = images.reshape(2, 4, 2, 6, 2, 3).mean((2, 4)).numpy() * 255
    assert np.abs(shrunk / 257 - mean).max() <= 1  # rounded before and after


def test_a_clip_is_shown_as_long_as_it_was_asked_for_and_without_its_overlap(tmp_path: Path) -> None:
    bright = torch.linspace(0, 1, 13)[:, None, None, None].expand(13, 32, 64, 3)  # each frame tells its number
    first = Link(Clip(9, Join(), 9), None, None, Footage(Images(torch.zeros(9, 32, 64, 3), Fraction(16)), None))
    smooth = Join(Transition.SMOOTH, overlap=5)
    second = Link(Clip(13, smooth, 9 + 6), None, None, Footage(Images(bright, Fraction(16)), None))

    write_preview(
        Chain("wan22", 64, 32, Fraction(16), (first, second)), lambda link: link.footage.frames(), tmp_path / "clip.mp4"
    )

    with av.open(str(tmp_path / "clip.mp4")) as film:
        means = [frame.to_ndarray(format="rgb24").mean() / 255 for frame in film.decode(video=0)]
    assert means == pytest.approx([number / 12 for number in range(5, 11)], abs=0.02)
