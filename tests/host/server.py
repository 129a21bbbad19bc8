"""A real ComfyUI server with this pack, in a folder of its own, and what a test asks of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .place import ROOT, Place
from .prompt import Prompt, Result, follow

PACK_FOLDER = "comfyui-longtake"
# What a server loads and serves of the pack; a link to the whole repository would lead into its own folder below it.
PACK_PARTS = ("__init__.py", "pyproject.toml", "nodes", "host", "pipelines", "web", "locales", "workflows", "subgraphs")
TEST_PACKS = {
    "longtake-tiny-shim": ROOT / "tests" / "tiny" / "shim",
    "longtake-test-nodes": ROOT / "tests" / "host" / "pack",
}
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerDied(RuntimeError):
    """The ComfyUI process ended, or never came up; carries the end of its log."""


class Server:
    """ComfyUI on a free port, on the CPU, with the tiny models; a context manager that starts and stops it.

    Args:
        place: the host to run.
        folder: where it keeps custom nodes, input, output, temp and user files; made when missing.
        models: a folder laid out like ComfyUI's `models`.
        options: further arguments for ComfyUI's main.py.
        linked: install the pack as links to this repository; without, whatever lies in `custom_nodes` is the pack.
        shim: let ComfyUI's own loaders take the tiny models with random weights.
        variables: more of its environment.
    """

    def __init__(
        self,
        place: Place,
        folder: Path,
        models: Path,
        options: Sequence[str] = (),
        *,
        linked: bool = True,
        shim: bool = True,
        variables: Mapping[str, str] | None = None,
    ):
        self.place, self.folder, self.models, self.options = place, folder.resolve(), models, tuple(options)
        self.linked, self.shim = linked, shim
        self.variables = dict(variables or {})
        self.input, self.output = self.folder / "input", self.folder / "output"
        self.temp, self.user = self.folder / "temp", self.folder / "user"
        self.log = self.folder / "server.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lay_out(self) -> None:
        """Make its folders, with the packs that it loads and its models."""
        for folder in (self.input, self.output, self.temp, self.user):
            folder.mkdir(parents=True, exist_ok=True)
        pack = self.folder / "custom_nodes" / PACK_FOLDER
        if pack.is_symlink():
            pack.unlink()
        for part in PACK_PARTS if self.linked else ():
            if (ROOT / part).exists():
                link(ROOT / part, pack / part)
        link(self.models, self.folder / "models")
        for name, folder in TEST_PACKS.items():
            if self.shim or name != "longtake-tiny-shim":
                link(folder, self.folder / "custom_nodes" / name)

    def start(self, timeout: float = 120) -> None:
        """Start the server and wait until it answers.

        Raises:
            ServerDied: the process ended, did not answer in time, or a node pack failed to import.
        """
        self.lay_out()
        self.port = free_port()
        command = [
            *(str(self.place.python), str(self.place.comfyui / "main.py"), "--cpu", "--port", str(self.port)),
            *("--base-directory", str(self.folder)),
            *("--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"),
            *self.options,
        ]
        with self.log.open("wb") as log:
            environment = {**self.place.environment(), **self.variables}
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_ready(time.monotonic() + timeout)

    def _wait_until_ready(self, deadline: float) -> None:
        while True:
            if not self.alive():
                raise ServerDied(f"ComfyUI ended while starting:\n{self.log_tail()}")
            try:
                self.get("/system_stats")
                break
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    self.kill()
                    raise ServerDied(f"ComfyUI did not answer in time:\n{self.log_tail()}") from None
                time.sleep(0.1)
        log = self.log.read_text(encoding="utf-8", errors="replace")
        # Nodes of ComfyUI's own may fail where its environment is another version's.
        if any("IMPORT FAILED" in line and "longtake" in line for line in log.splitlines()):
            self.kill()
            raise ServerDied(f"a node pack failed to import:\n{log}")

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """End the server politely; kill it where it does not follow."""
        if self.process is not None and self.alive():
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the server as a power cut would: at once, nothing flushed."""
        if self.process is not None and self.alive():
            self.process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            self.process.wait(10)

    def restart(self) -> None:
        """Start again on the same folder, so that what was stored there is found."""
        self.stop()
        self.start()

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def get(self, path: str) -> Any:
        """GET `path` and return its JSON."""
        with NO_PROXY.open(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST `body` to `path` and return the JSON of the answer; None where it says nothing."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with NO_PROXY.open(request, timeout=30) as answer:
            said = answer.read()
        return json.loads(said) if said else None

    def run(
        self,
        prompt: Prompt,
        timeout: float = 120,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
        extra_data: Mapping[str, Any] | None = None,
        targets: Sequence[str] | None = None,
    ) -> Result:
        """Queue an API prompt and follow it to its end.

        Args:
            timeout: seconds; past them the prompt is interrupted.
            on_event: called with each event as it arrives; it may call `interrupt` or `kill`.
            extra_data: goes along with the prompt, as `extra_pnginfo` does.
            targets: output nodes to run, as "run this branch" asks for; None runs all.

        Raises:
            TimeoutError: it was still running after `timeout`.
            ServerDied: the server ended while it ran.
        """
        try:
            return follow(self.url, prompt, timeout, on_event, extra_data, targets)
        except TimeoutError:
            self.interrupt()
            raise TimeoutError(f"the prompt still ran after {timeout} s:\n{self.log_tail()}") from None
        except OSError as error:
            raise ServerDied(f"the connection broke ({error}):\n{self.log_tail()}") from error

    def files(self, result: Result) -> list[Path]:
        """Every file that the outputs of `result` name, in node order; previews in the temp folder are none."""
        folders = {"output": self.output, "input": self.input}
        entries = [
            e for shown in result.outputs.values() for group in shown.values() if isinstance(group, list) for e in group
        ]
        return [
            folders[e["type"]] / e["subfolder"] / e["filename"]
            for e in entries
            if isinstance(e, dict) and "filename" in e and e["type"] != "temp"
        ]

    def interrupt(self) -> None:
        self.post("/interrupt", {})

    def free(self) -> None:
        """Drop loaded models and cached node results, so that the next prompt runs from the start.

        ComfyUI does so between two prompts, and takes one that has come meanwhile first: so a small one goes before it.
        """
        self.post("/free", {"unload_models": True, "free_memory": True})
        freed = self.run({"freed": {"class_type": "PreviewAny", "inputs": {"source": "freed"}}})
        assert freed.ok, freed.why()

    def object_info(self) -> dict[str, Any]:
        return self.get("/object_info")

    def memory(self) -> int:
        """Resident memory of the server process, in bytes."""
        import psutil

        assert self.process is not None
        return psutil.Process(self.process.pid).memory_info().rss


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def link(target: Path, place: Path) -> None:
    """Make `place` lead to `target`; where the system allows no links, copy it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    try:
        os.symlink(target, place, target_is_directory=target.is_dir())
    except OSError:
        if target.is_dir():
            shutil.copytree(target, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(target, place)
