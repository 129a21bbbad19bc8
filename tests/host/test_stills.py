"""Render Stills on a real server: an event and a result for each image, and one file of all of them."""

from __future__ import annotations

import zipfile
from typing import Any

from tests.host import graphs
from tests.host.server import Server
from tests.host.stock import node


def stills(prompts: list[str], **inputs: Any) -> dict[str, Any]:
    return {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(),
        "stills": node(
            "LongtakeRenderStills",
            model=["model", 0],
            prompts="\n".join(prompts),
            negative_prompt="",
            seed=31,
            sampling=["sampling", 0],
            **{"size": "own", "size.width": 96, "size.height": 64},
            **inputs,
        ),
    }


def test_stills_are_told_one_by_one_and_a_cancel_loses_only_the_one_in_work(server: Server) -> None:
    prompts = ["a heron", "a mill", "a bridge at night", "a kite"]

    def cancel(event: dict[str, Any]) -> None:
        if event["type"] == "longtake.step" and event["data"]["stage"] == 3:
            server.interrupt()

    first = server.run(stills(prompts), on_event=cancel)
    assert first.interrupted
    assert [data["stage"] for data in first.of("longtake.image")] == [1, 2]

    second = server.run(stills(prompts, zip=True))
    assert second.ok, second.why()
    assert [data["stage"] for data in second.of("longtake.stored_hit")] == [1, 2]
    assert [data["stage"] for data in second.of("longtake.stage_done")] == [3, 4]
    landed = second.of("longtake.image")
    assert [data["prompt_id"] for data in landed] == [second.prompt_id] * 4
    shown = [data["image"] for data in landed]
    assert second.outputs["stills"]["images"] == shown
    assert all((server.temp / one["subfolder"] / one["filename"]).is_file() for one in shown)
    [path] = server.files(second)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 5

    third = server.run(stills(["a heron", "a water mill", "a bridge at night", "a kite"], zip=True))
    assert third.ok, third.why()
    assert [data["stage"] for data in third.of("longtake.stage_done")] == [2]
    assert server.files(third) != [path]


def test_ltx2_renders_stills_with_its_own_sampling_and_a_bar_of_all_steps(server: Server) -> None:
    graph = stills(["a heron"])
    published = {name: "as published" for name in ("schedule", "guidance", "second_pass")}
    graph |= {
        "model": graphs.load_ltx2(),
        "sampling": node(
            "LongtakeLtx2Sampling", sampler="euler", image_compression="as published", image_strength=1.0, **published
        ),
    }
    graph["stills"]["inputs"] |= {"size": "own", "size.width": 128, "size.height": 64}
    result = server.run(graph)
    assert result.ok, result.why()
    steps = result.of("longtake.step")
    assert [data["step"] for data in steps] == [*range(1, steps[0]["steps"] + 1)]
    assert max(data["max"] for data in result.of("progress")) == steps[0]["steps"]


def test_events_name_their_prompt_and_count_frames_down_to_the_film(server: Server) -> None:
    graph = {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(),
        "first": graphs.stage(prompt="told in events", frames=9),
        **graphs.delivered("first", "test/events"),
    }
    told: list[Any] = []
    result = server.run(graph, on_event=lambda event: told.append(event))
    assert result.ok, result.why()
    ours = [event for event in told if event["type"].startswith("longtake.")]
    assert {event["data"]["prompt_id"] for event in ours} == {result.prompt_id}
    assert all(event["data"]["frames"] == 9 for event in ours)
    kinds = [event["type"].removeprefix("longtake.") for event in ours]
    assert kinds[0] == "stage_started" and kinds[-1] == "encoding"
    assert "decoding" in kinds and "stage_done" in kinds
    assert ours[-1]["data"]["frame"] == 9


def test_events_go_to_the_client_whose_prompt_it_is(server: Server) -> None:
    import asyncio

    import aiohttp

    async def listen(ready: asyncio.Event, done: asyncio.Event) -> list[str]:
        heard: list[str] = []
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{server.url}/ws?clientId=somebody-else") as ws,
        ):
            ready.set()
            while not done.is_set():
                try:
                    message = await asyncio.wait_for(ws.receive(), 0.2)
                except asyncio.TimeoutError:
                    continue
                if message.type == aiohttp.WSMsgType.TEXT:
                    heard.append(message.json()["type"])
        return heard

    async def both() -> tuple[list[str], Any]:
        ready, done = asyncio.Event(), asyncio.Event()
        listening = asyncio.create_task(listen(ready, done))
        await ready.wait()
        result = await asyncio.to_thread(server.run, stills(["only for one"]))
        done.set()
        return await listening, result

    heard, result = asyncio.run(both())
    assert result.ok, result.why()
    assert result.of("longtake.stage_done")
    assert "status" in heard, "it was there"
    assert not [kind for kind in heard if kind.startswith("longtake.")]
