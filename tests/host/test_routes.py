"""The store over HTTP: what it lists, changes and refuses."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from longtake.pipelines.takes.store import Store
from PIL import Image

from tests.host import graphs
from tests.host.film import look_into
from tests.host.server import NO_PROXY, Server

BOARD = {
    "defaults": {"frames": 5, "overlap": 1, "width": 96, "height": 64, "seed": 4000},
    "stages": [{"prompt": "a hill"}, {"prompt": "a valley"}],
}


def ask(
    server: Server, method: str, path: str, body: Any = None, kind: str | None = "application/json"
) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {} if kind is None else {"Content-Type": kind}
    request = urllib.request.Request(server.url + path, data, headers, method=method)
    try:
        with NO_PROXY.open(request, timeout=30) as answer:
            raw, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        raw, status = error.read(), error.code
    try:
        return status, json.loads(raw)
    except ValueError:
        return status, raw


def prompt(image: str, **board: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(BOARD | board))
    document["defaults"]["start_image"] = image
    return {"model": graphs.load("i2v"), "sampling": graphs.sampling(), "board": graphs.storyboard(document)}


def test_a_plan_says_what_is_stored_and_what_the_rest_takes(server: Server, photos: dict[str, str]) -> None:
    graph = prompt(photos["astronaut"])
    status, before = ask(server, "POST", "/longtake/plan", {"prompt": graph})
    assert status == 200, before
    assert [take["status"] for take in before["takes"]] == ["new", "new"]
    assert before["frames"] == 9
    result = server.run(graph)
    assert result.ok, result.why()
    _, after = ask(server, "POST", "/longtake/plan", {"prompt": graph})
    assert [take["status"] for take in after["takes"]] == ["stored", "stored"]
    assert after["stages_to_render"] == after["disk_bytes"] == 0
    assert [take["take"] for take in after["takes"]] == [take["take"] for take in before["takes"]]
    assert [take["number"] for take in after["takes"]] == [1, 1]
    changed = [*BOARD["stages"][:1], {"prompt": "a desert"}]
    _, third = ask(server, "POST", "/longtake/plan", {"prompt": prompt(photos["astronaut"], stages=changed)})
    assert [take["status"] for take in third["takes"]] == ["stored", "new"]
    assert third["takes"][1]["older"] == after["takes"][1]["take"]
    assert third["rendering_seconds"] > 0
    assert 1000 < third["disk_bytes"] < 1_000_000


def test_takes_and_chains_are_listed_named_and_deleted(server: Server, photos: dict[str, str]) -> None:
    result = server.run(prompt(photos["coffee"], title="listed"))
    assert result.ok, result.why()
    keys = [data["take"] for kind in ("stage_done", "stored_hit") for data in result.of(f"longtake.{kind}")]
    _, listed = ask(server, "GET", "/longtake/takes?limit=1000")
    assert set(keys) <= {take["key"] for take in listed["takes"]}
    assert listed["total"] == len(listed["takes"])
    _, chains = ask(server, "GET", "/longtake/chains")
    mine = next(chain for chain in chains["chains"] if [stage["take"] for stage in chain["stages"]] == keys)

    assert ask(server, "POST", f"/longtake/chains/{mine['id']}", {"name": "coffee"})[1]["name"] == "coffee"
    status, refused = ask(server, "DELETE", f"/longtake/takes/{keys[0]}")
    assert (status, refused["field"]) == (400, "take")
    assert "'coffee' needs this take" in refused["error"]
    ask(server, "POST", f"/longtake/chains/{mine['id']}", {"name": ""})
    _, noted = ask(server, "POST", f"/longtake/takes/{keys[0]}", {"name": "best", "keep": True})
    assert (noted["name"], noted["keep"], noted["prompt"]) == ("best", True, "a hill")
    assert ask(server, "DELETE", f"/longtake/takes/{keys[0]}")[0] == 400
    ask(server, "POST", f"/longtake/takes/{keys[0]}", {"keep": False})
    assert ask(server, "DELETE", f"/longtake/takes/{keys[0]}")[0] == 200
    assert ask(server, "GET", f"/longtake/takes/{keys[0]}")[0] == 404
    assert ask(server, "DELETE", f"/longtake/chains/{mine['id']}")[0] == 200
    assert ask(server, "GET", f"/longtake/chains/{mine['id']}")[0] == 404
    # ComfyUI still holds the chain; the deleted take is rendered again and the other one is not.
    again = server.run(prompt(photos["coffee"], title="listed"))
    assert [data["take"] for data in again.of("longtake.stage_done")] == keys[:1]


def test_a_take_has_a_thumbnail(server: Server, photos: dict[str, str]) -> None:
    result = server.run(prompt(photos["rocket"]))
    [key, *_] = [data["take"] for kind in ("stage_done", "stored_hit") for data in result.of(f"longtake.{kind}")]
    status, data = ask(server, "GET", f"/longtake/takes/{key}/thumbnail")
    assert status == 200
    assert Image.open(io.BytesIO(data)).size == (168, 112)


def test_what_the_film_shows_of_a_take_is_played_once_its_frames_are_decoded(
    server: Server, photos: dict[str, str], tmp_path: Path
) -> None:
    graph = prompt(
        photos["chelsea"], title="played", stages=[{"prompt": "a played hill"}, {"prompt": "a played valley"}]
    )
    assert server.run(graph).ok
    _, plan = ask(server, "POST", "/longtake/plan", {"prompt": graph})
    first, second = (take["take"] for take in plan["takes"])
    assert ask(server, "GET", f"/longtake/takes/{first}/clip")[0] == 200, "the second goes on from its frames"
    assert [stage["shows"] for stage in plan["stages"]] == [[0, 5], [1, 5]]
    path = f"/longtake/takes/{second}/clip?first=1&stop=5"
    status, answer = ask(server, "GET", path)
    assert (status, "its frames are not decoded" in answer["error"]) == (404, True)
    assert server.run({**graph, **graphs.delivered("board", "test/played")}).ok
    status, data = ask(server, "GET", path)
    assert status == 200
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(data)
    assert look_into(clip).frames == 4
    status, answer = ask(server, "GET", f"/longtake/takes/{second}/clip?first=1&stop=6")
    assert (status, answer["field"]) == (400, "stop")


def test_a_plan_counts_the_stages_that_are_to_be_rendered(server: Server, photos: dict[str, str]) -> None:
    graph = prompt(photos["chelsea"], stages=[{"prompt": "counted"}, {"prompt": "left out"}])
    graph["board"]["inputs"]["stages"] = "1"
    _, plan = ask(server, "POST", "/longtake/plan", {"prompt": graph})
    assert ([take["status"] for take in plan["takes"]], plan["stages_to_render"]) == (["new", "left"], 1)


@pytest.mark.parametrize(
    "path",
    [
        "/longtake/takes/..%2f..%2fchains",
        "/longtake/takes/" + "g" * 64,
        "/longtake/takes/" + "a" * 63,
        "/longtake/takes/" + "A" * 64,
        "/longtake/takes/%2e%2e",
        "/longtake/chains/..%2f..%2f..%2finput",
        "/longtake/chains/" + "0" * 17,
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_nothing_outside_the_store_can_be_named(server: Server, path: str, method: str) -> None:
    status, _ = ask(server, method, path, {"name": "x"} if method == "POST" else None)
    assert status in (404, 405)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/longtake/plan", {}, "prompt"),
        ("/longtake/plan", {"prompt": {"a": {"class_type": "KSampler", "inputs": {}}}}, "prompt"),
        ("/longtake/plan", {"prompt": {}, "more": 1}, "more"),
        ("/longtake/prune", {}, "bytes"),
        ("/longtake/prune", {"bytes": "all"}, "bytes"),
        ("/longtake/prune", {"bytes": True}, "bytes"),
        ("/longtake/prune", {"bytes": -1}, "bytes"),
        ("/longtake/limit", {"bytes": -1}, "bytes"),
        ("/longtake/prune", [], None),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(server: Server, path: str, body: Any, field: str | None) -> None:
    status, answer = ask(server, "POST", path, body)
    assert status == 400
    assert answer["field"] == field


def test_a_plan_runs_no_node_that_loads_or_renders(server: Server) -> None:
    graph = {
        "model": {"class_type": "UNETLoader", "inputs": {"unet_name": "x", "weight_dtype": "default"}},
        "board": graphs.storyboard(BOARD),
    }
    status, answer = ask(server, "POST", "/longtake/plan", {"prompt": graph})
    assert status == 400
    assert "cannot be used here" in answer["error"]


ODD_PLANS: dict[str, dict[str, Any]] = {
    "an output that is not there": {"board": {**graphs.storyboard(BOARD), "inputs": {"model": ["model", 9]}}},
    "a link that is none": {"board": {**graphs.storyboard(BOARD), "inputs": {"model": ["1", "x"]}}},
    "nodes in a loop": {"model": {"class_type": "LongtakeApplyLora", "inputs": {"model": ["model", 0]}}},
    "a model file that is not there": {"model": graphs.load("i2v", vae="gone.safetensors")},
    "a node that is nothing": {"model": None},
}


@pytest.mark.parametrize("changes", ODD_PLANS.values(), ids=ODD_PLANS.keys())
def test_an_odd_prompt_is_refused_by_the_plan_in_a_sentence(
    server: Server, photos: dict[str, str], changes: dict[str, Any]
) -> None:
    status, answer = ask(server, "POST", "/longtake/plan", {"prompt": prompt(photos["astronaut"]) | changes})
    assert status == 400, answer
    assert 10 < len(answer["error"]) < 400


def test_a_storyboard_that_cannot_be_rendered_is_refused_by_the_plan(server: Server, photos: dict[str, str]) -> None:
    bad = [{"prompt": "a"}, {"prompt": "b", "frames": 6}]
    status, answer = ask(server, "POST", "/longtake/plan", {"prompt": prompt(photos["rocket"], stages=bad)})
    assert status == 400
    assert "stage 2" in answer["error"]
    assert (answer["stage"], answer["field"]) == (2, "frames")


def test_whatever_a_storyboard_is_written_as_is_read_as_json(server: Server) -> None:
    status, answer = ask(server, "POST", "/longtake/storyboard", {"text": "a hill\na valley"})
    assert status == 200
    assert [stage["prompt"] for stage in json.loads(answer["storyboard"])["stages"]] == ["a hill", "a valley"]
    status, again = ask(server, "POST", "/longtake/storyboard", {"text": answer["storyboard"]})
    assert (status, again["storyboard"]) == (200, answer["storyboard"])
    status, refused = ask(server, "POST", "/longtake/storyboard", {"text": '{"stages": [{"prompt": "a", "mood": 1}]}'})
    assert (status, refused["stage"], refused["field"]) == (400, 1, "mood")


def test_verify_finds_damage_and_pruning_leaves_what_the_server_holds(server: Server, photos: dict[str, str]) -> None:
    film = server.run(prompt(photos["chelsea"]))
    assert film.ok, film.why()
    held = {data["take"] for kind in ("stage_done", "stored_hit") for data in film.of(f"longtake.{kind}")}
    assert ask(server, "POST", "/longtake/verify")[1] == {"problems": []}
    _, done = ask(server, "POST", "/longtake/prune", {"bytes": 0})
    assert held and not held & set(done["removed"])
    assert ask(server, "POST", "/longtake/limit", {"bytes": 10**12})[1] == {"bytes": 10**12}
    assert ask(server, "GET", "/longtake/limit")[1] == {"bytes": 10**12}
    ask(server, "POST", "/longtake/limit", {"bytes": None})
    assert ask(server, "GET", "/longtake/limit")[1] == {"bytes": None}


POSTS = ("storyboard", "chains/" + "0" * 16, "takes/" + "0" * 64, "plan", "verify", "prune", "limit")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_what_a_page_of_another_origin_can_send_unasked_is_refused(server: Server, path: str, kind: str | None) -> None:
    body = None if path == "verify" and kind is None else {"bytes": 0}
    status, answer = ask(server, "POST", f"/longtake/{path}", body, kind)
    assert status == 415
    assert "application/json is needed" in answer["error"]


def test_a_post_may_name_its_charset(server: Server) -> None:
    assert ask(server, "POST", "/longtake/limit", {"bytes": None}, "application/json; charset=utf-8")[0] == 200


@pytest.mark.parametrize("text", ["-1", "x", "0" * 5000 + "1", "9" * 10])
def test_a_number_that_is_none_is_refused(server: Server, text: str) -> None:
    status, answer = ask(server, "GET", f"/longtake/takes?limit={text}")
    assert (status, answer["field"]) == (400, "limit")


@pytest.mark.parametrize("body", ["[" * 100_000, '{"bytes": ' + "9" * 5000 + "}", '{"bytes": 0', '{"bytes": NaN}', ""])
def test_a_body_that_is_no_json_object_is_refused(server: Server, body: str) -> None:
    request = urllib.request.Request(
        server.url + "/longtake/prune", body.encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        NO_PROXY.open(request, timeout=30)
    assert caught.value.code == 400
    assert len(json.loads(caught.value.read())["error"]) < 300


@contextmanager
def held_up(path: Path) -> Iterator[None]:
    """A file that nobody finishes reading before the end of this: a pipe that is written to only then."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with a name")
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    try:
        yield
    finally:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                break
            except OSError:  # nobody reads it yet
                time.sleep(0.01)
        path.unlink(missing_ok=True)  # read as nothing, it is put aside as damaged


@pytest.mark.parametrize(
    ("file", "method", "path", "body"),
    [
        ("limit.json", "GET", "limit", None),
        (f"chains/{'e' * 16}.json", "GET", "chains/" + "e" * 16, None),
        (f"chains/{'e' * 16}.json", "POST", "chains/" + "e" * 16, {"name": "x"}),
        (f"chains/{'e' * 16}.json", "DELETE", "chains/" + "e" * 16, None),
        (f"takes/{'e' * 64}/take.json", "GET", "takes/" + "e" * 64, None),
        (f"takes/{'e' * 64}/take.json", "POST", "takes/" + "e" * 64, {"keep": True}),
    ],
)
def test_the_server_answers_others_while_a_file_is_slow(
    unloaded: Server, file: str, method: str, path: str, body: Any
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        held_up(unloaded.output / "longtake" / file),
    ):
        slow = pool.submit(ask, unloaded, method, f"/longtake/{path}", body)
        time.sleep(0.2)
        assert not slow.done()
        with NO_PROXY.open(unloaded.url + "/", timeout=5) as page:
            assert page.status == 200
        assert not slow.done()


def test_the_store_is_verified_once_at_a_time_and_others_are_answered_meanwhile(unloaded: Server) -> None:
    server = unloaded
    with ThreadPoolExecutor(12) as pool:
        with held_up(server.output / "longtake" / "takes" / ("e" * 64) / "take.json"):
            asked = [pool.submit(ask, server, "POST", "/longtake/verify", {}) for _ in range(12)]
            deadline = time.monotonic() + 20
            while sum(one.done() for one in asked) < 11 and time.monotonic() < deadline:
                time.sleep(0.05)
            with NO_PROXY.open(server.url + "/", timeout=5) as page:
                assert page.status == 200
            assert ask(server, "GET", "/longtake/limit")[0] == 200
            answers = [one.result() for one in asked if one.done()]
            assert [status for status, _ in answers] == [409] * 11
            assert "verified already" in answers[0][1]["error"]
        assert sorted(one.result()[0] for one in asked) == [200] + [409] * 11
    assert ask(server, "POST", "/longtake/verify", {})[0] == 200


def test_a_name_and_a_keep_mark_given_at_once_are_both_kept(unloaded: Server) -> None:
    key = "d" * 64
    Store(unloaded.output / "longtake").write(key, {"latent": torch.zeros(4)}, {})
    path = f"/longtake/takes/{key}"
    with ThreadPoolExecutor(2) as pool:
        for round in range(20):
            ask(unloaded, "POST", path, {"name": "", "keep": False})
            notes = [{"name": f"name {round}"}, {"keep": True}]
            statuses = [status for status, _ in pool.map(lambda note: ask(unloaded, "POST", path, note), notes)]
            assert statuses == [200, 200]
            _, take = ask(unloaded, "GET", path)
            assert (take["name"], take["keep"]) == (f"name {round}", True)


def test_damage_is_gone_and_what_is_not_there_is_not_found(unloaded: Server) -> None:
    root = unloaded.output / "longtake"
    for key, file in (("a" * 64, "tensors.safetensors"), ("b" * 64, "take.json")):
        path = f"/longtake/takes/{key}"
        assert ask(unloaded, "GET", path)[0] == 404
        take = Store(root).write(key, {"latent": torch.zeros(4)}, {})
        status, answer = ask(unloaded, "GET", path + "/thumbnail")
        assert (status, answer["error"]) == (404, "this take has no thumbnail")
        (take.path / file).write_bytes(b"{}")
        status, answer = ask(unloaded, "GET", path + "/thumbnail")
        assert status == 410
        assert answer["error"]
        shutil.rmtree(take.path)


def test_a_film_that_is_approved_stage_by_stage_waits_for_each_yes_and_goes_on(
    server: Server, photos: dict[str, str]
) -> None:
    def film(second: int) -> dict[str, Any]:
        stages = [{"prompt": "an approved hill"}, {"prompt": "an approved valley", "seed": second}]
        graph = prompt(photos["chelsea"], title="approved", stages=stages)
        graph["board"]["inputs"]["approve"] = True
        return {**graph, **graphs.delivered("board", "test/approved")}

    def run(graph: dict[str, Any]) -> tuple[list[int], Any, bool]:
        """Which stages were rendered, what the run waits for, and whether there is a film."""
        result = server.run(graph)
        assert result.ok, result.why()
        waits = json.loads(result.outputs["board"]["text"][0]).get("waits")
        told = [(data["stage"], data["take"]) for data in result.of("longtake.waiting")]
        # ComfyUI answers the same prompt from its cache, and tells nothing once more.
        assert told in ([], [(waits["stage"], waits["take"])] if waits else [])
        return [data["stage"] for data in result.of("longtake.stage_done")], waits, bool(server.files(result))

    def states(graph: dict[str, Any]) -> list[tuple[str, bool | None]]:
        _, plan = ask(server, "POST", "/longtake/plan", {"prompt": without_film(graph)})
        return [(take["status"], take.get("waits")) for take in plan["takes"]]

    def approve(waits: dict[str, Any]) -> None:
        status, noted = ask(server, "POST", f"/longtake/takes/{waits['take']}", {"approved": True})
        assert (status, noted["approved"]) == (200, True)

    assert states(film(1)) == [("new", False), ("held", None)]
    rendered, waits, delivered = run(film(1))
    assert (rendered, waits["stage"], delivered) == ([1], 1, False)
    assert states(film(1)) == [("stored", True), ("held", None)]
    assert run(film(1))[0] == [], "without a yes nothing more is rendered"
    approve(waits)
    assert states(film(1)) == [("stored", False), ("new", False)]
    rendered, waits, delivered = run(film(1))
    assert (rendered, waits["stage"], delivered) == ([2], 2, False)
    first_take = waits["take"]
    rendered, waits, delivered = run(film(2))
    assert (rendered, waits["stage"], delivered) == ([2], 2, False), "another take, and the first stage stays"
    assert waits["take"] != first_take
    approve(waits)
    assert run(film(2)) == ([], None, True)
    assert states(film(1)) == [("stored", False), ("stored", True)], "a yes is to one take"


def without_film(graph: dict[str, Any]) -> dict[str, Any]:
    return {name: node for name, node in graph.items() if name not in ("stitch", "encode")}


def test_a_server_says_what_tells_it_from_others_and_moves_no_takes_unless_told(server: Server) -> None:
    status, about = ask(server, "GET", "/longtake/server")
    assert status == 200 and set(about) == {"version", "temp", "store"}
    assert about == ask(server, "GET", "/longtake/server")[1] and about["temp"] != about["store"]
    for method in ("GET", "PUT"):
        status, said = ask(server, method, f"/longtake/takes/{'0' * 64}/whole", {} if method == "PUT" else None)
        assert status == 403 and "LONGTAKE_TOKEN" in said["error"]
