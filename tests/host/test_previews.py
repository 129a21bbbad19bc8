"""What a stage shows of itself on its node: a small playable clip, with sound where it has any."""

from __future__ import annotations

from pathlib import Path

from tests.host import graphs, stock_ltx2
from tests.host.film import look_into
from tests.host.prompt import Result
from tests.host.server import NO_PROXY, Server


def preview(server: Server, result: Result, stage: str) -> Path | None:
    shown = result.outputs.get(stage, {}).get("images")
    if not shown:
        return None
    [entry] = shown
    assert entry["type"] == "temp"
    return server.temp / entry["subfolder"] / entry["filename"]


def test_each_stage_can_be_played_on_its_node(server: Server) -> None:
    graph = {
        "model": graphs.load_ltx2(),
        "first": graphs.ltx2_stage(prompt="someone walks into a kitchen, singing"),  # no other test has it stored
        "second": graphs.ltx2_stage("first", prompt="it stops to look around"),
        **graphs.delivered("second"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    takes = [data["take"] for data in result.of("longtake.stage_done")]
    for stage, take, frames in (("first", takes[0], 25), ("second", takes[1], 25 - 9)):  # less its overlap
        path = preview(server, result, stage)
        assert path is not None
        clip = look_into(path)
        assert (clip.frames, clip.width, clip.height) == (frames, stock_ltx2.WIDTH, stock_ltx2.HEIGHT)
        exact = clip.seconds * clip.audio_rate
        assert exact <= clip.samples < exact + 3 * 1024  # AAC holds whole packets
        path.unlink()
        # The same over HTTP, made of what is decoded.
        with NO_PROXY.open(f"{server.url}/longtake/takes/{take}/clip?first={25 - frames}&stop=25") as answer:
            path.write_bytes(answer.read())
        assert look_into(path) == clip


def test_a_stored_stage_is_shown_where_its_frames_are_at_hand_and_loads_nothing_for_it(server: Server) -> None:
    graph = {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(),
        "first": graphs.stage(prompt="a stored stage"),
        **graphs.delivered("first"),
    }
    first = server.run(graph)
    assert first.ok, first.why()
    made = preview(server, first, "first")
    assert made is not None

    server.free()
    again = server.run(graph)
    assert preview(server, again, "first") == made

    for kept in made.parent.iterdir():
        kept.unlink()
    server.free()
    last = server.run({**graph, "encode": graphs.delivered("first", "test/other")["encode"]})
    assert last.ok, last.why()
    assert preview(server, last, "first") is None
