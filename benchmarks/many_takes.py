"""How long it takes to list a store of ten thousand takes over HTTP, to number one more, and to prune and find in it.

    python benchmarks/many_takes.py

Writes the takes with the store's own code, as a version without numbers left them, numbers a hundred more, then asks a
real ComfyUI for the newest hundred, which reads the facts of all of them. Then prunes and finds in a process that has
seen the store, as a server does after every stage. Writes benchmarks/results/many_takes.md.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import busy, unflushed

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "many_takes.md"
TAKES, NUMBERED, TIMES = 10_000, 100, 15
LIMIT = 50  # ms
PROMPT = "a red fox runs over the snow, golden hour, 35 mm, shallow depth of field, " * 4


def key(number: int) -> str:
    """A key whose first 8 digits are no other's."""
    return f"{number:08x}".ljust(64, "0")


def fill(root: Path) -> None:
    import torch
    from longtake.pipelines.takes.store import Store

    shelf = Store(root)
    for number in range(TAKES):
        facts = {"prompt": PROMPT, "negative_prompt": PROMPT, "seed": number, "frames": 81}
        facts |= {"place": f"{number:064x}", "take": 1}
        shelf.write(key(number), {"latent": torch.zeros(1, 16, 3, 8, 12)}, facts)


def number(root: Path) -> list[float]:
    """Seconds that numbering took, take after take of one stage; the first numbers all old takes."""
    from longtake.pipelines.takes.numbers import claim
    from longtake.pipelines.takes.store import Store

    times = []
    for one in range(1, NUMBERED + 1):
        started = time.monotonic()
        given = claim(Store(root), f"{7:064x}", key(TAKES + one))
        times.append(time.monotonic() - started)
        if given != 1 + one:
            raise SystemExit(f"take {one} of the stage is given number {given}")
    return times


def acts(root: Path) -> dict[str, list[tuple[float, float]]]:
    """Seconds, and seconds of the processor, of each act in a store that this process has seen, again and again."""
    from longtake.pipelines.takes import housekeeping
    from longtake.pipelines.takes.store import Store

    shelf = Store(root)
    size = housekeeping.prune(shelf, 2**62).size
    each = size // TAKES
    taken: dict[str, list[tuple[float, float]]] = {}

    def time_it(name: str, act: Callable[[int], object]) -> None:
        taken[name] = []
        for turn in range(TIMES):
            started = time.monotonic(), time.process_time()
            act(turn)
            taken[name].append((time.monotonic() - started[0], time.process_time() - started[1]))

    def prune_one(turn: int) -> None:
        if len(housekeeping.prune(shelf, size - each // 2 - turn * each).removed) != 1:
            raise SystemExit("more or less than one take was pruned")

    time_it("prune, under the limit", lambda _: housekeeping.prune(shelf, size))
    housekeeping.prune(shelf, size - each // 2)
    size -= each
    time_it("prune one take", prune_one)
    time_it("list what is to be verified", lambda _: list(shelf.takes()))
    time_it("find by the first 8 digits of a key", lambda turn: shelf.named(key(TAKES - 1 - turn)[:8]))
    time_it("list the newest 100", lambda _: shelf.newest(0, 100))
    return taken


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> int:
    from tests.host.place import Place
    from tests.host.server import Server
    from tests.tiny.models import tiny_models

    place = Place.here()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "output" / "longtake"
        with unflushed():
            fill(root)
        first, *numbering = number(root)
        with Server(place, Path(folder), tiny_models(place)) as server:
            times = []
            for _ in range(5):
                started = time.monotonic()
                listed = server.get("/longtake/takes?limit=100")
                times.append(time.monotonic() - started)
                if (listed["total"], len(listed["takes"])) != (TAKES, 100):
                    raise SystemExit(f"{listed['total']} takes are listed")
        taken = acts(root)
    rows = [
        f"| {name} | {1000 * median([wall for wall, _ in both]):.1f} ms | {1000 * max(both)[0]:.1f} ms "
        f"| {1000 * median([cpu for _, cpu in both]):.1f} ms |"
        for name, both in taken.items()
    ]
    text = (
        f"# Listing {TAKES} takes\n\nWritten by benchmarks/many_takes.py: the newest 100 of {TAKES} over HTTP, five "
        f"times. {busy()}\n\n| first | median | slowest |\n|---|---|---|\n"
        f"| {times[0]:.2f} s | {median(times):.2f} s | {max(times):.2f} s |\n\n"
        f"# Numbering one more\n\nThe first numbers the {TAKES} takes of a store without numbers, once; the others are "
        f"{len(numbering)} takes of one stage.\n\n| first | median | slowest |\n|---|---|---|\n"
        f"| {first:.2f} s | {1000 * median(numbering):.1f} ms | {1000 * max(numbering):.1f} ms |\n\n"
        f"# In a process that has seen the store\n\nEach {TIMES} times; the limit is {LIMIT} ms of the processor.\n\n"
        "| | median | slowest | median of the processor's time |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    print(text)
    RESULT.write_text(text)
    return 0 if all(1000 * median([cpu for _, cpu in both]) <= LIMIT for both in taken.values()) else 1


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    raise SystemExit(main())
