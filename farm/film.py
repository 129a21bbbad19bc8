"""A film on a cluster: planned by one of its servers, its scenes rendered by all, delivered by one."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from distributed import CancelledError, Client, Future, wait

from .pace import Pace, lengths_of
from .scenes import Graph, NotAFilm, Scene, scenes_of, storyboard_graph
from .server import Cancelled
from .worker import DELIVERY, RESOURCE, TOPIC, FilmPlugin, ServerPlugin, ask, cancel, film_name, hand_over, render

RETRIES = 3  # of a scene, after its first try
LOOK = 0.5  # seconds between two looks at the cluster
# Seconds without any worker after which a film is given up: where some may come back, and where all were unfit.
NOBODY, ALL_UNFIT = 20.0, 2.0

Event = Mapping[str, Any]


class FilmFailed(Exception):
    """A film that could not be finished, and why; what is rendered of it is stored."""


class ClusterLost(Exception):
    """The scheduler is gone, or was started again and has forgotten the film."""


@dataclass(frozen=True)
class Film:
    """What is to be rendered.

    Args:
        graph: an API prompt.
        board: id of its Render Storyboard node.
        files: names of files in a server's input folder, and what is in them; the graph names them so.
        takes: URL of an object store, see bucket.py: its takes come from there, and what is rendered goes there.
    """

    graph: Graph
    board: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    takes: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])


@dataclass
class Row:
    """How one scene went.

    Attributes:
        server: that finished it.
        tries: how often it was begun.
    """

    scene: str
    server: str = ""
    seconds: float = 0.0
    tries: int = 0


@dataclass
class Report:
    """How a film went.

    Attributes:
        rendered: how often each take was.
        keys: of the takes that the film is made of, in its order.
        troubles: sentences about what went wrong and was got over.
        files: that the film became, as `/view` of `server` names them.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    rendered: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    files: list[dict[str, str]] = field(default_factory=list)
    server: str = ""
    seconds: float = 0.0

    def note(self, event: Event) -> None:
        kind, scene = event["event"], event.get("scene")
        if kind == "longtake.stage_done":
            self.rendered[event["take"]] += 1
        elif kind in ("gone", "unfit", "failed"):
            self.trouble(event["why"])
        elif kind == "started" and scene:
            self.rows.setdefault(scene, Row(scene)).tries += 1
        elif kind == "finished" and scene:
            row = self.rows.setdefault(scene, Row(scene))
            row.server, row.seconds = event["server"], event["seconds"]

    def trouble(self, why: str) -> None:
        if why not in self.troubles:
            self.troubles.append(why)

    def text(self) -> str:
        rows = [("stages", "server", "seconds", "tries")]
        rows += [(row.scene, row.server, f"{row.seconds:.1f}", str(row.tries)) for row in self.rows.values()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        again = sum(count - 1 for count in self.rendered.values())
        stages = f"{len(self.rendered)} stages rendered" + (f", {again} more than once" if again else "")
        return "\n".join([*lines, f"{stages}; {self.seconds:.1f} s", *(f"- {trouble}" for trouble in self.troubles)])


def render_film(
    connect: Callable[[], Client],
    film: Film,
    told: Callable[[Event], None] = lambda event: None,
    deliver: bool = True,
) -> Report:
    """Render what is not stored of a film, and deliver it.

    Args:
        connect: to the cluster; asked again where its scheduler was lost.
        told: called with every event of the film and of the servers, on a thread of Dask's.
        deliver: without it the film is rendered and not made into a file.

    Raises:
        NotAFilm: it cannot be rendered as asked.
        FilmFailed: a scene failed on server after server, or there is no server left.
    """
    began, report = time.monotonic(), Report()
    for _ in range(1 + RETRIES):
        try:
            with connect() as client:
                _Rendering(client, film, report, told).run(deliver)
                break
        except (ClusterLost, CancelledError, OSError) as lost:
            report.trouble(f"the scheduler was lost ({type(lost).__name__}); what was under way is asked for again.")
    else:
        raise FilmFailed("the scheduler was lost again and again.")
    report.seconds = time.monotonic() - began
    return report


def cancel_films(connect: Callable[[], Client], films: Sequence[Film]) -> None:
    """End films that are rendered on other threads, on every server."""
    with connect() as client:
        for film in films:
            client.run(cancel, film.id, on_error="ignore")


def storyboard_of(connect: Callable[[], Client], text: str) -> dict[str, Any]:
    """What a storyboard says, whatever it is written as, as the first server that is ready reads it.

    Raises:
        NotAFilm: it is none.
        FilmFailed: there is no server.
    """
    report = Report()
    with connect() as client:
        rendering = _Rendering(client, Film({}, ""), report, lambda event: None)
        client.register_plugin(ServerPlugin())
        with rendering.followed():
            answer = first_answer(client, "/longtake/storyboard", {"text": text}, {}, report.trouble, rendering.look)
    document: dict[str, Any] = json.loads(answer["storyboard"])
    return document


def first_answer(
    client: Client,
    path: str,
    body: Any,
    files: Mapping[str, bytes],
    trouble: Callable[[str], None],
    look: Callable[[], None],
) -> Any:
    """What the first server that is ready answers.

    Args:
        files: to be in its input folder.
        trouble: is told what other servers say no with.
        look: called between two tries.

    Raises:
        NotAFilm: every server says no.
    """
    while True:
        answers = client.run(ask, path, body, files, on_error="ignore").values()
        refused = [answer for answer in answers if "refused" in answer]
        answered = [answer for answer in answers if "answer" in answer]
        if answered:
            for answer in refused:
                trouble(f"{answer['server']} cannot render this film: {answer['refused']}")
            return answered[0]["answer"]
        if refused and len(refused) == len(answers):
            raise NotAFilm(refused[0]["refused"])
        look()
        time.sleep(LOOK)


class _Rendering:
    """A film under way on a cluster."""

    def __init__(self, client: Client, film: Film, report: Report, told: Callable[[Event], None]):
        self._client, self._film, self._report, self._told = client, film, report, told
        self._looked = -LOOK
        self._ready = 0  # workers that take work
        self._alone_since: float | None = None
        self._nobody = NOBODY
        self._new_server = True
        self._pace = Pace({})
        self._handing: set[str] = set()  # servers that are slow and have been told
        self._sources: list[str] = []  # URLs of all servers, where not all of them share one store

    def run(self, deliver: bool) -> None:
        film = self._film
        self._client.register_plugin(ServerPlugin())
        with self.followed():
            plan = self._plan()
            scenes = scenes_of(plan)
            keys = [take["take"] for take in plan["takes"]]
            brought = FilmPlugin(film.id, film.graph, film.board, film.files, keys, film.takes)
            self._client.register_plugin(brought)
            self._tell({"event": "planned", "plan": plan, "scenes": scenes})
            self.look()
            self._pace = Pace(lengths_of(plan))
            self._render({scene.stages: scene for scene in scenes})
            self._report.keys = [key for key in keys if key]
            if deliver:
                film_itself = Scene(numbers=(), keys=tuple(self._report.keys), frames=0)
                delivered = self._render({DELIVERY: film_itself})[DELIVERY]
                self._report.server, self._report.files = delivered["server"], delivered["files"]

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Hear what the servers say; however it ends, leave nothing of the film on the cluster."""
        self._client.subscribe_topic(TOPIC, lambda event: self._tell(event[1]))
        try:
            yield
        except BaseException:
            # Where the scheduler is gone there is nobody to tell.
            with suppress(Exception):
                self._client.run(cancel, self._film.id, on_error="ignore")
            raise
        finally:
            with suppress(Exception):
                self._client.unregister_worker_plugin(film_name(self._film.id))

    def _tell(self, event: Event) -> None:
        if event["event"] == "up":
            self._new_server = True
        if event["event"] in ("unfit", "gone"):
            self._nobody = ALL_UNFIT if event["event"] == "unfit" else NOBODY
        if event.get("film", self._film.id) == self._film.id:
            self._report.note(event)
            self._pace.hear(event, time.monotonic())
            self._told(event)

    def _plan(self) -> dict[str, Any]:
        """The film's plan by the first server that has one.

        Raises:
            NotAFilm: every server refuses it.
        """
        board = self._film.board
        body = {"prompt": storyboard_graph(self._film.graph, board), "node": board}
        plan: dict[str, Any] = first_answer(
            self._client, "/longtake/plan", body, self._film.files, self._report.trouble, self.look
        )
        return plan

    def _render(self, scenes: Mapping[str, Scene]) -> dict[str, dict[str, Any]]:
        """Render scenes, those that come first begun first, and return what `render` says of each.

        Dask gives a task to a worker as soon as it is submitted, and a task that is tried again to one that is busy. So
        no more are submitted than there are workers, and what failed is submitted anew when one is free.
        """
        results: dict[str, dict[str, Any]] = {}
        left = {name: scene.numbers for name, scene in scenes.items()}
        begun, failures = Counter[str](), Counter[str]()
        waiting, under_way = deque(scenes), dict[Future, str]()
        while waiting or under_way:
            while waiting and len(under_way) < max(1, self._ready):
                scene = waiting.popleft()
                begun[scene] += 1
                under_way[self._submit(scene, left[scene], scenes[scene].keys, begun[scene])] = scene
            for future in self._done(set(under_way)):
                scene = under_way.pop(future)
                # A server that fails at once, its disk full, must not use up the tries while others are at work.
                result = self._result(future, last=failures[scene] >= RETRIES and not under_way)
                if result is None:
                    failures[scene] += 1
                    waiting.appendleft(scene)
                elif result["left"]:
                    left[scene] = tuple(result["left"])
                    waiting.appendleft(scene)
                else:
                    results[scene] = result
            self.look()
            self._relieve_slow()
        return results

    def _submit(self, scene: str, numbers: Sequence[int], keys: Sequence[str], begun: int) -> Future:
        key = f"render-{self._film.id}-{scene}-{begun}"
        return self._client.submit(
            render, self._film.id, scene, numbers, keys, self._sources, key=key, resources=RESOURCE
        )

    def _relieve_slow(self) -> None:
        """Have servers that are slow hand over their scenes after the stage at work, so that none holds up the film."""
        slow = self._pace.overdue(time.monotonic())
        if slow - self._handing:
            self._client.run(hand_over, self._film.id, sorted(slow), on_error="ignore")
        self._handing = slow

    def _done(self, futures: set[Future]) -> set[Future]:
        try:
            with self._client.as_current():
                done: set[Future] = wait(list(futures), timeout=LOOK, return_when="FIRST_COMPLETED").done
                return done
        except (TimeoutError, asyncio.TimeoutError):  # two before Python 3.11
            return set()
        except CancelledError:
            raise ClusterLost from None

    def _result(self, future: Future, last: bool) -> dict[str, Any] | None:
        """What `render` says; None where it failed and is to be tried again.

        Raises:
            ClusterLost: nobody knows.
            FilmFailed: this was the last try, or somebody has cancelled it.
        """
        error = future.exception()
        if isinstance(error, CancelledError):
            raise ClusterLost
        if isinstance(error, Cancelled):
            raise FilmFailed("the film was cancelled; what is rendered is stored.")
        if error is not None and last:
            raise FilmFailed(str(error))
        result: dict[str, Any] | None = None if error is not None else future.result()
        return result

    def look(self) -> None:
        """Look at the cluster, twice a second; raises `FilmFailed` where nobody is left to render."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        if self._new_server:
            self._new_server = False
            self._meet()
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        self._ready = sum(worker["status"] == "running" for worker in workers)
        if workers:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > self._nobody:
            raise FilmFailed(" ".join(["no server is left.", *self._report.troubles]))

    def _meet(self) -> None:
        """Learn which servers share folders. Those that work in one temp folder would empty it under each other, and
        those without a common store or a token would not have each other's takes: all but one are let go."""
        said = self._client.run(ask, "/longtake/server", None, {}, on_error="ignore")
        temps: dict[str, str] = {}
        stores: dict[str, str] = {}
        for worker, answer in sorted(said.items()):
            if "answer" not in answer:
                continue
            about, url = answer["answer"], answer["server"]
            if about["temp"] in temps:
                self._let_go(
                    worker,
                    f"{url} shares its temp folder with {temps[about['temp']]}; give it one of its own with "
                    "--temp-directory.",
                )
            elif stores and about["store"] not in stores and not answer["token"]:
                self._let_go(
                    worker,
                    f"{url} shares no store with {next(iter(stores.values()))}; start both with one LONGTAKE_STORE, or "
                    "servers and farm with one LONGTAKE_TOKEN, so that takes can travel.",
                )
            else:
                temps[about["temp"]] = url
                stores.setdefault(about["store"], url)
        self._sources = list(temps.values()) if len(stores) > 1 else []

    def _let_go(self, worker: str, why: str) -> None:
        self._tell({"event": "unfit", "why": why})
        self._client.retire_workers([worker], close_workers=True)
