"""A film at another rate: as long as it was, its own frames to the bit, and between them what moves."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from longtake.pipelines.media.encode import encode
from longtake.pipelines.media.frame_model import ByModel
from longtake.pipelines.media.interpolate import Blended, Interpolated, Motion
from longtake.pipelines.media.light import blend
from longtake.pipelines.media.segments import Run, Segments
from longtake.pipelines.media.video_file import VideoFile
from longtake.pipelines.takes.derived import Derived
from longtake.pipelines.takes.store import Store

RATES = [Fraction(32), Fraction(24), Fraction(30000, 1001), Fraction(8), Fraction(50)]


class Disc:
    """A disc that moves 3 pixels a frame over a texture that stands still, from frame 0 of each shot on."""

    width, height = 96, 64

    def __init__(self, frames: int = 20, cuts: tuple[int, ...] = (), frame_rate: Fraction = Fraction(16)):
        self.frame_count, self.frame_rate, self.cuts = frames, frame_rate, cuts
        self.read: set[int] = set()

    def at(self, time: float) -> np.ndarray:
        """What is to be seen at a place in the film, which need not be that of a frame."""
        y, x = np.mgrid[: self.height, : self.width]
        begun = max((cut for cut in self.cuts if cut <= time), default=0)
        disc = np.clip(12 - np.hypot(x - 16 - 3 * (time - begun), y - 32), 0, 1)[..., None]
        ground = (np.sin(x / 5) * np.cos(y / 7) * 0.1 + (0.7 if begun else 0.3))[..., None]
        return ((ground * (1 - disc) + disc * np.array([0.9, 0.5, 0.2])) * 65535).astype(np.uint16)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for frame in range(self.frame_count)[start:stop]:
            self.read.add(frame)
            yield self.at(frame)


def read(film: Interpolated, start: int = 0, stop: int | None = None) -> list[np.ndarray]:
    return [frame.copy() for frame in film.frames(start, stop)]


def far(frame: np.ndarray, other: np.ndarray) -> float:
    """Root mean square of a difference, in code values."""
    return float(np.sqrt(((frame / 257.0 - other / 257.0) ** 2).mean()))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("between", [Blended(), Motion()], ids=["blended", "motion"])
def test_a_film_lasts_as_long_and_keeps_its_own_frames(between: Any, rate: Fraction) -> None:
    disc = Disc(cuts=(7,))
    film = Interpolated(disc, rate, between)
    shown = read(film)
    assert len(shown) == film.frame_count == round(20 * rate / 16)
    for number, frame in enumerate(shown):
        place = number * 16 / rate
        if place.denominator == 1:
            assert np.array_equal(frame, disc.at(int(place)))


@settings(max_examples=15, deadline=None)
@given(rate=st.sampled_from(RATES), start=st.integers(0, 40), length=st.integers(1, 9), motion=st.booleans())
def test_any_part_of_a_film_is_what_the_whole_shows_there(
    rate: Fraction, start: int, length: int, motion: bool
) -> None:
    film = Interpolated(Disc(30, cuts=(11,)), rate, Motion() if motion else Blended())
    film._blocks = lambda: iter([(0, 6), (6, 11), (11, 25), (25, 30)])  # type: ignore[method-assign]
    whole = read(film)
    start = min(start, len(whole) - 1)
    stop = min(start + length, len(whole))
    assert all(map(np.array_equal, read(film, start, stop), whole[start:stop]))


def test_a_frame_between_two_is_their_mix_in_light() -> None:
    shown = read(Interpolated(Disc(4), Fraction(64), Blended()))
    assert np.array_equal(shown[5], blend(Disc().at(1), Disc().at(2), 0.25))


@pytest.mark.parametrize("between", [Blended(), Motion()], ids=["blended", "motion"])
def test_nothing_is_mixed_over_a_cut_and_the_last_frame_stays(between: Any) -> None:
    disc = Disc(12, cuts=(6,))
    shown = read(Interpolated(disc, Fraction(32), between))
    assert np.array_equal(shown[11], disc.at(5))
    assert np.array_equal(shown[12], disc.at(6))
    assert np.array_equal(shown[23], disc.at(11))


@pytest.mark.parametrize(("rate", "share"), [(Fraction(32), 0.5), (Fraction(24), 0.9), (Fraction(25), 0.9)])
def test_what_moves_is_moved_on(rate: Fraction, share: float) -> None:
    """The filter halves the error of a mix in the middle of two frames, and is nearer than a mix elsewhere."""
    disc = Disc(24)
    moved, mixed = (read(Interpolated(disc, rate, between)) for between in (Motion(), Blended()))
    numbers = [number for number in range(4, len(moved) - 4) if (number * 16 / rate).denominator > 1]
    errors = [
        np.mean([far(film[number], disc.at(float(number * 16 / rate))) for number in numbers])
        for film in (moved, mixed)
    ]
    assert errors[0] < share * errors[1]


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_films_of_few_frames_have_them_longer(frames: int) -> None:
    for between in (Blended(), Motion()):
        shown = read(Interpolated(Disc(frames), Fraction(48), between))
        assert len(shown) == 3 * frames
        assert np.array_equal(shown[-1], Disc().at(frames - 1))


def test_a_changed_run_is_made_anew_with_those_beside_it_alone(tmp_path: Path) -> None:
    shelf = Derived(Store(tmp_path / "longtake"))

    def film(names: str) -> tuple[Interpolated, Disc]:
        disc = Disc(20 * len(names))
        runs = [Run(20 * place, 20 * place + 20, name, place == 0) for place, name in enumerate(names)]
        disc.segments = Segments(runs, shelf)  # type: ignore[attr-defined]
        return Interpolated(disc, Fraction(24), Motion()), disc

    def delivered(names: str) -> tuple[list[np.ndarray], set[int]]:
        source, disc = film(names)
        assert encode(source, tmp_path / "film.mp4") == 30 * len(names)
        return list(VideoFile(tmp_path / "film.mp4").frames()), disc.read

    first, _ = delivered("abcdefghijkl")
    again, made = delivered("abcdefghijkl")
    assert not made
    assert all(map(np.array_equal, again, first))
    changed, made = delivered("abcdefxhijkl")
    # Run g and those beside it; i and j, which look behind at them; and what is near enough to be seen in those.
    assert made == set(range(98, 202))
    alone = [frame for frame in read(film("abcdefghijkl")[0])]
    assert np.mean([far(one, other) for one, other in zip(changed, alone, strict=True)]) < 2


def rife() -> Any:
    from comfy_extras.frame_interpolation_models.ifnet import IFNet

    return IFNet(head_ch=4, channels=(8, 8, 8, 8, 8))


def film_net() -> Any:
    from comfy_extras.frame_interpolation_models.film_net import FILMNet

    return FILMNet(pyramid_levels=5, fusion_pyramid_levels=4, filters=4, flow_filters=(4, 4, 4, 4))


@pytest.mark.parametrize("model", [rife, film_net])
def test_a_model_makes_what_it_makes_of_the_whole_film(comfyui: Path, model: Any) -> None:
    from comfy.model_management import get_torch_device, unet_offload_device
    from comfy.model_patcher import CoreModelPatcher
    from comfy_extras.nodes_frame_interpolation import FrameInterpolate

    net = model().eval()
    torch.manual_seed(1)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    patcher = CoreModelPatcher(net, load_device=get_torch_device(), offload_device=unet_offload_device())
    images = torch.stack([torch.from_numpy(frame.astype(np.float32) / 65535) for frame in Disc(4).frames()])
    with torch.inference_mode():
        [whole] = FrameInterpolate.execute(patcher, images, 3).args
    shown = read(Interpolated(Disc(4), Fraction(48), ByModel(patcher)))
    assert len(shown) == 12
    assert whole.std() > 0.05
    for frame, exact in zip(shown, whole, strict=False):
        assert np.abs(frame / 65535 - exact.float().numpy()).max() < 2e-5
