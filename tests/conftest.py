"""Makes the repository importable as the package `longtake`, and keeps pytest out of the pack's own __init__.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from .run import ROOT, name_packages

name_packages()


class RootIsNoTestPackage:
    """The repository's __init__.py is for ComfyUI; pytest would import it as a package of tests."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    # A conftest's own hooks are not asked about folders above it; a plugin's are.
    config.pluginmanager.register(RootIsNoTestPackage())
