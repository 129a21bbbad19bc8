"""Films on two real servers that the farm starts, and what goes wrong with them.

The servers are started once. One of them renders the film alone; what was rendered of it is forgotten before it is
rendered again, so that its takes and pictures can be held against those that one server made.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from distributed import Client
from PIL import Image

from farm.bucket import Bucket
from farm.cluster import attached, cluster_of, connect, owned
from farm.film import Film, Report, render_film
from farm.scenes import storyboard_graph
from farm.server import Refused, Server
from farm.sheet import MARGIN
from farm.worker import DELIVERY, TOPIC, ServerPlugin
from tests.farm import servers
from tests.host.film import look_into
from tests.host.place import Place
from tests.run import ROOT

FILM = servers.film("film")
STAGES, SCENES, FRAMES = 5, 3, 9 + 4 + 9 + 4 + 9


@dataclass
class Farm:
    """A cluster of two servers that it has started.

    Attributes:
        folder: that the servers share but for their temp folders.
        servers: by URL the process ids of the server and of its worker, as they said when they came up.
        latents, picture: of the film by key, and of what it shows, as one server made them.
    """

    folder: Path
    address: str
    servers: dict[str, tuple[int, int]] = field(default_factory=dict)
    latents: dict[str, str] = field(default_factory=dict)
    picture: str = ""

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def hear(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "up":
            self.servers[event["server"]] = (event["pid"], event["process"])

    def render(self, told: Callable[[Any], None] = lambda event: None, graph: Any = FILM) -> Report:
        def hear(event: Any) -> None:
            self.hear(event)
            told(event)

        return render_film(lambda: connect(self.address), Film(graph, "board"), hear)

    def wait_for(self, count: int) -> None:
        """Wait until so many servers run and take work: one that was killed is being started again, one that failed
        rests."""
        until = time.monotonic() + 240
        with connect(self.address) as client:
            client.register_plugin(ServerPlugin())
            while len(self.alive()) < count or ready(client) < count:
                assert time.monotonic() < until, "a server has not started"
                time.sleep(0.2)
                for _, event in client.get_events(TOPIC):
                    self.hear(event)

    def wait_file(self, url: str) -> Path:
        """That says how long a call of a model takes on a server."""
        return Path(psutil.Process(self.servers[url][0]).environ()["LONGTAKE_TEST_WAIT"])

    def forget(self) -> None:
        """Remove what was rendered of the film, and all that was made of it."""
        for key in self.latents:
            request = Request(f"{next(iter(self.alive()))}/longtake/takes/{key}", method="DELETE")
            with suppress(HTTPError):
                urlopen(request, timeout=30).close()
        shutil.rmtree(self.store / "film", ignore_errors=True)

    def alive(self) -> list[str]:
        """URLs of the servers that run."""
        return [url for url, (server, _) in self.servers.items() if psutil.pid_exists(server)]

    def assert_whole(self, report: Report, rendered: Counter[str] | None = None) -> None:
        """The film is the one that one server made, and nothing was rendered twice."""
        counts = report.rendered if rendered is None else rendered
        assert dict(counts) == dict.fromkeys(self.latents, 1), report.text()
        assert servers.latents_of(self.store, self.latents) == self.latents
        path = self.path(report)
        assert look_into(path).frames == FRAMES
        assert servers.picture_of(path) == self.picture

    def path(self, report: Report) -> Path:
        return self.path_of(report.files)

    def path_of(self, files: Sequence[Mapping[str, str]]) -> Path:
        (file,) = files
        return self.folder / "output" / file["subfolder"] / file["filename"]

    def render_on_one(self) -> None:
        """Render the film on the first server that runs, and note what it is."""
        self.wait_for(1)
        ran = Server(self.alive()[0]).run(FILM, lambda kind, data: None, lambda: False)
        self.latents = servers.latents_of(self.store, dict.fromkeys(ran.rendered, 1))
        self.picture = servers.picture_of(self.path_of(ran.files))


def ready(client: Client) -> int:
    """How many workers take work."""
    return sum(worker["status"] == "running" for worker in client.scheduler_info()["workers"].values())


@pytest.fixture(scope="module")
def farm(place: Place, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("farm")
    servers.lay_out(place, folder, tiny_models)
    started = [{**servers.environment(place, folder, number), **owned("cpu")} for number in (1, 2)]
    with cluster_of(started) as address:
        farm = Farm(folder, address)
        farm.render_on_one()
        farm.wait_for(2)
        yield farm
        processes = [psutil.Process(pid) for pids in farm.servers.values() for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert not alive, "a server outlived its farm"


def test_a_film_of_two_servers_is_the_film_of_one(farm: Farm) -> None:
    assert len(farm.latents) == STAGES
    farm.forget()
    report = farm.render()
    farm.assert_whole(report)
    assert [row.scene for row in report.rows.values()][-1] == DELIVERY


def test_two_films_at_once_share_what_they_render(farm: Farm) -> None:
    farm.forget()
    with ThreadPoolExecutor() as both:
        first, second = (film.result() for film in [both.submit(farm.render) for _ in range(2)])
    rendered = first.rendered + second.rendered
    farm.assert_whole(first, rendered)
    farm.assert_whole(second, rendered)


def test_the_longest_scenes_are_begun_first_and_a_slow_server_hands_its_one_over(farm: Farm) -> None:
    begun: list[tuple[str, str]] = []
    rendered: list[str] = []
    graph = servers.film("slow", (1, 1, 3, 3))
    plans: list[Any] = []

    def note(event: Mapping[str, Any]) -> None:
        if event["event"] == "started":
            begun.append((event["scene"], event["server"]))
        if event["event"] == "longtake.stage_done":
            rendered.append(event["server"])
        if event["event"] == "longtake.step" and event["server"] == slow and not plans:
            body = {"prompt": storyboard_graph(graph, "board"), "node": "board"}
            plans.append(Server(fast).ask("/longtake/plan", body)["takes"][event["stage"] - 1])

    slow, fast = sorted(farm.alive(), key=lambda url: farm.servers[url])
    wait = farm.wait_file(slow)
    wait.write_text(str(10 * servers.WAIT))
    try:
        farm.render(note, graph)
    finally:
        wait.write_text(str(servers.WAIT))
    first = dict(begun[:2])
    assert set(first) == {"3-5", "6-8"}, "two are begun at once"
    assert plans[0]["status"] == "new" and plans[0]["rendering"], "a plan says what another server renders"
    (of_slow,) = (scene for scene, server in first.items() if server == slow)
    assert (of_slow, fast) in begun, "it is handed over after a stage"
    assert Counter(rendered)[slow] <= 2 and len(rendered) == 8


def test_a_stage_that_fails_on_one_server_is_rendered_by_another(farm: Farm) -> None:
    broken, sound = sorted(farm.alive())
    wait = farm.wait_file(broken)
    wait.write_text("fail")
    try:
        report = farm.render(graph=servers.film("failing", (1, 1)))
    finally:
        wait.write_text(str(servers.WAIT))
    assert len(report.rendered) == 2 and set(report.rendered.values()) == {1}
    assert {row.server for row in report.rows.values() if row.scene != DELIVERY} == {sound}
    assert any("this GPU fails" in trouble for trouble in report.troubles), report.text()


def test_a_server_without_a_model_is_left_out(farm: Farm) -> None:
    graph = servers.film("model", (1, 1, 1), high_noise_model=servers.ONLY_FIRST)
    with cluster_of([attached(url) for url in farm.alive()]) as address:
        report = render_film(lambda: connect(address), Film(graph, "board"))
    assert len(report.rendered) == 3 and set(report.rendered.values()) == {1}
    assert len({row.server for row in report.rows.values()}) == 1
    assert any("cannot render this film" in trouble and servers.ONLY_FIRST in trouble for trouble in report.troubles)


def test_a_command_that_is_ended_ends_what_it_has_begun(farm: Farm, tmp_path: Path) -> None:
    """By Ctrl-C, which a terminal sends to all of its processes."""
    (tmp_path / "film.json").write_text(json.dumps(servers.film("ended", (2, 2))))
    farm_command = [sys.executable, "-m", "farm", str(tmp_path / "film.json"), "--servers", *farm.alive()]
    pipe = subprocess.PIPE
    how = {"cwd": ROOT, "stderr": pipe, "text": True, "start_new_session": True}
    # Tests that run in the background of a shell ignore Ctrl-C, and so would what they start.
    with subprocess.Popen(
        farm_command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **how
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("stages"):
                break
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130 and "cancelled; what is rendered is stored" in rest
    until = time.monotonic() + 10
    while any(busy(url) for url in farm.alive()):
        assert time.monotonic() < until, "a server still renders a cancelled film"
        time.sleep(0.1)


def busy(url: str) -> bool:
    queue = Server(url).ask("/queue")
    return bool(queue["queue_running"] or queue["queue_pending"])


def test_a_scheduler_that_is_started_again_goes_on_with_the_film(farm: Farm) -> None:
    farm.forget()
    port = lasting_port()
    with ExitStack() as ending:

        def start() -> list[subprocess.Popen[bytes]]:
            started = [dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")]
            more = ("--nthreads", "1", "--resources", "GPU=1", "--memory-limit", "0", "--no-dashboard")
            for url in farm.alive():
                started.append(dask("worker", f"tcp://127.0.0.1:{port}", *more, LONGTAKE_SERVER=url))
            for process in started:
                ending.callback(stop, process)
            return started

        first = start()

        def restart(event: Mapping[str, Any]) -> None:
            first[0].kill()
            threading.Thread(target=start, daemon=True).start()

        farm_film = Film(FILM, "board")
        report = render_film(
            lambda: connect(f"tcp://127.0.0.1:{port}"), farm_film, once("longtake.stage_done", restart)
        )
    assert any("the scheduler was lost" in trouble for trouble in report.troubles)
    assert max(report.rendered.values()) == 1
    assert servers.latents_of(farm.store, farm.latents) == farm.latents
    assert servers.picture_of(farm.path(report)) == farm.picture


def lasting_port() -> int:
    """A free port that stays free while nothing listens there.

    The ports that a system lends, from 32768 on, do not: they are lent to others, and whoever keeps trying to reach one
    on the same machine may be lent that very port and reach itself.
    """
    for port in random.sample(range(20_000, 30_000), 20):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("twenty ports are taken")


def dask(program: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    process.wait(20)


def once(kind: str, act: Callable[[Mapping[str, Any]], None], stage: int | None = None) -> Callable[[Any], None]:
    """Act at the first event of a kind."""
    seen: list[Any] = []

    def hear(event: Mapping[str, Any]) -> None:
        if event["event"] == kind and stage in (None, event.get("stage")) and not seen:
            seen.append(event)
            act(event)

    return hear


def test_a_server_killed_in_its_scene_costs_a_step(farm: Farm) -> None:
    """It is killed in the second stage of its scene: the first is stored, and is not rendered again."""
    farm.forget()
    killed: list[str] = []

    def kill(event: Mapping[str, Any]) -> None:
        if event["event"] == "longtake.step" and event["stage"] % 2 == 0 and event["step"] == 2 and not killed:
            killed.append(event["server"])
            psutil.Process(farm.servers[event["server"]][0]).kill()

    report = farm.render(kill)
    farm.assert_whole(report)
    # More often where the machine was so busy that a server counted as slow.
    assert sum(row.tries for row in report.rows.values()) >= SCENES + 1 + 1, "one scene was begun twice"
    assert any(killed[0] in trouble for trouble in report.troubles)


def test_a_server_of_another_version_is_refused(farm: Farm, tmp_path: Path) -> None:
    """The farm is of another version than the server, which is the same."""
    shutil.copytree(ROOT / "farm", tmp_path / "farm")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(re.sub(r'^version = ".*"', 'version = "99.0"', project, flags=re.M))
    (tmp_path / "film.json").write_text(json.dumps(FILM))
    ended = command(tmp_path, "film.json", "--servers", farm.alive()[0])
    assert ended.returncode == 1
    assert "has Longtake 0." in ended.stderr and "this is 99.0" in ended.stderr


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "farm", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_one_server_by_two_names_is_used_once(farm: Farm) -> None:
    """Both work in the same temp folder, as two servers would that were started with one."""
    url = farm.alive()[0]
    with cluster_of([attached(url), attached(url.replace("127.0.0.1", "localhost"))]) as address:
        report = render_film(lambda: connect(address), Film(servers.film("twice", (1, 1)), "board"))
    assert set(report.rendered.values()) == {1}
    assert len({row.server for row in report.rows.values()}) == 1
    assert any("shares its temp folder" in trouble for trouble in report.troubles)


def test_one_command_renders_a_film_and_brings_it_here(farm: Farm, tmp_path: Path) -> None:
    farm.forget()
    (tmp_path / "film.json").write_text(json.dumps(FILM))
    ended = command(ROOT, str(tmp_path / "film.json"), "--servers", *farm.alive())
    assert ended.returncode == 0, ended.stderr
    (film,) = tmp_path.glob("*.mp4")
    assert servers.picture_of(film) == farm.picture
    assert f"{STAGES} stages rendered; " in ended.stdout and "done in" in ended.stderr


def test_a_film_is_rendered_with_other_seeds_to_choose_from(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "film.json").write_text(json.dumps(servers.film("chosen", (1, 1))))
    ended = command(ROOT, str(tmp_path / "film.json"), "--seeds", "2", "--servers", *farm.alive())
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("2 stages rendered; ") == 2
    with Image.open(tmp_path / "film.seeds.png") as sheet:
        assert sheet.width > MARGIN
        half = (sheet.width - MARGIN) // 2, sheet.height // 2
        corners = [(MARGIN + half[0] * column, half[1] * row) for row in (0, 1) for column in (0, 1)]
        pictures = [sheet.crop((x, y, x + half[0], y + half[1])) for x, y in corners]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_a_killed_worker_takes_its_server_along_and_its_scene_goes_elsewhere(farm: Farm) -> None:
    farm.wait_for(2)
    farm.forget()
    killed: list[int] = []

    def kill(event: Mapping[str, Any]) -> None:
        server, worker = farm.servers[event["server"]]
        killed.append(server)
        psutil.Process(worker).kill()

    report = farm.render(once("longtake.step", kill))
    farm.assert_whole(report)
    assert not psutil.pid_exists(killed[0]), "the server ends with its worker"


def test_a_full_disk_on_one_server_leaves_the_film_to_the_other(farm: Farm, small_disk: Path) -> None:
    """The second server has a store of its own on that disk. While the first is at work it fails again and again."""
    farm.wait_for(2)
    farm.forget()
    own = servers.store_of(farm.folder, 2)
    own.unlink()
    own.symlink_to(small_disk)
    with suppress(OSError), (small_disk / "full").open("wb", buffering=0) as full:
        while True:
            full.write(bytes(4096))
    full_one = next(url for url in farm.alive() if farm.wait_file(url).name == "wait2")
    (sound_one,) = set(farm.alive()) - {full_one}
    try:
        report = farm.render()
        farm.assert_whole(report)
        again = farm.render()
    finally:
        own.unlink()
        own.symlink_to(farm.store)
    assert {row.server for row in report.rows.values()} == {sound_one}
    assert any(f"{full_one}: " in trouble and "is full" in trouble for trouble in report.troubles), report.text()
    assert not again.rendered, "what does not get onto the full disk is not rendered there"
    assert servers.picture_of(farm.path(again)) == farm.picture


def test_servers_without_a_common_store_give_each_other_takes(farm: Farm) -> None:
    """The second server gets a store of its own, as if its folder had never been shared."""
    farm.wait_for(2)
    own = servers.store_of(farm.folder, 2)
    own.unlink()
    own.mkdir()
    one, two = farm.alive()
    with cluster_of([{**attached(url), "LONGTAKE_TOKEN": ""} for url in (one, two)]) as address:
        report = render_film(lambda: connect(address), Film(servers.film("apart", (1, 1)), "board"))
    assert any("shares no store" in trouble and "LONGTAKE_TOKEN" in trouble for trouble in report.troubles)
    assert len({row.server for row in report.rows.values()}) == 1
    report = farm.render(graph=servers.film("given", (1, 1, 1, 1)))
    assert len(report.rendered) == 4 and set(report.rendered.values()) == {1}, report.text()
    assert {row.server for row in report.rows.values()} == {one, two}
    assert servers.latents_of(farm.store, report.rendered) == servers.latents_of(own, report.rendered)
    assert_guarded(two, next(iter(report.rendered)))


def test_takes_lie_in_an_object_store_and_are_had_from_there(farm: Farm, s3: str, tmp_path: Path) -> None:
    """Two servers with a store of their own each, of which only one runs at a time, as far as the farm knows."""
    farm.wait_for(2)
    one, two = farm.alive()
    graph = servers.film("bucket", (2, 1))
    (tmp_path / "film.json").write_text(json.dumps(graph))
    bucket = Bucket(f"{s3}/films")

    def render(url: str) -> str:
        ended = command(ROOT, str(tmp_path / "film.json"), "--servers", url, "--takes", bucket.url)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert "3 stages rendered; " in render(one)
    keys = [take["take"] for take in Server(one).ask("/longtake/plan", {"prompt": graph, "node": "board"})["takes"]]
    assert all(map(bucket.has_take, keys))
    spoilt = bytearray(bucket.take(keys[2]))
    spoilt[-1] ^= 1
    bucket.forget(keys[2])
    bucket.put_take(keys[2], bytes(spoilt))
    said = render(two)
    assert "1 stages rendered; " in said and "it has changed on its way" in said
    first, second = (servers.latents_of(servers.store_of(farm.folder, n), dict.fromkeys(keys, 1)) for n in (1, 2))
    assert first == second and bucket.take(keys[2]) != bytes(spoilt)
    films = [servers.picture_of(film) for film in tmp_path.glob("*.mp4")]
    assert len(films) == 2 and len(set(films)) == 1


@pytest.mark.parametrize(
    ("takes", "sentence"),
    [
        ("s3://nobody/films", "there is no such bucket"),
        ("sftp://host/films", "is no object store that can be used"),
        ("file:///nowhere/films", "is no folder that is there; make it"),
    ],
)
def test_an_object_store_that_cannot_be_used_is_said_before_anything_is_rendered(
    s3: str, tmp_path: Path, takes: str, sentence: str
) -> None:
    (tmp_path / "film.json").write_text(json.dumps(FILM))
    ended = command(ROOT, str(tmp_path / "film.json"), "--servers", "http://127.0.0.1:9", "--takes", takes)
    assert ended.returncode == 1 and sentence in ended.stderr and takes in ended.stderr


def test_who_has_no_right_to_a_bucket_is_told_to_give_other_credentials(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{s3}/guarded"
    Bucket(url).check()
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")  # from here on by somebody whom the server does not know
    with pytest.raises(Refused, match="must not be used with these credentials; allow them"):
        Bucket(url).check()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket of an S3 server that runs here; the environment says where it is."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("AWS_ENDPOINT", endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "farm"),
            ("AWS_SECRET_ACCESS_KEY", "of a test"),
            ("AWS_REGION", "us-east-1"),
            ("LONGTAKE_TOKEN", servers.COMMON),
        ):
            patch.setenv(name, value)
        urlopen(Request(f"{endpoint}/takes", method="PUT"), timeout=60).close()
        yield "s3://takes"
    server.stop()


def assert_guarded(url: str, key: str) -> None:
    """What somebody is told who has no business with takes, or brings something else."""
    for address, token, sent, status in (
        (key, "another", None, 403),
        (key, "another", b"x", 403),
        ("..%2f..%2fetc%2fpasswd", servers.COMMON, b"x", 404),
        ("0" * 64, servers.COMMON, b"x", 410),
        ("0" * 64, servers.COMMON, None, 404),
    ):
        head = {"Authorization": f"Bearer {token}"}
        request = Request(f"{url}/longtake/takes/{address}/whole", sent, head, method="PUT" if sent else "GET")
        with pytest.raises(HTTPError) as error:
            urlopen(request, timeout=30)
        assert error.value.code == status
