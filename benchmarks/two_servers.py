"""Two real ComfyUI servers on one output folder render, encode and prune together for a while.

    python benchmarks/two_servers.py [--minutes 10]

Both go through the same films, of the tiny models and three stages each, so that they ask for the same stages and the
same file names at the same time; now and then one queues a film of earlier again. The store begins with takes of a
server that is gone, and all the time somebody prunes it. What must hold, and is checked:

- every prompt succeeds;
- no stage is rendered twice, unless its take was pruned in between (counted by `longtake.stage_done`);
- no take is lost: what was rendered and not pruned is there, and the store verifies without a problem;
- every film is there under a name of its own, whole, and the same film is the same to the bit.

Prints a table and writes it to benchmarks/results/two_servers.md; ends with 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import runpy
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import busy

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "two_servers.md"
STAGES, FRAMES, OVERLAP = 3, 9, 5
AGAIN = 0.25  # of the films are queued again later
OLD_FILMS = 3  # of the server that is gone
PRUNE_EVERY = 3.0  # seconds


@dataclass
class Seen:
    """What both servers said and did.

    Attributes:
        rendered, pruned: how often each key was.
        hits: stages that were stored.
        waited: prompts that waited for the other server.
        films: files of each film.
        problems: what did not hold.
    """

    rendered: Counter[str] = field(default_factory=Counter)
    pruned: Counter[str] = field(default_factory=Counter)
    hits: int = 0
    waited: int = 0
    films: defaultdict[int, list[Path]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def film(number: int) -> dict[str, Any]:
    """A graph of three stages, the first of which the film before begins with too."""
    from tests.host import graphs

    shared = {"prompt": f"film {number // 2}", "frames": FRAMES, "seed": number // 2}
    return {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(steps=2, **{"expert_split.split_step": 1}),
        "stage1": graphs.stage(**shared),
        **{
            f"stage{index}": graphs.stage(
                chain=f"stage{index - 1}", prompt=f"film {number}", frames=FRAMES, seed=number, transition="cut"
            )
            for index in range(2, STAGES + 1)
        },
        **graphs.delivered(f"stage{STAGES}", "together/film"),
    }


def run(server: Any, number: int, seen: Seen) -> None:
    server.free()
    result = server.run(film(number), timeout=300)
    with seen.lock:
        seen.rendered.update(data["take"] for data in result.of("longtake.stage_done"))
        seen.hits += len(result.of("longtake.stored_hit"))
        seen.waited += any("another server renders it" in text for text in result.texts)
        if result.ok:
            seen.films[number] += server.files(result)
        else:
            seen.problems.append(f"film {number} failed: {result.why()}")


def work(server: Any, until: float, seen: Seen, seed: int) -> None:
    """Film after film until the time is over; never more than a film ahead of what is asked for again."""
    chance = random.Random(seed)  # noqa: S311
    number = OLD_FILMS
    try:
        while time.monotonic() < until:
            run(server, number, seen)
            if chance.random() < AGAIN:
                run(server, chance.randint(0, number), seen)
            number += 1
    except Exception as error:
        with seen.lock:
            seen.problems.append(f"a server: {type(error).__name__}: {error}")


def post(server: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
    from tests.host.server import NO_PROXY

    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with NO_PROXY.open(request, timeout=120) as answer:
        return json.load(answer)


def prune(servers: tuple[Any, Any], over: threading.Event, seen: Seen) -> None:
    """Prune to nothing again and again, by one server and the other: what they use must stay all the same."""
    turn = 0
    while not over.wait(PRUNE_EVERY):
        try:
            removed = post(servers[turn % 2], "/longtake/prune", {"bytes": 1})["removed"]
        except OSError as error:
            with seen.lock:
                seen.problems.append(f"pruning: {error}")
            return
        with seen.lock:
            seen.pruned.update(removed)
        turn += 1


def check(output: Path, server: Any, seen: Seen) -> None:
    """Add to the problems what does not hold at the end."""
    from tests.host.film import look_into

    store = output / "longtake"
    seen.problems += [
        f"take {key[:12]} was rendered {count} times and pruned {seen.pruned[key]} times"
        for key, count in seen.rendered.items()
        if count > 1 + seen.pruned[key]
    ]
    there = {path.name for path in (store / "takes").iterdir()}
    lost = [key for key in seen.rendered if key not in there and not seen.pruned[key]]
    seen.problems += [f"take {key[:12]} is lost" for key in lost]
    seen.problems += [f"verify: {problem}" for problem in post(server, "/longtake/verify", {})["problems"]]
    for name in ("damaged", "partial", "claims", "checkpoints"):
        left = list((store / name).glob("*"))
        seen.problems += [f"{len(left)} left in {name}"] if left else []

    files = Counter(path for paths in seen.films.values() for path in paths)
    seen.problems += [f"{path.name} was delivered {count} times" for path, count in files.items() if count > 1]
    for number, paths in seen.films.items():
        looks = set()
        for path in paths:
            if not path.is_file():
                seen.problems.append(f"{path.name} is gone")
                continue
            if look_into(path).frames != STAGES * FRAMES:
                seen.problems.append(f"{path.name} has {look_into(path).frames} frames")
            looks.add(picture_of(path))
        if len(looks) > 1:
            seen.problems.append(f"film {number} was delivered as {len(looks)} different films")


def picture_of(path: Path) -> str:
    import av

    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            digest.update(frame.to_ndarray().tobytes())
    return digest.hexdigest()


def table(minutes: float, seen: Seen) -> str:
    films = sum(map(len, seen.films.values()))
    problems = [f"- {problem}" for problem in dict.fromkeys(seen.problems)] or ["Nothing lost, nothing done twice."]
    return "\n".join(
        [
            "# Two servers on one output folder",
            "",
            f"Written by benchmarks/two_servers.py --minutes {minutes:g}: tiny models, {STAGES} stages a film. "
            + busy(),
            "",
            "| films delivered | stages rendered | stages found stored | prompts that waited | takes pruned |",
            "|---|---|---|---|---|",
            f"| {films} | {sum(seen.rendered.values())} | {seen.hits} | {seen.waited} | {sum(seen.pruned.values())} |",
            "",
            *problems,
            "",
        ]
    )


def main() -> int:
    from tests.host.place import Place
    from tests.host.server import Server
    from tests.tiny.models import tiny_models

    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=10.0)
    minutes = arguments.parse_args().minutes
    place, seen = Place.here(), Seen()
    models = tiny_models(place)
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name), Path(name) / "output"
        shared = ("--output-directory", str(output))

        def server(name: str) -> Server:
            one = Server(place, folder / name, models, shared)
            one.output = output
            return one

        with server("gone") as gone:
            for number in range(OLD_FILMS):
                run(gone, number, seen)
        over = threading.Event()
        with server("first") as first, server("second") as second:
            until = time.monotonic() + 60 * minutes
            threads = [
                threading.Thread(target=work, args=(one, until, seen, seed)) for seed, one in enumerate((first, second))
            ]
            pruning = threading.Thread(target=prune, args=((first, second), over, seen))
            for thread in (*threads, pruning):
                thread.start()
            for thread in threads:
                thread.join()
            over.set()
            pruning.join()
            check(output, first, seen)
    text = table(minutes, seen)
    print(text)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    return 1 if seen.problems else 0


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    raise SystemExit(main())
