"""The store on real servers: kills, restarts, two servers at once, damage, and the chains that are left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.host import graphs
from tests.host.place import Place
from tests.host.server import Server, ServerDied
from tests.host.stock import Graph, node
from tests.host.workflows import put_inputs
from tests.tiny.photos import put_photos

LOADING = "Requested to load"
STARTS_OVER = "will start over if it is stopped midway"


def three_stages(photo: str, **sampling: object) -> Graph:
    return {
        **graphs.photo(photo),
        "model": graphs.load("i2v"),
        "sampling": graphs.sampling(**sampling),
        "first": graphs.stage(start_image=["photo", 0], frames=9, seed=901),
        "second": graphs.stage(chain="first", frames=9, seed=902),
        "third": graphs.stage(chain="second", frames=9, seed=903),
        **graphs.delivered("third"),
    }


def frames_in(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def takes_of(server: Server) -> set[str]:
    return {path.name for path in (server.output / "longtake" / "takes").glob("*")}


def stored_hits(result: object) -> list[int]:
    return [data["stage"] for data in result.of("longtake.stored_hit")]  # type: ignore[attr-defined]


def approved_stage_by_stage(photo: str) -> Graph:
    document = {
        "defaults": {"frames": 5, "overlap": 1, "width": 96, "height": 64, "seed": 920, "start_image": photo},
        "stages": [{"prompt": "a hill before the kill"}, {"prompt": "a valley after it"}],
    }
    return {
        "model": graphs.load("i2v"),
        "sampling": graphs.sampling(),
        "board": graphs.storyboard(document, approve=True),
        **graphs.delivered("board", "test/approved_later"),
    }


def kept_waiting(server: Server, film: Graph) -> str | None:
    """Key of the take that a film waits for after a Run."""
    result = server.run(film)
    assert result.ok, result.why()
    waits = json.loads(result.outputs["board"]["text"][0]).get("waits")
    return waits and waits["take"]


@dataclass(frozen=True)
class Killed:
    """A server that was killed in the middle of a Run and started again.

    Attributes:
        waited_for: the take that a film had been waiting for.
        stored: takes that the Run had stored before the kill.
    """

    server: Server
    waited_for: str | None
    stored: int


@pytest.fixture(scope="module")
def killed(own_server: Server, photos: dict[str, str]) -> Killed:
    waited_for = kept_waiting(own_server, approved_stage_by_stage(photos["chelsea"]))
    others = takes_of(own_server)

    def kill(event: dict) -> None:
        if event["type"] == "longtake.step" and event["data"]["stage"] == 3 and event["data"]["step"] == 3:
            own_server.kill()

    with pytest.raises(ServerDied):
        own_server.run(three_stages(photos["astronaut"]), on_event=kill)
    stored = len(takes_of(own_server) - others)
    own_server.start()
    return Killed(own_server, waited_for, stored)


def test_a_film_that_waits_for_a_yes_waits_after_a_restart_and_goes_on(killed: Killed, photos: dict[str, str]) -> None:
    film = approved_stage_by_stage(photos["chelsea"])
    asked = {"prompt": {name: film[name] for name in ("model", "sampling", "board")}}

    plan = killed.server.post("/longtake/plan", asked)
    assert [(take["status"], take.get("waits")) for take in plan["takes"]] == [("stored", True), ("held", None)]
    assert kept_waiting(killed.server, film) == killed.waited_for, "without a yes nothing more is rendered"
    killed.server.post(f"/longtake/takes/{killed.waited_for}", {"approved": True})

    second = kept_waiting(killed.server, film)
    assert second not in (None, killed.waited_for)
    killed.server.post(f"/longtake/takes/{second}", {"approved": True})
    assert kept_waiting(killed.server, film) is None


def test_a_killed_server_goes_on_where_it_was_and_shows_the_same_film(
    server: Server, killed: Killed, photos: dict[str, str]
) -> None:
    graph = three_stages(photos["astronaut"])
    undisturbed = server.run(graph)
    assert undisturbed.ok, undisturbed.why()

    assert killed.stored == 2
    result = killed.server.run(graph)
    assert result.ok, result.why()
    assert stored_hits(result) == [1, 2]
    assert [data["stage"] for data in result.of("longtake.stage_done")] == [3]
    assert "Stage 3 of 3, going on where it was stopped" in result.texts
    assert np.array_equal(frames_in(killed.server.files(result)[0]), frames_in(server.files(undisturbed)[0]))

    killed.server.restart()
    again = killed.server.run({**graph, **graphs.delivered("third", "again/film")})
    assert again.ok, again.why()
    assert stored_hits(again) == [1, 2, 3]
    assert "WAN21" not in killed.server.log.read_text()
    assert np.array_equal(frames_in(killed.server.files(again)[0]), frames_in(server.files(undisturbed)[0]))


def test_two_servers_render_one_chain_into_one_store(
    server: Server, place: Place, tiny_models: Path, photos: dict[str, str], tmp_path: Path
) -> None:
    import threading

    graph = three_stages(photos["rocket"])
    results = []
    shared = {"LONGTAKE_STORE": str(server.output / "longtake")}
    with Server(place, tmp_path, tiny_models, variables=shared) as other:
        put_inputs(other.input)
        put_photos(other.input)
        threads = [threading.Thread(target=lambda s=s: results.append(s.run(graph))) for s in (server, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [result.why() for result in results] == ["it succeeded"] * 2
    root = server.output / "longtake"
    assert not list((root / "partial").iterdir())
    assert not (root / "damaged").exists()
    done = [data["take"] for result in results for data in result.of("longtake.stage_done")]
    hits = [data["take"] for result in results for data in result.of("longtake.stored_hit")]
    assert len(set(done)) == len(done), "no stage is rendered by both"
    assert (len({*done, *hits}), len(done) + len(hits)) == (3, 6)
    assert not list((root / "claims").iterdir())


def test_a_cancelled_chain_opens_and_a_stage_goes_on_from_it(server: Server, photos: dict[str, str]) -> None:
    graph = three_stages(photos["coffee"], steps=30)

    def cancel(event: dict) -> None:
        if event["type"] == "longtake.step" and event["data"]["stage"] == 3:
            server.interrupt()

    cancelled = server.run(graph, on_event=cancel)
    assert cancelled.interrupted
    offer = next(text for text in cancelled.texts if "cancelled" in text)
    assert "Stages 1 to 2 are stored" in offer
    chain = offer.split("as chain ")[1].rstrip(".")
    opened = {
        "model": graphs.load("i2v"),
        "sampling": graphs.sampling(),
        "chain": node("LongtakeLoadChain", model=["model", 0], chain=chain, first_stage=1, last_stage=0),
        "next": graphs.stage(chain="chain", frames=9, seed=77),
        **graphs.delivered("next"),
    }
    result = server.run(opened)
    assert result.ok, result.why()
    assert len(frames_in(server.files(result)[0])) == 9 + 4 + 4


def test_a_chain_is_kept_by_name_and_a_take_is_exported(server: Server, photos: dict[str, str]) -> None:
    graph = three_stages(photos["chelsea"])
    graph["keep"] = node("LongtakeKeepChain", chain=["third", 0], name="cat film")
    rendered = server.run(graph)
    assert rendered.ok, rendered.why()
    take = rendered.of("longtake.stage_done")[1]["take"]
    opened = {
        "model": graphs.load("i2v"),
        "chain": node("LongtakeLoadChain", model=["model", 0], chain="cat film", first_stage=1, last_stage=2),
        **graphs.delivered("chain"),
        "take": node("LongtakeLoadTake", model=["model", 0], take=take[:10]),
        "clip": node("LongtakeStitchChain", chain=["take", 0]),
        "export": node("SaveVideo", video=["clip", 0], filename_prefix="clip", format="auto", codec="auto"),
    }
    result = server.run(opened)
    assert result.ok, result.why()
    assert sorted(len(frames_in(path)) for path in server.files(result)) == [9, 13]
    opened["chain"]["inputs"]["chain"] = "dog film"
    unknown = server.run(opened)
    assert "there is no chain 'dog film'" in unknown.why()


@pytest.mark.parametrize("file", ["take.json", "tensors.safetensors"])
def test_a_damaged_take_is_reported_and_rendered_again(server: Server, photos: dict[str, str], file: str) -> None:
    graph = three_stages(photos["rocket"])
    server.free()  # or ComfyUI answers out of its own memory
    before = server.run(graph)
    assert before.ok, before.why()
    found = (*before.of("longtake.stage_done"), *before.of("longtake.stored_hit"))
    keys = [data["take"] for data in sorted(found, key=lambda data: data["stage"])]
    path = server.output / "longtake" / "takes" / keys[1] / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    server.free()
    result = server.run(graph)
    assert result.ok, result.why()
    assert stored_hits(result) == [1, 3]
    assert [data["take"] for data in result.of("longtake.stage_done")] == [keys[1]]
    assert f"take {keys[1][:12]} is rendered again" in server.log.read_text()


def test_models_of_other_loaders_are_found_again_with_their_patches(own_server: Server) -> None:
    graph: Graph = {
        **graphs.photo("astronaut.png"),
        **{name: node("UNETLoader", unet_name=file, weight_dtype="default") for name, file in _parts("i2v").items()},
        "clip": node("CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan", device="default"),
        "vae": node("VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "patched": node("ModelSamplingSD3", model=["high", 0], shift=8.0),
        "model": node(
            "LongtakeUseLoadedModels",
            model=["patched", 0],
            clip=["clip", 0],
            vae=["vae", 0],
            low_noise_model=["low", 0],
        ),
        "sampling": graphs.sampling(shift=0.0),
        "first": graphs.stage(start_image=["photo", 0], frames=5),
        **graphs.delivered("first"),
    }
    first = own_server.run(graph)
    assert first.ok, first.why()
    [done] = first.of("longtake.stage_done")
    own_server.restart()
    assert [data["take"] for data in own_server.run(graph).of("longtake.stored_hit")] == [done["take"]]
    graph["patched"]["inputs"]["shift"] = 7.0
    again = own_server.run(graph)
    assert again.of("longtake.stored_hit") == []
    assert not any(STARTS_OVER in text for text in again.texts)


def test_a_model_with_a_cache_of_steps_says_on_the_node_that_its_stage_starts_over(server: Server) -> None:
    graph: Graph = {
        **{name: node("UNETLoader", unet_name=file, weight_dtype="default") for name, file in _parts("t2v").items()},
        "clip": node("CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan", device="default"),
        "vae": node("VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "cached": node(
            "EasyCache", model=["high", 0], reuse_threshold=0.2, start_percent=0.1, end_percent=0.9, verbose=False
        ),
        "model": node(
            "LongtakeUseLoadedModels",
            model=["cached", 0],
            clip=["clip", 0],
            vae=["vae", 0],
            low_noise_model=["low", 0],
        ),
        "sampling": graphs.sampling(),
        "first": graphs.stage(frames=5, seed=4711),
        **graphs.delivered("first"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    [said] = [text for text in result.texts if STARTS_OVER in text]
    assert said.startswith("Stage 1 of 1, will start over")
    assert "easycache" in said


def _parts(kind: str) -> dict[str, str]:
    from tests.host import stock

    return dict(zip(("high", "low"), stock.MODELS[kind], strict=True))
