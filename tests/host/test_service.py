"""docs/client.py against a real server: what a program does with the pack over ComfyUI's own queue."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from longtake.docs.client import ComfyUI

from tests.host import graphs
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import node
from tests.host.test_stills import stills


def ended(client: ComfyUI, job: str) -> str:
    late = time.monotonic() + 300
    while (state := client.job(job)) in ("waiting", "running"):
        assert time.monotonic() < late
        time.sleep(0.1)
    return state


def test_an_image_and_a_batch_of_them(server: Server, tmp_path: Path) -> None:
    client = ComfyUI(server.url)
    job = client.queue(stills(["a lighthouse", "a lighthouse by night"], zip=True))
    assert ended(client, job) == "success"
    assert client.jobs()[-1] == job
    shown = client.files(job)
    assert [file["type"] for file in shown] == ["temp", "temp", "output"]
    with zipfile.ZipFile(client.download(shown[-1], tmp_path)) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 2
    assert client.download(shown[0], tmp_path).stat().st_size


def unfinished(client: ComfyUI, graph: dict[str, Any]) -> list[str]:
    """Those of this graph; others may have been left on the server."""
    return [id for id in client.unfinished() if client._ask(f"/longtake/jobs/{id}")["prompt"] == graph]


@pytest.mark.parametrize("ending", [False, True], ids=["image to video", "first and last frame"])
def test_a_film_from_images(server: Server, photos: dict[str, str], tmp_path: Path, ending: bool) -> None:
    client = ComfyUI(server.url)
    picture = node("LoadImage", image=client.upload(server.input / photos["rocket"]))
    images = {"start_image": ["picture", 0], **({"end_image": ["picture", 0]} if ending else {})}
    stage = graphs.stage(prompt="a rocket, asked for by a program", frames=9, **images)
    graph = {"picture": picture, "model": graphs.load("i2v"), "sampling": graphs.sampling(), "stage": stage}
    graph |= graphs.delivered("stage")
    job = client.queue(graph)
    assert ended(client, job) == "success"
    [film] = [file for file in client.files(job) if file["type"] == "output"]
    assert look_into(client.download(film, tmp_path)).frames == 9
    again = client.again(job)
    assert again != job
    assert ended(client, again) == "success"
    assert unfinished(client, graph) == []


def test_what_is_refused_cancelled_or_unknown(server: Server) -> None:
    client = ComfyUI(server.url)
    assert client.job("00000000-0000-0000-0000-000000000000") == "unknown"
    with pytest.raises(HTTPError) as refused:
        client.queue({"1": {"class_type": "LongtakeNothing", "inputs": {}}})
    assert "LongtakeNothing" in json.dumps(json.loads(refused.value.read()))
    graph = {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(steps=200),
        "first": graphs.stage(prompt="a long wait"),
        **graphs.delivered("first"),
    }
    job = client.queue(graph)
    while client.job(job) in ("waiting", "running") and not unfinished(client, graph):
        time.sleep(0.05)
    client.cancel(job)
    assert ended(client, job) == "error"
    [left] = unfinished(client, graph)
    again = client.go_on(left)
    while client.job(again) == "waiting":
        time.sleep(0.05)
    client.cancel(again)
    assert ended(client, again) == "error"
    prompts = [client._ask(f"/history/{id}")[id]["prompt"][2] for id in (job, again)]
    assert prompts[0] == prompts[1]
