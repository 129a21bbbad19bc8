#!/usr/bin/env python3
"""ComfyUI on a machine with a GPU and no way to download anything: packed here, unpacked there.

    python benchmarks/gpu_host.py pack                      here, after `python dev.py host`
    python3 benchmarks/gpu_host.py run PROGRAM [ARGUMENT ...]   there, in the repository, with its build/gpu

`pack` writes build/gpu: ComfyUI's source and what it and the tests need beyond torch, for Python 3.12 on 64-bit Linux,
in the versions of the host that dev.py built. `run` unpacks that to a temporary folder, adds the packages that the
machine lacks (its own come first), says what is still missing, and runs PROGRAM with the machine's Python.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACK = ROOT / "build" / "gpu"
LIMIT = 60 * 2**20  # bytes; leaves a few MiB for the repository itself where 64 MiB may travel
UNPACKED = Path(tempfile.gettempdir()) / "longtake-gpu"

# Parts of ComfyUI that are imported without a server, and files of them that no video model reads.
COMFYUI_PARTS = ("comfy", "comfy_api", "comfy_execution", "comfy_extras", "utils")
TOKENIZER = re.compile(r"tokenizer.*\.(json|txt)$")

PACKAGES = (
    *("av", "blake3", "comfy-aimdo", "comfy-kitchen", "einops", "hypothesis", "iniconfig", "pluggy", "psutil"),
    *("pydantic", "pydantic-core", "pydantic-settings", "annotated-types", "typing-inspection", "python-dotenv"),
    *("Pygments", "pytest", "PyYAML", "sentencepiece", "simpleeval", "sortedcontainers", "torchsde", "tqdm"),
    "trampoline",
)
NOT_FOR_NVIDIA = re.compile(r"^comfy_kitchen/backends/hip/.*\.so$")
TARGET = ("--only-binary=:all:", "--python-version=3.12", "--implementation=cp")
PLATFORMS = [f"--platform={name}_x86_64" for name in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17")]
PLATFORMS += [f"--platform={name}_x86_64" for name in ("manylinux2014", "manylinux1", "linux")]

# What the machine must bring itself: too large to carry.
BROUGHT = ("torch", "torchvision", "numpy", "scipy", "transformers", "safetensors", "pillow", "tokenizers")


def stop(line: str) -> int:
    print(f"longtake: {line}", file=sys.stderr)
    return 1


def host() -> Path | None:
    """The folder of dev.py's host, which holds ComfyUI and constraints.txt."""
    sys.path.insert(0, str(ROOT))
    import dev

    folder = dev.cache_folder() / dev.host_name()
    if (folder / "complete").exists():
        return folder
    found = sorted(dev.cache_folder().glob(f"comfyui-{dev.MAIN_HOST}-*/complete"))
    return found[0].parent if found else None


def pack() -> int:
    folder = host()
    if folder is None:
        return stop("ComfyUI is not set up here yet; run: python dev.py host")
    PACK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as wheels:
        failed = download(folder / "constraints.txt", Path(wheels))
        if failed:
            return stop(f"pip could not fetch the packages:\n{failed}")
        with tarfile.open(PACK / "packages.tar.xz", "w:xz", preset=4) as archive:
            for wheel in sorted(Path(wheels).glob("*.whl")):
                add_wheel(archive, wheel)
    with tarfile.open(PACK / "comfyui.tar.xz", "w:xz", preset=4) as archive:
        for path in comfyui_files(folder / "ComfyUI"):
            archive.add(path, path.relative_to(folder / "ComfyUI").as_posix())
    sizes = {path.name: path.stat().st_size for path in PACK.glob("*.tar.xz")}
    print("\n".join(f"{PACK.relative_to(ROOT)}/{name}: {size / 2**20:.1f} MiB" for name, size in sizes.items()))
    if sum(sizes.values()) > LIMIT:
        return stop(
            f"that is more than {LIMIT / 2**20:.0f} MiB. Look which of PACKAGES the other machine has (the first lines "
            "of `run` tell), take them out, and pack again; av and comfy-kitchen are the largest."
        )
    return 0


def download(constraints: Path, folder: Path) -> str:
    """Fetch the wheels of PACKAGES in the host's versions to `folder`; returns what pip said where it failed."""
    known = {}
    for line in constraints.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        known[plain(name)] = version
    wanted = [f"{name}=={known[plain(name)]}" if known.get(plain(name)) else name for name in PACKAGES]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *TARGET, *PLATFORMS, "-d", str(folder)]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
    return done.stderr[-2000:] if done.returncode else ""


def add_wheel(archive: tarfile.TarFile, wheel: Path) -> None:
    """Unpacked below its distribution's name: the contents of such a folder on the path are an installed package."""
    name = plain(wheel.name.partition("-")[0])
    with zipfile.ZipFile(wheel) as content, tempfile.TemporaryDirectory() as folder:
        for entry in content.namelist():
            if not NOT_FOR_NVIDIA.match(entry):
                content.extract(entry, folder)
        archive.add(folder, name)


def comfyui_files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.py"))
    for part in COMFYUI_PARTS:
        for path in sorted((folder / part).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not TOKENIZER.search(path.as_posix()):
                yield path


def plain(name: str) -> str:
    """A distribution's name in the one spelling that compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def run(command: Sequence[str]) -> int:
    if not (PACK / "comfyui.tar.xz").is_file():
        return stop("there is no build/gpu here; run `python benchmarks/gpu_host.py pack` first and bring it along")
    if sys.version_info[:2] != (3, 12):
        print(f"longtake: packed for Python 3.12, this is {sys.version.split()[0]}", file=sys.stderr)
    comfyui, packages = UNPACKED / "ComfyUI", UNPACKED / "packages"
    if not (UNPACKED / "complete").exists():
        for archive, folder in (("comfyui.tar.xz", comfyui), ("packages.tar.xz", packages)):
            with tarfile.open(PACK / archive) as tar:
                tar.extractall(folder, filter="data")
        (UNPACKED / "complete").touch()
    there = {plain(found.name) for found in importlib.metadata.distributions() if found.name}
    lacking = [name for name in BROUGHT if name not in there]
    if lacking:
        return stop(f"this machine lacks {', '.join(lacking)}, which are too large to bring along")
    added = [folder for folder in sorted(packages.iterdir()) if folder.name not in there]
    print(f"longtake: brought along and used: {', '.join(folder.name for folder in added) or 'nothing'}", flush=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, added)),
        "PYTHONUNBUFFERED": "1",
        "LONGTAKE_COMFYUI": str(comfyui),
        "LONGTAKE_PYTHON": sys.executable,
        "LONGTAKE_CACHE": str(UNPACKED / "cache"),
    }
    return subprocess.call([sys.executable, *command], cwd=ROOT, env=environment)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("pack", "run"))
    options, rest = parser.parse_known_args()
    if options.action == "pack":
        return pack()
    return run(rest) if rest else stop("say what to run: -m pytest tests/gpu")


if __name__ == "__main__":
    sys.exit(main())
