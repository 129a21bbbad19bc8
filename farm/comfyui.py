"""A ComfyUI process of a farm's own: its port, its temp and user folder, and its end with whoever started it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .server import TOKEN_IN, Gone, Server, Unfit

START = 900.0  # seconds; a cold disk and many node packs
STOP = 20.0

# Runs ComfyUI as its own main.py would be, and ends it when the pipe from its starter closes, however that one ended.
WITH_ITS_STARTER = """\
import os, runpy, sys, threading
def wait():
    sys.stdin.buffer.read()
    os._exit(1)
threading.Thread(target=wait, daemon=True).start()
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Installed:
    """A ComfyUI on this computer.

    Args:
        folder: that holds its main.py.
        python: that it runs on.
        options: more arguments for main.py.
    """

    folder: Path
    python: Path
    options: tuple[str, ...] = ()

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Installed:
        """The ComfyUI that LONGTAKE_COMFYUI names, or in whose custom_nodes this pack lies.

        Raises:
            Unfit: there is none.
        """
        named = environment.get("LONGTAKE_COMFYUI")
        folder = Path(named).expanduser() if named else Path(__file__).resolve().parents[3]
        if not (folder / "main.py").is_file():
            raise Unfit(
                f"there is no ComfyUI in {folder}; name its folder with --comfyui, or servers that run with --servers."
            )
        python = Path(environment.get("LONGTAKE_PYTHON") or sys.executable)
        return cls(folder, python, tuple(shlex.split(environment.get("LONGTAKE_COMFYUI_OPTIONS", ""))))

    def devices(self) -> list[str]:
        """The GPUs that its torch finds, by number; "any" for one that has none, and "cpu" where there is no GPU."""
        program = (
            "import torch\n"
            "count = torch.cuda.device_count() if torch.cuda.is_available() else 0\n"
            "other = torch.backends.mps.is_available() or getattr(torch, 'xpu', None) and torch.xpu.is_available()\n"
            "print(*range(count) if count else ['any' if other else 'cpu'])\n"
        )
        answer = subprocess.run([str(self.python), "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
        if answer.returncode:
            raise Unfit(f"{self.python} has no torch; name the Python that ComfyUI runs on with LONGTAKE_PYTHON.")
        return answer.stdout.split()


class Owned:
    """A ComfyUI that was started here; `stop` ends it, and so does the end of this process.

    Args:
        device: number of a GPU, "cpu", or "any" for what ComfyUI takes by itself.
    """

    def __init__(self, installed: Installed, device: str):
        self._folder = Path(tempfile.mkdtemp(prefix="longtake-farm-"))
        (self._folder / "user").mkdir()
        port = _free_port()
        self.server = Server(f"http://127.0.0.1:{port}", os.environ.get(TOKEN_IN, ""))
        command = [
            *(str(installed.python), "-c", WITH_ITS_STARTER, str(installed.folder.resolve() / "main.py")),
            *("--port", str(port), "--disable-auto-launch", "--database-url", "sqlite:///:memory:"),
            *("--temp-directory", str(self._folder), "--user-directory", str(self._folder / "user")),
            *(["--cpu"] if device == "cpu" else [] if device == "any" else ["--cuda-device", device]),
            *installed.options,
        ]
        with (self._folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603
                command,
                cwd=installed.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C in the terminal is for the farm, which then ends its servers.
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Wait until it answers.

        Raises:
            Unfit: it ended while it started, or has not answered for a quarter of an hour.
        """
        until = time.monotonic() + START
        while not stopped():
            if self.process.poll() is not None:
                raise Unfit(f"ComfyUI ended while it started:\n{self.log_tail()}")
            with contextlib.suppress(Gone):
                self.server.ask("/system_stats", timeout=5)
                return
            if time.monotonic() > until:
                raise Unfit(f"ComfyUI has not answered for {START:.0f} s:\n{self.log_tail()}")
            time.sleep(0.2)

    def log_tail(self, lines: int = 15) -> str:
        text = (self._folder / "server.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
