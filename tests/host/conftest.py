"""A running ComfyUI for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.place import Place
from tests.host.server import Server
from tests.host.workflows import put_inputs
from tests.mlx.environment import python_of
from tests.tiny.photos import put_photos


@pytest.fixture(scope="session")
def server(place: Place, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole run, its input folder filled; a test that kills it must restart it.

    It is told where the MLX Python is that a test may ask for.
    """
    variables = {"LONGTAKE_MLX_PYTHON": str(python_of(place))}
    with Server(place, tmp_path_factory.mktemp("server"), tiny_models, variables=variables) as running:
        put_inputs(running.input)
        yield running


@pytest.fixture
def own_server(place: Place, tiny_models: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, with empty folders but for its input."""
    with Server(place, tmp_path, tiny_models) as running:
        put_inputs(running.input)
        yield running


@pytest.fixture(scope="session")
def photos(server: Server) -> dict[str, str]:
    """Name of each photograph -> its file name in the server's input folder, as Load Image takes it."""
    return {name: file.name for name, file in put_photos(server.input).items()}
