"""How long a film of eight equal scenes takes two servers, against one.

    python benchmarks/farm_speed.py [--wait 0.4] [--rounds 3]

Both are real servers of this pack on the CPU, with the tiny models; every call of a model waits, as on a busy GPU, so
that two cores suffice. A film is planned, rendered and delivered: decoded, stitched and encoded on one server. Servers
run before it starts. Writes the table between the marks "two servers" in docs/farm.md.
"""

from __future__ import annotations

import argparse
import runpy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import busy

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "farm.md"
SCENES = 8


def written(document: Path, mark: str, text: str) -> None:
    """Put a text between two marks of a document."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    before, _, rest = document.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")


def measured(address: str, name: str) -> tuple[float, float]:
    """Seconds that a film takes, and seconds of it until its last scene was rendered."""
    from farm.cluster import connect
    from farm.film import Film, render_film
    from farm.worker import DELIVERY
    from tests.farm import servers

    rendered: list[float] = []

    def hear(event: Any) -> None:
        if event["event"] == "finished" and event["scene"] != DELIVERY:
            rendered.append(time.monotonic())

    began = time.monotonic()
    report = render_film(lambda: connect(address), Film(servers.film(name, (1,) * SCENES), "board"), hear)
    assert set(report.rendered.values()) == {1} and len(report.rendered) == SCENES
    return time.monotonic() - began, rendered[-1] - began


def main() -> int:
    from farm.cluster import attached, cluster_of, connect, owned
    from farm.film import Film, render_film
    from tests.farm import servers
    from tests.host.place import Place
    from tests.tiny.models import tiny_models

    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--wait", type=float, default=0.4, help="seconds that a call of a model takes")
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    place = Place.here()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers.lay_out(place, folder, tiny_models(place))
        started = [{**servers.environment(place, folder, number), **owned("cpu")} for number in (1, 2)]
        for number in (1, 2):
            (folder / f"wait{number}").write_text(str(options.wait))
        urls: set[str] = set()

        def hear(event: Any) -> None:
            if event["event"] == "up":
                urls.add(event["server"])

        with cluster_of(started) as both:
            # Both servers come up and have loaded the model before anything is measured.
            render_film(lambda: connect(both), Film(servers.film("first", (1, 1)), "board"), hear)
            while len(urls) < 2:
                time.sleep(0.5)
                with connect(both) as client:
                    for _, event in client.get_events("longtake"):
                        hear(event)
            render_film(lambda: connect(both), Film(servers.film("warm", (1, 1, 1, 1)), "board"))
            with cluster_of([attached(min(urls))]) as one:
                rounds = [
                    (measured(one, f"one {turn}"), measured(both, f"both {turn}")) for turn in range(options.rounds)
                ]
    film = [statistics.median(times) for times in zip(*((one[0], two[0]) for one, two in rounds), strict=True)]
    scenes = [statistics.median(times) for times in zip(*((one[1], two[1]) for one, two in rounds), strict=True)]
    text = "\n".join(
        [
            f"Written by benchmarks/farm_speed.py: {SCENES} scenes of one stage, {options.wait:g} s a call of the "
            f"model, median of {options.rounds}. {busy()}",
            "",
            "| | one server | two servers | ratio |",
            "|---|---|---|---|",
            *(
                f"| until {what} | {one:.1f} s | {two:.1f} s | {two / one:.2f} |"
                for what, (one, two) in (("the last scene is rendered", scenes), ("the film is delivered", film))
            ),
        ]
    )
    print(text)
    written(DOCUMENT, "two servers", text)
    return 0 if film[1] / film[0] <= 0.60 else 1


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    raise SystemExit(main())
