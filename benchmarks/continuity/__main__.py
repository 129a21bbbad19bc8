"""How well a film goes on over its seams: every way of handing a clip on, on the demo model, whose world is known.

    python benchmarks/continuity --chains 20 --stages 20 --minutes 90

Renders the same prompts and seeds in every way, in this process, through what Chain Stage calls, and measures each film
as rendered and with colours matched. Takes lie in a store, so a run that was ended goes on where it was, and a longer
chain is the shorter one continued. Every chain is a line of benchmarks/results/continuity.jsonl, its first two and five
stages included. Writes docs/continuity.md and its pictures from all lines; with `--minutes 0` only that.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    # Makes the repository importable as `longtake` and its tests as `tests`.
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    from tests.host.inprocess import enter_comfyui
    from tests.host.place import Place

    enter_comfyui(Place.here().comfyui)
    from longtake.benchmarks.continuity import drift, page
    from longtake.benchmarks.continuity.deliveries import DELIVERIES
    from longtake.benchmarks.continuity.handing import CURED, HANDINGS
    from longtake.benchmarks.continuity.results import Results
    from longtake.benchmarks.continuity.run import Size, measure_chains

    usual = [name for name, handing in HANDINGS.items() if handing not in CURED]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=20)
    parser.add_argument("--stages", type=int, default=20, help="of a chain")
    parser.add_argument("--handings", type=lambda text: text.split("; "), default=usual, help="joined by '; '")
    parser.add_argument("--deliveries", type=lambda text: text.split("; "), default=list(DELIVERIES))
    parser.add_argument("--minutes", type=float, default=90, help="after which no chain is begun")
    parser.add_argument("--store", type=Path, default=ROOT / "build" / "continuity", help="where takes are kept")
    parser.add_argument("--drift", action="store_true", help="measure what matching costs and saves, and nothing else")
    options = parser.parse_args()
    for asked, known in ((options.handings, HANDINGS), (options.deliveries, DELIVERIES)):
        if unknown := set(asked) - set(known):
            parser.error(f"{', '.join(sorted(unknown))}: what there is: {'; '.join(known)}")
    results = Results.read()
    if options.drift:
        drift.measure(options.chains, options.store)
    elif options.minutes:
        handings = [HANDINGS[name] for name in options.handings]
        deliveries = [DELIVERIES[name] for name in options.deliveries]
        size, until = Size(options.chains, options.stages), time.monotonic() + 60 * options.minutes
        measure_chains(results, options.store, handings, deliveries, size, until)
    page.write(results)


if __name__ == "__main__":
    sys.path.pop(0)
    main()
