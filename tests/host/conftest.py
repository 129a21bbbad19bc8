"""A running ComfyUI for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.host.place import Place
from tests.host.server import Server, link
from tests.host.workflows import put_inputs
from tests.mlx.environment import python_of
from tests.tiny.photos import put_photos

LOADING = "Requested to load"  # what ComfyUI logs before it brings weights to their device


@pytest.fixture(scope="session")
def server(place: Place, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole run, its input folder filled; a test that kills it must restart it.

    It is told where the MLX Python is that a test may ask for.
    """
    variables = {"LONGTAKE_MLX_PYTHON": str(python_of(place))}
    with Server(place, tmp_path_factory.mktemp("server"), tiny_models, variables=variables) as running:
        put_inputs(running.input)
        yield running


@pytest.fixture(scope="session")
def own_server(place: Place, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests may kill and restart."""
    with Server(place, tmp_path_factory.mktemp("own"), tiny_models) as running:
        put_inputs(running.input)
        yield running


@pytest.fixture(scope="session")
def unloaded(place: Place, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has loaded no weight, and must not have when its tests are done. Two of its LoRAs fit nothing."""
    models = tmp_path_factory.mktemp("models")
    (models / "loras").mkdir()
    for path in (*tiny_models.iterdir(), *(tiny_models / "loras").iterdir()):
        if path.name != "loras":
            link(path, models / path.relative_to(tiny_models))
    pair = {"a.lora_A.weight": torch.zeros(2, 24), "a.lora_B.weight": torch.zeros(24, 2)}
    save_file(pair, models / "loras" / "other.safetensors")
    torch.save(pair, models / "loras" / "pickle.pt")
    with Server(place, tmp_path_factory.mktemp("unloaded"), models) as running:
        put_photos(running.input)
        yield running
        assert LOADING not in running.log.read_text()


@pytest.fixture(scope="session")
def photos(server: Server) -> dict[str, str]:
    """Name of each photograph -> its file name in the server's input folder, as Load Image takes it."""
    return {name: file.name for name, file in put_photos(server.input).items()}
