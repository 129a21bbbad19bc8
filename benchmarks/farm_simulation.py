"""A film of a thousand stages on 64 servers, in minutes: the farm's own code on Dask's own scheduler, nothing rendered.

    python benchmarks/farm_simulation.py

Scenes, workers, retries and the scheduler are the real ones, all in this process; what stands in for ComfyUI answers a
plan, and sleeps for what it is asked to render, three seconds for a minute. One server has a quarter of the others'
speed. A stage fails with a chance of 1 % midway: it is begun again from its middle, as from a checkpoint, and the
server takes no work for five minutes, in which it would start again. Writes the table between the marks "simulation" in
docs/farm.md.
"""

from __future__ import annotations

import json
import logging
import random
import runpy
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STAGES, SERVERS, FAILS, SLOW = 1000, 64, 0.01, 4.0
MINUTE = 3.0  # seconds of the simulation
TAKE = 14e6  # bytes, of a take of 720p
FILMS = {
    "scenes of 1 to 8 stages": (1, 8, SLOW),
    "the same, no server slow": (1, 8, 1.0),
    "scenes of one stage": (1, 1, SLOW),
    "one smooth run": (STAGES, STAGES, SLOW),
}


@dataclass
class World:
    """What all servers share.

    Attributes:
        plan: of the film, as a server answers.
        minutes: that each stage takes.
        left: of each stage, minutes still to render; a failure leaves half.
        slow: how often longer the first server takes.
        lost: minutes that were rendered in vain.
    """

    plan: dict[str, Any]
    minutes: list[float]
    left: list[float]
    slow: float
    chance: random.Random
    lost: float = 0.0
    failures: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def film(shortest: int, longest: int, slow: float) -> World:
    """A film whose scenes have so many stages."""
    chance = random.Random(7)  # noqa: S311
    stages: list[dict[str, Any]] = []
    while len(stages) < STAGES:
        length = min(chance.randint(shortest, longest), STAGES - len(stages))
        stages += [{"transition": "smooth" if part else "cut", "rendered_frames": 81} for part in range(length)]
    minutes = [chance.uniform(1.0, 3.0) for _ in stages]
    takes = [
        {"status": "new", "take": f"{number:064x}", "rendering_seconds": 60 * took, "stage": number}
        for number, took in enumerate(minutes, start=1)
    ]
    numbered = [{**stage, "stage": number} for number, stage in enumerate(stages, start=1)]
    return World({"stages": numbered, "takes": takes, "notes": []}, minutes, list(minutes), slow, chance)


def plugin_of(world: World) -> Any:
    from longtake.pipelines.storyboard.selection import stages_chosen

    from farm.server import About, Failed, Ran, Server, version
    from farm.worker import ServerPlugin

    class Stand(Server):
        """In ComfyUI's place."""

        def __init__(self, number: int):
            super().__init__(f"server {number}")
            self._minute = MINUTE * (world.slow if number == 0 else 1.0)

        def about(self) -> About:
            return About(version(), self.url, "store")

        def ask(self, path: str, body: Any = None, timeout: float = 0.0) -> Any:
            return (
                world.plan if path == "/longtake/plan" else {"version": version(), "temp": self.url, "store": "store"}
            )

        def run(self, graph: Any, on_event: Any, cancelled: Any) -> Ran:
            ran = Ran()
            text = graph["1"]["inputs"].get("stages", "")
            for number in sorted(stages_chosen(text, STAGES)) if text else ():
                done = "longtake.stage_done" if self._stage(number - 1) else "longtake.stored_hit"
                on_event(done, {"stage": number, "take": world.plan["takes"][number - 1]["take"]})
            return ran

        def _stage(self, index: int) -> bool:
            """Whether there was anything to render."""
            with world.lock:
                todo, fails = world.left[index], world.chance.random() < FAILS
            if not todo:
                return False
            time.sleep(todo * self._minute * (0.75 if fails else 1.0))
            with world.lock:
                world.left[index] = todo / 2 if fails else 0.0
                world.lost += todo / 4 if fails else 0.0
                world.failures += fails
            if fails:
                raise Failed(f"stage {index + 1} failed on {self.url}")
            return True

    class Stands(ServerPlugin):
        def _ready(self) -> Server:
            return Stand(int(self._worker.name))

        def __reduce__(self) -> Any:
            return stands, ()

    return Stands()


def stands() -> Any:
    """The plugin of the film that is simulated; every worker is in this process and unpickles the same."""
    return plugin_of(_world[0])


_world: list[World] = []


def simulated(name: str, world: World) -> str:
    from distributed import Scheduler, SpecCluster, Worker

    from farm import worker
    from farm.cluster import connect
    from farm.film import Film, render_film
    from farm.scenes import makespan, scenes_of

    _world[:] = [world]
    worker.REST = 5 * MINUTE
    options = {"nthreads": 1, "resources": worker.RESOURCE, "memory_limit": None, "dashboard": False}
    workers = {number: {"cls": Worker, "options": {**options, "name": number}} for number in range(SERVERS)}
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "dashboard_address": ":0", "port": 0}}
    scenes = scenes_of(world.plan)
    stages = [{"prompt": f"stage {number}", "seed": number} for number in range(STAGES)]
    inputs = {"storyboard": json.dumps({"stages": stages})}
    graph = {"1": {"class_type": "LongtakeRenderStoryboard", "inputs": inputs}}
    with SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster:
        with connect(cluster.scheduler_address) as client:
            client.register_plugin(stands())
            while sum(w["status"] == "running" for w in client.scheduler_info(-1)["workers"].values()) < SERVERS:
                time.sleep(0.1)
        began = time.monotonic()
        report = render_film(lambda: connect(cluster.scheduler_address), Film(graph, "1"))
        took = (time.monotonic() - began) / MINUTE
    assert not any(world.left), "a stage is missing"
    lengths = [(scene.seconds or 0) / 60 for scene in scenes]
    total, longest = sum(lengths), max(lengths)
    bound = max(longest, total / (SERVERS - 1 + 1 / world.slow))
    planned = makespan(lengths, SERVERS)
    twice = sum(count - 1 for count in report.rendered.values())
    prompts = (len(json.dumps(graph)) * SERVERS + sum(len(scene.stages) for scene in scenes)) / 1e6
    return (
        f"| {name} | {len(scenes)} | {total:.0f} | {longest:.0f} | {bound:.0f} | {planned:.0f} | {took:.0f} "
        f"| {world.failures} | {100 * world.lost / total:.2f} % | {twice} | {prompts:.1f} MB "
        f"| {TAKE * STAGES / 1e9:.0f} GB |"
    )


def main() -> int:
    from farm_speed import written

    rows = []
    for name, (shortest, longest, slow) in FILMS.items():
        world = film(shortest, longest, slow)
        if shortest == STAGES:
            # A run that nobody can divide is as long as all of its stages, and there is nothing to simulate.
            total = sum(world.minutes)
            rows.append(f"| {name} | 1 | {total:.0f} | {total:.0f} | {total:.0f} | {total:.0f} | | | | | | |")
        else:
            rows.append(simulated(name, world))
        print(rows[-1], flush=True)
    text = "\n".join(
        [
            f"Written by benchmarks/farm_simulation.py: {STAGES} stages of 1 to 3 minutes, {SERVERS} servers, one of "
            f"them with 1/{SLOW:.0f} of the speed, {100 * FAILS:.0f} % of the stages fail midway. Times are minutes; "
            "`at best` is the longest scene, or all stages over all servers.",
            "",
            "| film | scenes | all stages | longest scene | at best | longest first, no server slow, nothing fails "
            "| simulated | failures | work lost | stages rendered twice | prompts sent | takes that travel "
            "without a shared folder |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )
    written(ROOT / "docs" / "farm.md", "simulation", text)
    return 0


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    # Not as __main__, whose values are copied where a plugin of it is sent.
    import farm_simulation

    raise SystemExit(farm_simulation.main())
