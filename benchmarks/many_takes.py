"""How long it takes to list a store of ten thousand takes over HTTP.

    python benchmarks/many_takes.py

Writes the takes with the store's own code, then asks a real ComfyUI for the newest hundred, which reads the facts of
all of them. Writes benchmarks/results/many_takes.md.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "many_takes.md"
TAKES = 10_000
PROMPT = "a red fox runs over the snow, golden hour, 35 mm, shallow depth of field, " * 4


def fill(root: Path) -> None:
    import torch
    from longtake.pipelines.takes import store as stores

    # Flushing twenty thousand files to the disk would be most of the time, and none of it is measured.
    stores.flush = stores.flush_folder = lambda _: None
    shelf = stores.Store(root)
    for number in range(TAKES):
        facts = {"prompt": PROMPT, "negative_prompt": PROMPT, "seed": number, "frames": 81, "place": f"{number:064x}"}
        shelf.write(f"{number:064x}", {"latent": torch.zeros(1, 16, 3, 8, 12)}, facts)


def main() -> None:
    from tests.host.place import Place
    from tests.host.server import Server
    from tests.tiny.models import tiny_models

    place = Place.here()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "output" / "longtake")
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
        f"| {times[0]:.2f} s | {sorted(times)[2]:.2f} s | {max(times):.2f} s |\n"
    )
    print(text)
    RESULT.write_text(text)


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    main()
