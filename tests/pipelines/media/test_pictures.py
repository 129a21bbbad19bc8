"""Images brought to a stage's size, and sizes found for images."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from longtake.pipelines.errors import Refusal  # noqa: E402
from longtake.pipelines.families.wan22 import WAN22  # noqa: E402
from longtake.pipelines.media.pictures import best_size, fit, fit_film  # noqa: E402
from longtake.pipelines.model.variant import check_size  # noqa: E402


def ramp(width: int, height: int) -> torch.Tensor:
    """An image `[1, H, W, 3]` that brightens from left to right in red and from top to bottom in green."""
    x = torch.linspace(0, 1, width).expand(height, width)
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    return torch.stack([x, y, torch.zeros_like(x)], dim=-1)[None]


def test_an_image_of_the_right_size_is_left_alone(comfyui: object) -> None:
    image = ramp(96, 64)
    assert fit(image, 96, 64) is not None
    assert torch.equal(fit(image, 96, 64), image)


def test_an_alpha_channel_is_dropped(comfyui: object) -> None:
    image = torch.rand(1, 64, 96, 4)
    assert torch.equal(fit(image, 96, 64), image[..., :3])


def test_a_wide_image_loses_both_sides_evenly_and_nothing_else(comfyui: object) -> None:
    fitted = fit(ramp(400, 100), 200, 100)
    assert fitted.shape == (1, 100, 200, 3)
    # Half the width remains, from a quarter to three quarters; 8-bit steps and one pixel are the tolerance.
    assert fitted[0, 50, 0, 0].item() == pytest.approx(0.25, abs=2 / 255)
    assert fitted[0, 50, -1, 0].item() == pytest.approx(0.75, abs=2 / 255)
    assert fitted[0, 0, 100, 1].item() == pytest.approx(0.0, abs=2 / 255)
    assert fitted[0, -1, 100, 1].item() == pytest.approx(1.0, abs=2 / 255)


def test_two_images_of_one_shape_cannot_ghost(comfyui: object) -> None:
    large, small = fit(ramp(1200, 900), 96, 64), fit(ramp(600, 450), 96, 64)
    assert (large - small).abs().max().item() < 3 / 255


@pytest.mark.parametrize("size", [(192, 128), (64, 64), (48, 96), (333, 97)])
def test_frames_of_a_film_are_scaled_by_the_rule_for_images_without_its_eight_bits(
    comfyui: object, size: tuple[int, int]
) -> None:
    # No black and white, which eight bits clip between the two directions too.
    frames = 0.3 + 0.4 * torch.rand(2, 80, 144, 3, generator=torch.Generator().manual_seed(1))
    coarse = torch.cat([fit(frame[None], *size) for frame in frames])
    fine = fit_film(frames, *size)
    assert fine.shape == (2, size[1], size[0], 3)
    # Rounded down on the way in, an image is half a step darker.
    assert (coarse - fine).abs().max() < 2.5 / 255
    assert (coarse - fine).mean() == pytest.approx(-0.5 / 255, abs=0.1 / 255)
    assert fine.min() >= 0 and fine.max() <= 1
    assert torch.equal(fit_film(frames, 144, 80), frames)


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([16, 32]), st.sampled_from([832 * 480, 1280 * 720]))
def test_the_best_size_is_on_the_grid_and_near_the_area(width: int, height: int, step: int, area: int) -> None:
    found = best_size(width, height, area, step)
    assert found[0] % step == 0 and found[1] % step == 0
    if 0.25 <= width / height <= 4:
        # The height is within a step of the ideal one, the width within half a step of the shape's.
        ideal = math.sqrt(area * height / width)
        slack = (1 + step / ideal) ** 2 * (1 + step / found[0])
        assert 1 / slack < found[0] * found[1] / area < slack
        assert abs(found[0] / found[1] - width / height) <= step / 2 / found[1]


@pytest.mark.parametrize(
    ("image", "area", "step", "expected"),
    [
        ((1920, 1080), 832 * 480, 16, (848, 480)),
        ((1080, 1920), 832 * 480, 16, (480, 848)),
        ((512, 512), 832 * 480, 16, (624, 624)),
        ((1280, 704), 1280 * 704, 32, (1280, 704)),
    ],
)
def test_best_sizes_of_common_shapes(image: tuple[int, int], area: int, step: int, expected: tuple[int, int]) -> None:
    assert best_size(*image, area, step) == expected


@pytest.mark.parametrize(("value", "near"), [(100, "96 or 112"), (7, "16"), (0, "16"), (833, "832 or 848")])
def test_a_size_off_the_grid_names_its_neighbours(value: int, near: str) -> None:
    i2v = next(v for v in WAN22.variants if v.name == "i2v-14b")
    with pytest.raises(Refusal, match=f"^width: {value} is not a multiple of 16.*nearest are {near}"):
        check_size(value, 480, i2v)
