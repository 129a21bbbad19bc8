"""What the pack adds to the start of ComfyUI: CPU time of importing it and of making its nodes' schemas.

    python benchmarks/start.py [another checkout]

Each round starts a process that imports ComfyUI and then the pack, as ComfyUI does at its start; with another
checkout the two take turns. Writes benchmarks/results/start.md.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from machine import busy

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "start.md"
ROUNDS = 9
PACK = "longtake_at_start"
ONCE = "--once"


def once(pack: Path) -> tuple[float, float, int]:
    """Milliseconds of the processor for ComfyUI's imports and for the pack's, and how many files of it are imported."""
    comfyui = os.environ["LONGTAKE_COMFYUI"]
    os.chdir(comfyui)
    sys.path.insert(0, comfyui)
    sys.argv = ["main.py", "--cpu"]
    logging.disable(logging.CRITICAL)
    started = time.process_time()
    import comfy.options

    comfy.options.enable_args_parsing()
    for name in ("execution", "server", "comfy.sd", "comfy_api.latest"):
        importlib.import_module(name)

    host = time.process_time()
    spec = importlib.util.spec_from_file_location(PACK, pack / "__init__.py", submodule_search_locations=[str(pack)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)
    asyncio.run(schemas(module))
    ended = time.process_time()
    files = sum(name.startswith(PACK) for name in sys.modules)
    return (host - started) * 1000, (ended - host) * 1000, files


async def schemas(module) -> None:
    extension = await module.comfy_entrypoint()
    for node in await extension.get_node_list():
        node.GET_SCHEMA()


def rounds(packs: list[Path], kept: Path | None) -> list[tuple[float, float, int]]:
    """Medians of each pack. `kept`: where byte code lies between starts; None for a first start."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "" if kept else "1", "PYTHONPYCACHEPREFIX": str(kept or "")}
    starts: list[list[tuple[float, float, int]]] = [[] for _ in packs]
    for number in range(ROUNDS + 1):
        for pack, times in zip(packs, starts, strict=True):
            command = [sys.executable, __file__, ONCE, str(pack)]
            run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            if number:  # the first has the byte code written
                times.append(tuple(json.loads(run.stdout)))
    return [tuple(map(median, zip(*times, strict=True))) for times in starts]


def main() -> None:
    packs = [ROOT, *map(Path, sys.argv[1:2])]
    rows = []
    with tempfile.TemporaryDirectory() as kept:
        for start, folder in (("first, nothing compiled", None), ("later", Path(kept))):
            for name, (host, pack, files) in zip(("this", "the other"), rounds(packs, folder), strict=False):
                share = 100 * pack / (host + pack)
                rows.append(f"| {start} | {name} | {files:.0f} | {pack:.0f} ms | {host:.0f} ms | {share:.1f} % |")
    page = (
        f"# Start\n\nCPU time of the pack at the start of ComfyUI, medians of {ROUNDS} starts that take turns; "
        f"written by `benchmarks/start.py`. {busy()}\n\n"
        "| start | checkout | files | the pack | ComfyUI's own imports | share |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )
    print(page)
    RESULT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == [ONCE]:
        print(json.dumps(once(Path(sys.argv[2]))))
    else:
        main()
