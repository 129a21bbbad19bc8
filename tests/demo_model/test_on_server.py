"""The demo model on a real server that was told nothing of it: the pack's loader, stages, stitching and encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from longtake.demo_model import measure, world

from tests.host.demo import Stage, demo_models, film_graph, frames_of
from tests.host.place import Place
from tests.host.server import Server


def pixels_of(film: Path) -> torch.Tensor:
    """(1, 3, frames, h, w) in -1..1."""
    frames = np.stack([frame.to_ndarray(format="rgb24") for frame in frames_of(film)])
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


@pytest.fixture(scope="module")
def film(place: Place, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    folder = tmp_path_factory.mktemp("demo")
    stages = (Stage("a red circle moves right on black"), Stage("a red circle moves down on black"))
    with Server(place, folder / "server", demo_models(folder / "models"), shim=False) as server:
        result = server.run(film_graph(stages, frames=17))
        assert result.ok, result.why()
        path = next(path for path in server.files(result) if path.suffix == ".mp4")
        return pixels_of(path)


def test_two_stages_make_one_film(film: torch.Tensor) -> None:
    assert film.shape == (1, 3, 17 + 12, world.SIZE, world.SIZE)


def test_the_film_shows_what_its_prompts_say(film: torch.Tensor) -> None:
    seen = measure.look(film)
    assert world.COLOUR_NAMES[int(seen.colour)] == "red"
    assert world.GROUND_NAMES[int(seen.ground)] == "black"
    assert world.SHAPES[int(seen.shape)] == "circle"
    assert world.MOTION_NAMES[int(seen.motion(0, 16))] == "right"
    assert world.MOTION_NAMES[int(seen.motion(16))] == "down"
