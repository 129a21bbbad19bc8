"""A Dask worker with one ComfyUI server: what it is given to render, and what becomes of it when its server fails.

A worker takes scenes while its server answers and is fit. Where the server is gone the worker leaves the cluster, its
scenes go to others, and its nanny starts it again: it then waits for the server, or starts one. Nothing of a scene is
lost but the step at work, because takes and checkpoints lie in the store.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from distributed.core import Status

from .bucket import Bucket
from .comfyui import Installed, Owned
from .pace import BEGUN
from .scenes import Graph, scene_graph
from .server import TOKEN_IN, Failed, Gone, Refused, Server, Spoilt, Unfit

# Of the environment: a server that runs, the device for one that is started, and how long one is waited for.
SERVER, DEVICE, WAIT = "LONGTAKE_SERVER", "LONGTAKE_DEVICE", "LONGTAKE_SERVER_WAIT"
TOPIC = "longtake"
RESOURCE = {"GPU": 1}
DELIVERY = "film"  # what the delivery of a film is called among its scenes
PATIENCE = 600.0  # seconds that a server that runs elsewhere may take to come back
TOLD = 0.5  # seconds that the end of a task takes to be told
TURN = 2.0  # seconds in which another server gets what a slow one hands over
REST = 5.0  # seconds without work after a stage that failed, so that the next try is another server's


class ServerPlugin(WorkerPlugin):
    """Gives a worker its server.

    LONGTAKE_SERVER in its environment names one that runs; without it one is started, on the device that
    LONGTAKE_DEVICE names.
    """

    name = "longtake-server"
    idempotent = True  # a second film must not take the server from the first

    async def setup(self, worker: Worker) -> None:
        self._worker = worker
        self.cancelled: set[str] = set()
        self.handing: set[str] = set()  # films whose scene is to be handed over after the stage at work
        self._server: Server | None = None
        self._owned: Owned | None = None
        self._closing = threading.Event()
        self._failures = 0  # since a scene was last rendered here
        # It takes no scenes before its server answers; Dask's guard of memory must not think otherwise.
        if worker.memory_manager is not None:
            worker.memory_manager.memory_pause_fraction = False
        worker.status = Status.paused
        # A Ctrl-C in the terminal reaches this process too. The farm's cancels what is rendered, by means of this one.
        if worker.nanny is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._bringing = asyncio.create_task(self._bring_up())

    async def teardown(self, worker: Worker) -> None:
        self._closing.set()
        if self._owned is not None:
            await asyncio.to_thread(self._owned.stop)

    @property
    def server(self) -> Server:
        """Raises `Gone` while it is being started."""
        if self._server is None:
            raise Gone("the server has not started yet.")
        return self._server

    async def _bring_up(self) -> None:
        try:
            server = await asyncio.to_thread(self._ready)
        except Exception as error:
            if not self._closing.is_set():
                self.say("unfit", why=str(error) or type(error).__name__)
                await self._worker.close_gracefully(restart=False)
            return
        self._server = server
        self.say("up", pid=self._owned.process.pid if self._owned else None)
        self._worker.status = Status.running

    def _ready(self) -> Server:
        if url := os.environ.get(SERVER):
            server = Server(url, os.environ.get(TOKEN_IN, ""))
            self._wait_for(server)
        else:
            self._owned = Owned(Installed.here(), os.environ.get(DEVICE, "any"))
            self._owned.wait(self._closing.is_set)
            server = self._owned.server
        server.about()
        return server

    def _wait_for(self, server: Server) -> None:
        patience = float(os.environ.get(WAIT) or PATIENCE)
        until = time.monotonic() + patience
        while not self._closing.is_set():
            try:
                server.ask("/system_stats", timeout=10)
                return
            except Gone as gone:
                if time.monotonic() > until:
                    raise Unfit(f"{gone} It was waited for for {patience:.0f} s.") from None
            self._closing.wait(1)

    def say(self, event: str, **more: Any) -> None:
        """Tell the films that are under way."""
        url = self._server.url if self._server else os.environ.get(SERVER, "")
        said = {"event": event, "server": url, "process": os.getpid(), **more}
        self._worker.loop.add_callback(self._worker.log_event, TOPIC, said)

    def failed(self) -> None:
        """Take no work for a moment, which is twice as long each time: a full disk stays full."""
        self.rest(min(REST * 2**self._failures, PATIENCE))
        self._failures += 1

    def succeeded(self) -> None:
        self._failures = 0

    def rest(self, seconds: float) -> None:
        """Take no work for so long."""

        async def resting() -> None:
            self._worker.status = Status.paused
            await asyncio.sleep(seconds)
            if self._worker.status == Status.paused:
                self._worker.status = Status.running

        self._worker.loop.add_callback(resting)

    def leave(self, for_good: bool = False) -> None:
        """Leave the cluster as soon as what has just ended here is told; not for good, the nanny starts it again."""

        async def leaving() -> None:
            self._worker.status = Status.paused
            await asyncio.sleep(TOLD)
            await self._worker.close_gracefully(restart=not for_good)

        self._worker.loop.add_callback(leaving)


class FilmPlugin(WorkerPlugin):
    """What every scene of a film needs, brought to each worker once, and to those that come later.

    Args:
        id: of the film.
        graph: an API prompt.
        board: id of its Render Storyboard node.
        files: that it names in a server's input folder, with their contents.
        keys: that its plan gives the takes of its stages.
        takes: URL of an object store that they lie in, or nothing.
    """

    def __init__(
        self, id: str, graph: Graph, board: str, files: Mapping[str, bytes], keys: Sequence[str | None], takes: str = ""
    ):
        self.name = film_name(id)
        self.graph, self.board, self.files, self.keys, self.takes = graph, board, dict(files), list(keys), takes


def server_of(worker: Worker) -> ServerPlugin:
    plugin = worker.plugins[ServerPlugin.name]
    assert isinstance(plugin, ServerPlugin)  # noqa: S101 - nobody else registers one of this name
    return plugin


def film_of(worker: Worker, id: str) -> FilmPlugin:
    plugin = worker.plugins[film_name(id)]
    assert isinstance(plugin, FilmPlugin)  # noqa: S101
    return plugin


def film_name(id: str) -> str:
    return f"longtake-film-{id}"


def render(
    film_id: str, scene: str, numbers: Sequence[int], keys: Sequence[str], others: Sequence[str]
) -> dict[str, Any]:
    """Render a scene of a film on this worker's server, or deliver the whole of it.

    Stage after stage, each a prompt of its own: a finished stage is a take, and after it a scene can be handed over.

    Args:
        scene: its stages, as "5-6", or DELIVERY.
        numbers: of the stages that are still to be rendered.
        keys: of the takes that it is made of, as far as they are known.
        others: URLs of servers that may have some of them, where servers share no store. What is rendered here is given
            to the first of them, so that it is not lost with this server.
    """
    worker = get_worker()
    here, film = server_of(worker), film_of(worker, film_id)
    whole = film.graph if scene == DELIVERY else scene_graph(film.graph, film.board, scene)
    server, began = here.server, time.monotonic()

    def say(event: str, **more: Any) -> None:
        here.say(event, film=film_id, scene=scene, **more)

    def passed_on(kind: str, data: Mapping[str, Any]) -> None:
        if kind.startswith("longtake."):
            told = ("stage", "stages", "step", "steps", "frame", "frames", "take", "message")
            say(kind, **{name: data[name] for name in told if name in data})
        if kind == "longtake.stage_done":
            takes.give(data["take"])

    def cancelled() -> bool:
        return film_id in here.cancelled

    say("started")
    here.handing.discard(film_id)
    with _failures_told(here, say):
        for name, content in film.files.items():
            server.put_input(name, content)
        _check_same(server, film, whole)
        takes = _Takes(server, _places(film.takes, [url for url in others if url != server.url]), say)
        takes.bring(keys)
        with takes.giving():
            done = 0
            for number in numbers:
                say(BEGUN, stage=number)
                server.run(scene_graph(film.graph, film.board, str(number)), passed_on, cancelled)
                done += 1
                if film_id in here.handing and done < len(numbers):
                    break
            files = server.run(whole, passed_on, cancelled).files if scene == DELIVERY else []
    here.succeeded()
    seconds, left = time.monotonic() - began, list(numbers[done:])
    if left:
        # Whoever else is free gets it.
        here.rest(TURN)
    say("handed_over" if left else "finished", seconds=seconds)
    return {"scene": scene, "server": server.url, "seconds": seconds, "files": files, "left": left}


@contextmanager
def _failures_told(here: ServerPlugin, say: Callable[..., None]) -> Iterator[None]:
    """Tell why a scene fails, and have the worker leave or rest, as that asks for."""
    try:
        yield
    except Gone as gone:
        say("gone", why=str(gone))
        here.leave()
        raise
    except Unfit as unfit:
        say("unfit", why=str(unfit))
        here.leave(for_good=True)
        raise
    except (Failed, Refused) as failed:
        why = f"{here.server.url}: {failed}"
        say("failed", why=why)
        here.failed()
        raise Failed(why) from None


def _places(bucket: str, urls: Sequence[str]) -> list[Server | Bucket]:
    """Where takes may be: an object store first, which outlasts servers."""
    servers = [Server(url, os.environ.get(TOKEN_IN, "")) for url in urls]
    return [Bucket(bucket), *servers] if bucket else [*servers]


class _Takes:
    """Takes that go from one place to another: an object store, and servers that share no store.

    Args:
        server: this worker's.
        others: what may have takes that it lacks; what is rendered is given to the first.
    """

    def __init__(self, server: Server, others: Sequence[Server | Bucket], say: Callable[..., None]):
        self._server, self._others, self._say = server, others, say
        self._thread = ThreadPoolExecutor(1)

    def bring(self, keys: Sequence[str]) -> None:
        """Have takes here that are elsewhere; the rest is rendered.

        Raises:
            Failed: one does not get here. It would be rendered a second time, which another server need not do.
        """
        for key in keys if self._others else ():
            if not self._server.has_take(key):
                self._bring(key)

    @contextmanager
    def giving(self) -> Iterator[None]:
        """Wait at the end until all that was given has arrived."""
        with self._thread:
            yield

    def give(self, key: str) -> None:
        if self._others:
            self._thread.submit(self._give, key)

    def _give(self, key: str) -> None:
        target = self._others[0]
        try:
            if not target.has_take(key):
                target.put_take(key, self._server.take(key))
        except (Gone, Refused) as error:
            self._say("failed", why=_not_moved(self._server.url, target.url, error))

    def _bring(self, key: str) -> None:
        why = ""
        for other in self._others:
            try:
                if other.has_take(key):
                    self._server.put_take(key, other.take(key))
                    return
            except Gone:
                continue
            except Spoilt as error:
                self._say("failed", why=_not_moved(other.url, self._server.url, error))
                if isinstance(other, Bucket):
                    with suppress(Gone, Refused):
                        other.forget(key)
            except Refused as error:
                why = _not_moved(other.url, self._server.url, error)
        if why:
            raise Failed(why)


def _not_moved(source: str, target: str, error: Exception) -> str:
    return f"a take did not get from {source} to {target}: {error}"


def _check_same(server: Server, film: FilmPlugin, graph: Graph) -> None:
    """Check that a server would make the takes that the film is planned with.

    Raises:
        Unfit: it lacks a model, or has another one under its name.
    """
    try:
        plan = server.ask("/longtake/plan", {"prompt": graph, "node": film.board})
    except Refused as refused:
        raise Unfit(f"{server.url} cannot render this film: {refused}") from None
    keys = [take["take"] for take in plan["takes"] or ()]
    if keys != film.keys:
        raise Unfit(f"{server.url} would render other takes: a model or an image of the film is another one there.")


async def ask(path: str, body: Any, files: Mapping[str, bytes], dask_worker: Worker) -> dict[str, Any]:
    """What a worker's server answers, as {"answer"}, {"refused"} or {"starting"}; run on workers, not as a task."""
    try:
        server = server_of(dask_worker).server
        for name, content in files.items():
            await asyncio.to_thread(server.put_input, name, content)
        answer = await asyncio.to_thread(server.ask, path, body)
        return {"answer": answer, "server": server.url, "token": bool(os.environ.get(TOKEN_IN))}
    except Refused as refused:
        return {"refused": str(refused), "server": server.url}
    except (Gone, KeyError):
        return {"starting": True}


async def cancel(film_id: str, dask_worker: Worker) -> None:
    """Cancel a film on a worker; run on workers, not as a task."""
    server_of(dask_worker).cancelled.add(film_id)


async def hand_over(film_id: str, urls: Sequence[str], dask_worker: Worker) -> None:
    """Have servers give back what is left of their scenes after the stage at work; run on workers, not as a task."""
    here = server_of(dask_worker)
    if here.server.url in urls:
        here.handing.add(film_id)


async def thumbnail(key: str, dask_worker: Worker) -> bytes | None:
    """The picture of a take, a PNG, where a worker's server has it; run on workers, not as a task."""
    try:
        return await asyncio.to_thread(server_of(dask_worker).server.thumbnail, key)
    except (Refused, Gone, KeyError):
        return None
