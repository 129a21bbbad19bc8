"""How long a stored film of two hundred stages takes when it is queued again, with and without a long history.

    python benchmarks/history.py

Renders the film once on a real ComfyUI with the tiny Wan 2.2 t2v models (96x64, 5 frames a stage, 2 steps), and queues
it again on a server that was restarted, so that nothing is in its memory: first as it is, then with a thousand old
chains of twelve stages in the store. Nothing is decoded: this is what it costs to find that all is stored. Also times
what a stage pays for keeping its chain. Writes benchmarks/results/history.md.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from machine import busy, unflushed

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "history.md"
STAGES, OLD_CHAINS, OLD_STAGES = 200, 1000, 12
LIMIT = 10.0  # seconds
Graph = dict[str, Any]


def film() -> Graph:
    from tests.host import graphs

    stages = [{"prompt": f"a walk along the shore, day {day}", "transition": "cut"} for day in range(STAGES)]
    del stages[0]["transition"]
    board = {"defaults": {"frames": 5, "width": 96, "height": 64}, "stages": stages}
    return {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(steps=2, cfg_high=1.0, cfg_low=1.0, **{"expert_split.split_step": 1}),
        "board": graphs.storyboard(board),
    }


def add_history(root: Path) -> None:
    """Chains that share nothing with the film, as renders of months leave them."""
    from longtake.pipelines.takes import chains
    from longtake.pipelines.takes.store import Store
    from longtake.pipelines.timeline.clips import Clip, Join

    for old in range(OLD_CHAINS):
        entries = tuple(
            chains.Entry(f"{OLD_STAGES * old + stage:064x}", Clip(5, Join(), 5 * (stage + 1)))
            for stage in range(OLD_STAGES)
        )
        chains._write(
            Store(root), chains.StoredChain("wan22", 96, 64, Fraction(16), entries, created=time.time() - 3600)
        )


def keeping(root: Path) -> list[float]:
    """Seconds that each stage of a growing film takes to be kept in its chain, in a process that begins with it."""
    from longtake.pipelines.chain import record
    from longtake.pipelines.chain.chain import Chain, Link
    from longtake.pipelines.takes.store import Store
    from longtake.pipelines.takes.take import Take
    from longtake.pipelines.timeline.clips import Clip, Join

    times, links = [], ()
    for stage in range(STAGES):
        take = Take(root / "takes" / f"{10**9 + stage:064x}")
        links = (*links, Link(Clip(5, Join(), 5 * (stage + 1)), take, None))
        started = time.monotonic()
        record.remember(Store(root), Chain("wan22", 96, 64, Fraction(16), links))
        times.append(time.monotonic() - started)
    return times


def main() -> int:
    from tests.host.place import Place
    from tests.host.server import Server
    from tests.tiny.models import tiny_models

    place, graph = Place.here(), film()
    rows: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, Server(place, Path(folder), tiny_models(place)) as server:

        def run(what: Graph) -> float:
            result = server.run(what, timeout=3600)
            if not result.ok:
                raise SystemExit(result.why())
            print(f"{result.seconds:.1f} s", flush=True)
            return result.seconds

        def again() -> float:
            server.restart()
            return run(graph)

        rows["rendered"] = run(graph)
        rows["queued again"] = again()
        root = server.output / "longtake"
        with unflushed():
            add_history(root)
        rows[f"queued again, {OLD_CHAINS} old chains"] = again()
        with unflushed():
            first, *growing = keeping(root)
    median = sorted(growing)[len(growing) // 2]
    lines = [
        f"# A stored film of {STAGES} stages and a long history",
        "",
        "Written by benchmarks/history.py: tiny models, 96x64, 5 frames a stage, on a CPU; the server is restarted "
        "before each time but the first. " + busy(),
        "",
        "| | seconds |",
        "|---|---|",
        *(f"| {name} | {seconds:.1f} |" for name, seconds in rows.items()),
        "",
        f"Keeping a chain of {STAGES} stages that grows beside {OLD_CHAINS} others, flushing left out: "
        f"{1000 * first:.0f} ms for the first, which reads all of them, then {1000 * median:.1f} ms a stage, "
        f"{1000 * max(growing):.1f} ms at most.",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    RESULT.write_text(text)
    return 0 if rows[f"queued again, {OLD_CHAINS} old chains"] <= LIMIT else 1


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    raise SystemExit(main())
