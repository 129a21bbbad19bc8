"""What is asked is what is delivered, on a real server: where a stage ends, how it joins, and how long it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.host import graphs, stock_ltx2
from tests.host.film import look_into
from tests.host.prompt import Result
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_given_ltx2 import sampling
from tests.host.test_parity import both_latents
from tests.host.test_parity_ltx2 import assert_same, cropped, guide, photo
from tests.host.test_storyboard_ltx2 import queued

SINGLE = {"expert_split": "single model"}
SIZE = {"width": stock_ltx2.WIDTH, "height": stock_ltx2.HEIGHT}


def run(server: Server, graph: Graph, **more: Any) -> Result:
    result = server.run(graph, **more)
    assert result.ok, result.why()
    return result


def refusal(server: Server, graph: Graph) -> str:
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert not result.of("longtake.stage_started")
    return result.error["exception_message"].strip()


def frames(server: Server, result: Result) -> int:
    return look_into(server.files(result)[0]).frames


def takes(result: Result) -> list[str]:
    return [event["data"]["take"] for event in result.events if event["type"] in ENDED]


ENDED = ("longtake.stage_done", "longtake.stored_hit")


def planned(server: Server, document: dict[str, Any] | str, **nodes: Any) -> dict[str, Any]:
    graph = queued(document, validate_only=True) | nodes
    if "sampling" in nodes:
        graph["board"]["inputs"]["sampling"] = ["sampling", 0]
    return json.loads(run(server, graph).outputs["board"]["text"][0])


# ---- end images


def test_three_quarters_of_a_second_of_ltx2_end_on_the_guide_of_their_last_frame(
    server: Server, photos: dict[str, str]
) -> None:
    """18 frames of 25 are shown, so the image stands on frame 17."""
    stage = graphs.ltx2_stage(seconds=0.75, end_image=["photo", 0])
    graph = {
        **photo(photos["rocket"]),
        **stock_ltx2.loaders(),
        **stock_ltx2.empty(25),
        "guide": guide(["video", 0], ["compressed", 0], 17, 1.0),
        **stock_ltx2.sampled("pass", ["guide", 2], ["audio", 0], prompts="guide"),
        "cropped": cropped("guide"),
        "model": graphs.load_ltx2(),
        "stage": stage,
    }
    assert_same(server, graph, "pass", ["cropped", 2])
    film = {name: graph[name] for name in ("file", "photo", "model", "stage")}
    assert frames(server, run(server, {**film, **graphs.delivered("stage")})) == 18


def test_half_a_second_of_5b_ends_within_the_slot_that_holds_its_image(server: Server, photos: dict[str, str]) -> None:
    """12 frames of 13 are shown; frames 9 to 12 are the last slot, and the image stands in all of it."""
    graph = {
        **graphs.photo(photos["astronaut"]),
        "model": graphs.load("ti2v"),
        "sampling": graphs.sampling(**SINGLE),
        "stage": graphs.stage(seconds=0.5, start_image=["photo", 0], end_image=["photo", 0]),
    }
    assert frames(server, run(server, {**graph, **graphs.delivered("stage")})) == 12
    compared = {
        **graph,
        "ours": node("LongtakeChainToLatent", chain=["stage", 0], stage=0),
        "bundle": node("LongtakeSplitBundle", model=["model", 0]),
        "still": node("RepeatImageBatch", image=["photo", 0], amount=5),
        "encoded": node("VAEEncode", pixels=["still", 0], vae=["bundle", 3]),
    }
    ours, still = both_latents(server, compared, ["ours", 0], ["encoded", 0])
    assert ours.shape[2] == 4
    assert (ours[:, :, -1:] - still[:, :, 1:]).abs().max() <= 1e-5


def test_a_stage_of_14b_ends_on_its_image_and_says_how_much_later(server: Server, photos: dict[str, str]) -> None:
    graph = {
        **graphs.photo(photos["astronaut"]),
        "model": graphs.load("i2v"),
        "sampling": graphs.sampling(),
        "one": graphs.stage(seconds=1.0, start_image=["photo", 0], end_image=["photo", 0]),
        "two": graphs.stage(chain="one", seconds=1.0, transition="cut", start_image=["photo", 0]),
    }
    first = run(server, {**graph, **graphs.delivered("one")})
    assert frames(server, first) == 17
    assert any("it ends on its image, 1 frame later than asked" in text for text in first.texts)
    both = run(server, {**graph, **graphs.delivered("two")})
    assert frames(server, both) == 32, "the stage after it adds as many less"


def test_a_storyboard_of_ltx2_is_as_long_as_asked_and_ends_on_its_image(server: Server) -> None:
    stages = [{"prompt": "a fox", "seconds": 6.1, "end_image": "example.png"}]
    result = run(server, queued({"defaults": SIZE, "stages": stages}))
    assert frames(server, result) == 146
    plan = json.loads(result.outputs["board"]["text"][0])
    assert (plan["frames"], plan["stages"][0]["rendered_frames"], plan["notes"]) == (146, 153, [])


# ---- joins


def test_an_overlap_of_no_frames_is_a_plain_join_and_automatic_is_a_word(server: Server) -> None:
    def chain(overlap: Any) -> Graph:
        return {
            "model": graphs.load("ti2v"),
            "sampling": graphs.sampling(**SINGLE),
            "one": graphs.stage(frames=17),
            "two": graphs.stage(chain="one", frames=17, **{"transition.overlap": overlap}),
            **graphs.delivered("two"),
        }

    lengths = [frames(server, run(server, chain(overlap))) for overlap in ("automatic", 5, 9, 0)]
    assert lengths == [17 + 12, 17 + 12, 17 + 8, 17 + 17]


def test_a_stage_whose_chain_is_muted_says_that_it_is_dropped(server: Server) -> None:
    """The canvas leaves a muted node out of what it queues, and every link from it."""
    canvas = {
        "nodes": [
            {"id": 5, "type": "LongtakeChainStage", "title": "The middle", "mode": 2, "inputs": []},
            {"id": 6, "type": "LongtakeChainStage", "mode": 0, "inputs": [{"name": "chain", "link": 9}]},
        ],
        "links": [[9, 5, 0, 6, 8, "LONGTAKE_CHAIN"]],
    }
    graph = {"model": graphs.load("t2v"), "sampling": graphs.sampling(), "6": graphs.stage(frames=5)}
    graph |= graphs.delivered("6")
    said = "is dropped: The middle (node 5) is muted, so this is the first stage of a film of its own"
    muted = run(server, graph, extra_data={"extra_pnginfo": {"workflow": canvas}})
    assert any(said in text for text in muted.texts)
    refused = server.run(graph | {"model": graphs.load("i2v")}, extra_data={"extra_pnginfo": {"workflow": canvas}})
    assert refused.error is not None and any(said in text for text in refused.texts)
    canvas["nodes"][0]["mode"] = 0
    server.free()
    again = run(server, graph, extra_data={"extra_pnginfo": {"workflow": canvas}})
    assert not any("is dropped" in text for text in again.texts)


# ---- long stages, and words that stand for more


def test_a_long_stage_is_a_chain_by_one_word_on_the_node_and_in_a_storyboard(server: Server) -> None:
    size = {"width": 96, "height": 64}
    wired = {
        "model": graphs.load("ti2v"),
        "sampling": graphs.sampling(steps=1, **SINGLE),
        "stage": graphs.stage(seconds=8.0, seed=3, prompt="a fox", negative_prompt="", long_stages="chain", **size),
        **graphs.delivered("stage"),
    }
    result = run(server, wired)
    assert frames(server, result) == 8 * 24
    assert len(result.of("longtake.stage_done")) == 2
    document = {"defaults": {**size, "seed": 3}, "long_stages": "chain", "stages": [{"prompt": "a fox", "seconds": 8}]}
    board = graphs.storyboard(document)
    written = run(server, {**wired, "board": board, **graphs.delivered("board")})
    assert takes(written) == takes(result)
    plan = json.loads(written.outputs["board"]["text"][0])
    assert plan["notes"] == ["stage 1: long, rendered as stages 1 to 2"]


def test_a_start_image_is_the_anchor_of_every_later_stage_by_one_word(server: Server) -> None:
    stages = [{"prompt": "a fox", "start_image": "example.png"}, {"prompt": "it runs"}, {"prompt": "it rests"}]
    usual = {"seconds": 1, **SIZE}
    by_word = planned(server, {"defaults": {**usual, "anchor": "start_image"}, "stages": stages})
    named = planned(server, {"defaults": {**usual, "anchor_image": "example.png"}, "stages": stages})
    without = planned(server, {"defaults": usual, "stages": stages})
    keys = [[one["take"] for one in plan["takes"]] for plan in (by_word, named, without)]
    assert keys[0] == keys[1]
    assert keys[0][0] == keys[2][0] and not {*keys[0][1:]} & {*keys[2][1:]}
    del stages[0]["start_image"]
    document = {"defaults": {**usual, "anchor": "start_image"}, "stages": stages}
    assert refusal(server, queued(document)) == (
        "stage 2, anchor: start_image is given, and no stage before it has one; name a start image, or an anchor_image."
    )
    wan = queued({"defaults": {**SIZE, "anchor": "start_image", "start_image": "example.png"}, "stages": stages})
    assert "stage 2, anchor_image: Wan 2.2 uses an anchor image only with a smooth" in refusal(
        server, wan | {"model": graphs.load("ti2v")}
    )


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_the_strength_of_a_script_is_image_strength(server: Server, strength: float) -> None:
    def script(strength: float) -> str:
        return (
            f"[chain]\nwidth = {SIZE['width']}\nheight = {SIZE['height']}\nstrength = {strength}\n"
            '[[stage]]\nprompt = "a fox"\nframes = 25\nsource_image_path = "example.png"\n'
        )

    plan = planned(server, script(strength))
    document = {
        "defaults": SIZE,
        "stages": [{"prompt": "a fox", "frames": 25, "seed": 0, "start_image": "example.png"}],
    }
    by_node = planned(server, document, sampling=sampling(image_strength=strength))
    assert [one["take"] for one in plan["takes"]] == [one["take"] for one in by_node["takes"]]
    assert plan["notes"] == []
    wan = {**queued(script(strength)), "model": graphs.load("ti2v")}
    if strength < 1:
        assert refusal(server, wan).startswith("stage 1, image_strength: 0.6 given; this model keeps a start image")
    else:
        wan["board"]["inputs"]["validate_only"] = True
        run(server, wan)
