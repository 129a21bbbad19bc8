"""What a registry's archive holds: what git tracks, less what .comfyignore names, as comfy-cli packs it."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
import tomllib

from tests.host import graphs
from tests.host.film import look_into
from tests.host.place import Place
from tests.host.server import PACK_PARTS, Server
from tests.run import ROOT

MOST, MOST_ZIPPED = 3_000_000, 2_000_000  # bytes


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


def test_whoever_installs_from_requirements_gets_the_dependencies_of_the_project() -> None:
    """ComfyUI-Manager and a clone read requirements.txt, pip and the registry pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() == project["dependencies"]


def test_the_archive_unpacked_in_a_bare_comfyui_has_every_node_and_renders(
    published: list[str], place: Place, tiny_models: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "node.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in published:
            packed.write(ROOT / path, path)
    assert archive.stat().st_size < MOST_ZIPPED
    pack = tmp_path / "server" / "custom_nodes" / "longtake"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(pack)
    graph = {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(),
        "stage": graphs.stage(frames=5),
        **graphs.delivered("stage"),
    }

    with Server(place, tmp_path / "server", tiny_models, linked=False) as server:
        nodes = {
            name for name, node in server.object_info().items() if node["python_module"] == "custom_nodes.longtake"
        }
        result = server.run(graph)

    assert nodes == {page.stem for page in (pack / "web" / "docs").glob("*.md")}
    assert result.ok, result.why()
    assert look_into(server.files(result)[0]).frames == 5
