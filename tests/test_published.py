"""What a registry's archive holds: what git tracks, less what .comfyignore names, as comfy-cli packs it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from tests.host.server import PACK_PARTS
from tests.run import ROOT

MOST = 3_000_000  # bytes


@pytest.fixture(scope="module")
def published() -> list[str]:
    """Paths in the archive."""

    def listed(*options: str) -> set[str]:
        command = ["git", "-C", str(ROOT), "ls-files", *options]
        try:
            return set(subprocess.check_output(command, text=True, encoding="utf-8").splitlines())
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this is no git checkout")

    return sorted(listed() - listed("--cached", "--ignored", "--exclude-from=.comfyignore"))


def test_the_archive_is_the_pack_and_no_workshop(published: list[str]) -> None:
    folders = {path.split("/")[0] for path in published}
    assert {part for part in PACK_PARTS if (ROOT / part).exists()} <= folders
    assert not folders & {"tests", "benchmarks", "demo_model", "build", "dev.py", ".github", ".ci"}
    for names in (("web", "docs"), ("web",), ("workflows",), ("locales",)):
        folder = ROOT.joinpath(*names)
        kept = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert kept <= set(published), f"git or .comfyignore leaves out of {folder}: {sorted(kept - set(published))}"
    assert sum((ROOT / path).stat().st_size for path in published) < MOST


def test_the_archive_imports_and_has_every_node(published: list[str], comfyui: Path, tmp_path: Path) -> None:
    for path in published:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    name = "published_longtake"
    spec = spec_from_file_location(name, tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)])
    assert spec is not None and spec.loader is not None
    pack = module_from_spec(spec)
    sys.modules[name] = pack
    try:
        spec.loader.exec_module(pack)
        nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    finally:
        for module in [known for known in sys.modules if known.split(".")[0] == name]:
            del sys.modules[module]
    pages = {page.stem for page in (tmp_path / pack.WEB_DIRECTORY / "docs").glob("*.md")}
    assert {node.GET_SCHEMA().node_id for node in nodes} == pages
