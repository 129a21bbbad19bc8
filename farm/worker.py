"""A Dask worker with one ComfyUI server: what it is given to render, and what becomes of it when its server fails.

A worker takes scenes while its server answers and is fit. Where the server is gone the worker leaves the cluster, its
scenes go to others, and its nanny starts it again: it then waits for the server, or starts one. Nothing of a scene is
lost but the step at work, because takes and checkpoints lie in the store.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from distributed.core import Status

from .comfyui import Installed, Owned
from .server import Cancelled, Failed, Gone, Refused, Server, Unfit

SERVER, DEVICE, WAIT = "LONGTAKE_SERVER", "LONGTAKE_DEVICE", "LONGTAKE_SERVER_WAIT"
TOPIC = "longtake"
RESOURCE = {"GPU": 1}
PATIENCE = 600.0  # seconds that a server that runs elsewhere may take to come back
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
        self._server: Server | None = None
        self._owned: Owned | None = None
        self._closing = threading.Event()
        # It takes no scenes before its server answers; Dask's guard of memory must not think otherwise.
        if worker.memory_manager is not None:
            worker.memory_manager.memory_pause_fraction = False
        worker.status = Status.paused
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
            server = Server(url)
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

    def rest(self) -> None:
        """Take no work for a moment."""

        async def resting() -> None:
            self._worker.status = Status.paused
            await asyncio.sleep(REST)
            if self._worker.status == Status.paused:
                self._worker.status = Status.running

        self._worker.loop.add_callback(resting)

    def leave(self, for_good: bool = False) -> None:
        """Leave the cluster and wait until that is done; what was to be rendered here then goes elsewhere."""
        self._worker.loop.add_callback(self._worker.close_gracefully, restart=not for_good)
        for _ in range(600):
            if self._worker.status in (Status.closing, Status.closed):
                return
            time.sleep(0.05)


class FilmPlugin(WorkerPlugin):
    """What every scene of a film needs, brought to each worker once, and to those that come later.

    Args:
        id: of the film.
        board: id of its Render Storyboard node.
        files: that it names in a server's input folder, with their contents.
        keys: that its plan gives the takes of its stages.
    """

    def __init__(self, id: str, board: str, files: Mapping[str, bytes], keys: Sequence[str | None]):
        self.name = film_name(id)
        self.id, self.board, self.files, self.keys = id, board, dict(files), list(keys)


def server_of(worker: Worker) -> ServerPlugin:
    found = worker.plugins[ServerPlugin.name]
    assert isinstance(found, ServerPlugin)  # noqa: S101 - nobody else registers one of this name
    return found


def film_of(worker: Worker, id: str) -> FilmPlugin:
    found = worker.plugins[film_name(id)]
    assert isinstance(found, FilmPlugin)  # noqa: S101
    return found


def film_name(id: str) -> str:
    return f"longtake-film-{id}"


def render(film_id: str, graph: Mapping[str, Any], scene: str) -> dict[str, Any]:
    """Render a scene of a film, or the whole of it, on this worker's server.

    Args:
        graph: the prompt.
        scene: what it is called.
    """
    worker = get_worker()
    here, film = server_of(worker), film_of(worker, film_id)
    server, began = here.server, time.monotonic()

    def say(event: str, **more: Any) -> None:
        here.say(event, film=film_id, scene=scene, **more)

    def passed_on(kind: str, data: Mapping[str, Any]) -> None:
        if kind.startswith("longtake."):
            told = ("stage", "stages", "step", "steps", "frame", "frames", "take", "message")
            say(kind, **{name: data[name] for name in told if name in data})

    say("started")
    try:
        for name, content in film.files.items():
            server.put_input(name, content)
        _check_same(server, film, graph)
        ran = server.run(graph, passed_on, lambda: film_id in here.cancelled)
    except Gone as gone:
        say("gone", why=str(gone))
        here.leave()
        raise
    except Unfit as unfit:
        say("unfit", why=str(unfit))
        here.leave(for_good=True)
        raise
    except (Failed, Refused) as failed:
        say("failed", why=str(failed))
        here.rest()
        raise
    except Cancelled:
        raise Refused(f"{scene}: cancelled.") from None
    seconds = time.monotonic() - began
    say("finished", seconds=seconds, rendered=ran.rendered, stored=ran.stored)
    return {"scene": scene, "server": server.url, "seconds": seconds, "files": ran.files}


def _check_same(server: Server, film: FilmPlugin, graph: Mapping[str, Any]) -> None:
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
        return {"answer": await asyncio.to_thread(server.ask, path, body), "server": server.url}
    except Refused as refused:
        return {"refused": str(refused), "server": server.url}
    except (Gone, KeyError):
        return {"starting": True}


async def cancel(film_id: str, dask_worker: Worker) -> None:
    """Cancel a film on a worker; run on workers, not as a task."""
    server_of(dask_worker).cancelled.add(film_id)
