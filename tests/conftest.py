"""Makes the repository importable as the package `longtake`, and keeps pytest out of the pack's own __init__.py."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from .host.inprocess import enter_comfyui, use_folders, use_models
from .host.place import Place
from .mlx.environment import mlx_python as install_mlx
from .run import ROOT, name_packages
from .tiny.models import tiny_models as make_tiny_models

name_packages()

# The same examples in every run; a slow machine is no failure. `--hypothesis-profile default` looks for new ones.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")


SHARED_SERVERS = ("unloaded", "own_server")
# What takes longest, and waits most, begins first: no worker is to be left with it alone at the end.
LONGEST = ("tests/browser", "tests/farm", "tests/host/")


class RootIsNoTestPackage:
    """The repository's __init__.py is for ComfyUI; pytest would import it as a package of tests."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    # A conftest's own hooks are not asked about folders above it; a plugin's are.
    config.pluginmanager.register(RootIsNoTestPackage())


@pytest.hookimpl(tryfirst=True)  # before xdist writes the groups into the names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file go to one worker; so do those that share a server of a kind of their own, which each worker
    would have to start, and all that open a browser: two Chromiums starve two cores.

    On a machine that is busy a click may come before the page is ready for it: those are tried again, twice at most.
    """
    items.sort(key=lambda item: [*map(item.nodeid.startswith, LONGEST), True].index(True))
    for item in items:
        file = item.nodeid.partition("::")[0]
        in_browser = file.startswith("tests/browser/")
        shared = [name for name in SHARED_SERVERS if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group("browser" if in_browser else (shared or [file])[0]))
        if in_browser:
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def place() -> Place:
    """The host under test."""
    return Place.here()


@pytest.fixture(scope="session")
def tiny_models(place: Place) -> Path:
    """A folder like ComfyUI's `models`, with tiny models under the file names of the real ones."""
    return make_tiny_models(place)


@pytest.fixture(scope="session")
def comfyui(place: Place, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI in this process: `import comfy.sd` and the like work, the tiny models are found by name.

    Returns the folder that holds its input, output, temp and user folders.
    """
    folder = tmp_path_factory.mktemp("comfyui")
    enter_comfyui(place.comfyui)
    use_models(tiny_models)
    use_folders(folder)
    return folder


@pytest.fixture(scope="session")
def mlx_python(place: Place) -> Path:
    """A Python with MLX-Gen, apart from ComfyUI's."""
    return install_mlx(place)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small file system cannot be mounted here ({error})")
    yield place
    subprocess.run(["umount", str(place)], check=True)
