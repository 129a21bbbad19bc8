"""How long it takes to list a store of ten thousand takes over HTTP, and to number one more.

    python benchmarks/many_takes.py

Writes the takes with the store's own code, as a version without numbers left them, numbers a hundred more, then asks a
real ComfyUI for the newest hundred, which reads the facts of all of them. Writes benchmarks/results/many_takes.md.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "many_takes.md"
TAKES, NUMBERED = 10_000, 100
PROMPT = "a red fox runs over the snow, golden hour, 35 mm, shallow depth of field, " * 4


def fill(root: Path) -> None:
    import torch
    from longtake.pipelines.takes import store as stores

    # Flushing twenty thousand files to the disk would be most of the time, and none of it is measured.
    stores.flush = stores.flush_folder = lambda _: None
    shelf = stores.Store(root)
    for number in range(TAKES):
        facts = {"prompt": PROMPT, "negative_prompt": PROMPT, "seed": number, "frames": 81}
        facts |= {"place": f"{number:064x}", "take": 1}
        shelf.write(f"{number:064x}", {"latent": torch.zeros(1, 16, 3, 8, 12)}, facts)


def number(root: Path) -> list[float]:
    """Seconds that numbering took, take after take of one stage; the first numbers all old takes."""
    from longtake.pipelines.takes.numbers import claim
    from longtake.pipelines.takes.store import Store

    times = []
    for one in range(1, NUMBERED + 1):
        started = time.monotonic()
        given = claim(Store(root), f"{7:064x}", f"{TAKES + one:064x}")
        times.append(time.monotonic() - started)
        if given != 1 + one:
            raise SystemExit(f"take {one} of the stage is given number {given}")
    return times


def main() -> None:
    from tests.host.place import Place
    from tests.host.server import Server
    from tests.tiny.models import tiny_models

    place = Place.here()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "output" / "longtake")
        first, *numbering = number(Path(folder) / "output" / "longtake")
        with Server(place, Path(folder), tiny_models(place)) as server:
            times = []
            for _ in range(5):
                started = time.monotonic()
                listed = server.get("/longtake/takes?limit=100")
                times.append(time.monotonic() - started)
                if (listed["total"], len(listed["takes"])) != (TAKES, 100):
                    raise SystemExit(f"{listed['total']} takes are listed")
    text = (
        f"# Listing {TAKES} takes\n\nWritten by benchmarks/many_takes.py: the newest 100 of {TAKES} over HTTP, five "
        f"times.\n\n| first | median | slowest |\n|---|---|---|\n"
        f"| {times[0]:.2f} s | {sorted(times)[2]:.2f} s | {max(times):.2f} s |\n\n"
        f"# Numbering one more\n\nThe first numbers the {TAKES} takes of a store without numbers, once; the others are "
        f"{len(numbering)} takes of one stage.\n\n| first | median | slowest |\n|---|---|---|\n"
        f"| {first:.2f} s | {1000 * sorted(numbering)[len(numbering) // 2]:.1f} ms | {1000 * max(numbering):.1f} ms |\n"
    )
    print(text)
    RESULT.write_text(text)


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    main()
