"""Graphs of many shapes: what a run executes is looked at before it renders, and nothing else has a say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.host import graphs
from tests.host.prompt import Result
from tests.host.server import Server
from tests.host.stock import Graph, node

PROMPTS = "a fox\na hare\nan owl"
BAD_FRAMES = "stage {}, frames: 6 frames are given, and the model takes 4n+1; use 5 or 9"


def stage(chain: str | None = None, frames: int = 5, **changes: Any) -> dict[str, Any]:
    """A stage of text to video; every later one is a cut."""
    return graphs.stage(chain=chain, frames=frames, **({"transition": "cut"} | changes))


def bad(chain: str, **changes: Any) -> dict[str, Any]:
    return stage(chain, frames=6, **changes)


def keep(chain: str, name: str = "kept") -> dict[str, Any]:
    """An output node that shows nothing and takes no time."""
    return node("LongtakeKeepChain", chain=[chain, 0], name=name)


def switch(on: Any, on_true: str, on_false: str) -> dict[str, Any]:
    return node("ComfySwitchNode", switch=on, on_true=[on_true, 0], on_false=[on_false, 0])


def relinked(made: dict[str, Any], **links: str) -> dict[str, Any]:
    return {**made, "inputs": {**made["inputs"], **{name: [to, 0] for name, to in links.items()}}}


def each_prompt(body: str) -> dict[str, Any]:
    """A loop over three prompts around one stage."""
    return {"film": node("LongtakeTestForEach", body=body, prompts=PROMPTS)}


@dataclass(frozen=True)
class Shape:
    """A graph and what becomes of it.

    Attributes:
        refused: the node that is refused before anything renders; None where the film renders.
        says: the first line of its refusal.
        of: how many stages the first line of progress counts.
        targets: the output nodes to run.
        queued: whether ComfyUI takes it.
    """

    graph: Graph
    refused: str | None = None
    says: str = ""
    of: int | None = None
    targets: tuple[str, ...] | None = None
    queued: bool = True
    base: Graph = field(default_factory=lambda: {"model": graphs.load("t2v"), "sampling": graphs.sampling(steps=2)})


BOARD = {"defaults": {"width": 96, "height": 64, "frames": 5, "transition": "cut"}, "stages": [{"prompt": "a"}] * 2}
LORA = {
    "high_noise_lora": "ltx-2-19b-distilled-lora-384.safetensors",
    "low_noise_lora": "none",
    "strength_high": 1.0,
    "strength_low": 1.0,
}
FIRST, SECOND = {"first": stage()}, {"second": stage("first")}

SHAPES = {
    "three stages in a row": Shape({**FIRST, **SECOND, "third": stage("second"), "keep": keep("third")}, of=3),
    "a slip in the third stage": Shape(
        {**FIRST, **SECOND, "third": bad("second"), "keep": keep("third")}, "third", BAD_FRAMES.format(3)
    ),
    "a stage that nothing asks for": Shape({**FIRST, **SECOND, "loose": bad("second"), "keep": keep("second")}, of=2),
    "two branches": Shape(
        {**FIRST, "left": stage("first"), "right": bad("first"), "a": keep("left"), "b": keep("right")},
        "right",
        BAD_FRAMES.format(2),
    ),
    "two branches, one of them run": Shape(
        {**FIRST, "left": stage("first"), "right": bad("first"), "a": keep("left"), "b": keep("right")},
        of=2,
        targets=("a",),
    ),
    "a branch that ComfyUI leaves out for want of an input": Shape(
        {
            **FIRST,
            "left": stage("first"),
            "right": graphs.without(bad("first"), "prompt"),
            "a": keep("left"),
            "b": keep("right"),
        },
        of=2,
    ),
    "a switch to a good side": Shape(
        {**FIRST, "good": stage("first"), "bad": bad("first"), "if": switch(True, "good", "bad"), "keep": keep("if")},
        of=2,
    ),
    "a switch to a bad side": Shape(
        {**FIRST, "good": stage("first"), "bad": bad("first"), "if": switch(False, "good", "bad"), "keep": keep("if")},
        "bad",
        BAD_FRAMES.format(2),
    ),
    "a switch that another node decides": Shape(
        {
            **FIRST,
            "good": stage("first"),
            "bad": bad("first"),
            "which": node("PrimitiveBoolean", value=True),
            "if": switch(["which", 0], "good", "bad"),
            "keep": keep("if"),
        },
    ),
    "stages in an expanded node": Shape(
        {
            "film": node("LongtakeTestFilm", model=["model", 0], sampling=["sampling", 0], frames="5,5"),
            "after": stage("film"),
            "keep": keep("after"),
        }
    ),
    "stages in a loop": Shape(
        {
            "film": node("LongtakeTestLoop", model=["model", 0], sampling=["sampling", 0], frames="5,9,5"),
            "keep": keep("film"),
        }
    ),
    "one stage in a loop over prompts": Shape({"each": stage(), **each_prompt("each"), "keep": keep("film")}, of=3),
    "a slip in what a loop repeats that its first round does not make": Shape(
        {"each": stage(transition="smooth"), **each_prompt("each"), "keep": keep("film")},
        "each",
        "stage 2, transition: t2v-14b cannot continue",
    ),
    "ids as subgraphs give them": Shape(
        {"4:1": stage(), "4:7:2": stage("4:1"), "9:3": bad("4:7:2"), "keep": keep("9:3")}, "9:3", BAD_FRAMES.format(3)
    ),
    "a node of another pack between": Shape(
        {
            **FIRST,
            "pass": node("LongtakeTestPass", value=["first", 0]),
            "second": stage("pass"),
            "keep": keep("second"),
        }
    ),
    "a chain that is kept on its way": Shape(
        {**FIRST, "between": keep("first", "way"), "second": bad("between"), "keep": keep("second")},
        "second",
        BAD_FRAMES.format(2),
    ),
    "two films in one queue": Shape(
        {
            **FIRST,
            "a": keep("first", "one film"),
            "other": stage(seed=8),
            "second": stage("other"),
            "b": keep("second", "other film"),
        }
    ),
    "a stage behind a storyboard": Shape(
        {"board": graphs.storyboard(BOARD), "third": bad("board"), "keep": keep("third")}, "third", BAD_FRAMES.format(3)
    ),
    "a stage with a LoRA that is none": Shape(
        {
            **FIRST,
            "lora": node("LongtakeApplyLora", model=["model", 0], **LORA),
            "second": relinked(stage("first"), model="lora"),
            "keep": keep("second"),
        },
        "lora",
    ),
    "a bridge behind a storyboard, and a stage behind that": Shape(
        {
            "board": graphs.storyboard(BOARD),
            "bridge": node(
                "LongtakeBridgeStage",
                model=["model", 0],
                chain=["board", 0],
                stage=1,
                prompt="a fox again",
                negative_prompt="",
                seed=3,
                sampling=["sampling", 0],
            ),
            "third": bad("bridge"),
            "keep": keep("third"),
        },
        "third",
        BAD_FRAMES.format(3),
    ),
    "stages that are made from one another": Shape(
        {"one": stage("two"), "two": stage("one"), "keep": keep("two")}, queued=False
    ),
    "a third stage without a transition": Shape(
        {**FIRST, **SECOND, "third": graphs.without(stage("second"), "transition"), "keep": keep("third")},
        "third",
        "stage 3, transition: none is given; choose smooth, cut or fade.",
    ),
    "a third stage without a length": Shape(
        {**FIRST, **SECOND, "third": graphs.without(stage("second"), "length"), "keep": keep("third")},
        "third",
        "stage 3, length: none is given; give seconds or frames.",
    ),
    "takes that are not there, the running stage's too": Shape(
        {"first": stage(take=9999), **SECOND, "third": stage("second", take=7), "keep": keep("third")},
        "first",
        "stage 1, take: 9999 is given",
    ),
    "a take that is not there": Shape(
        {**FIRST, **SECOND, "third": stage("second", take=7), "keep": keep("third")},
        "third",
        "stage 3, take: 7 is given; stored takes of this stage: none yet. Without a take it is rendered as asked.",
    ),
}


def marked(result: Result) -> str | None:
    """The node that the page marks: the one the event names, else the one that ComfyUI puts the error on."""
    assert result.error is not None, result.why()
    events = result.of("longtake.refused")
    return events[-1]["node"] or result.error["node_id"]


def reseeded(graph: Graph, step: int) -> Graph:
    """The graph with other seeds, so that ComfyUI holds none of its stages."""
    return {
        name: {**made, "inputs": {**made["inputs"], "seed": made["inputs"]["seed"] + step}}
        if "seed" in made["inputs"]
        else made
        for name, made in graph.items()
    }


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_run_executes_is_checked_before_it_renders_and_nothing_else_is(server: Server, name: str) -> None:
    shape = SHAPES[name]
    graph = reseeded(shape.graph, 100 * list(SHAPES).index(name))
    result = server.run({**shape.base, **graph}, targets=shape.targets)
    if not shape.queued:
        assert result.refused is not None
        return
    if shape.refused is None:
        assert result.ok, result.why()
        counted = [event for kind in ("stored_hit", "stage_done") for event in result.of(f"longtake.{kind}")]
        assert counted
        if shape.of is not None:
            assert {event["stages"] for event in counted} == {shape.of}
        return
    assert marked(result) == shape.refused
    assert not result.of("longtake.stage_started")
    assert not result.of("longtake.stage_done")
    assert result.error is not None
    message = result.error["exception_message"].strip()
    assert f"node {shape.refused} (" in message or result.error["node_id"] == shape.refused
    assert message.startswith(shape.says)


def test_a_loop_over_prompts_is_one_film_and_goes_on_where_another_prompt_is_added(server: Server) -> None:
    graph = {
        "model": graphs.load("ti2v"),
        "sampling": graphs.sampling(steps=2, expert_split="single model"),
        "each": stage(seed=4242, transition="smooth", frames=9),
        **each_prompt("each"),
    }
    first = server.run({**graph, "keep": keep("film")})
    assert first.ok, first.why()
    rendered = [(event["node"], event["stage"], event["stages"]) for event in first.of("longtake.stage_done")]
    assert rendered == [("each", number, 3) for number in (1, 2, 3)]
    # On the node that a person sees, not on its copies.
    assert {data["node"] for data in first.of("progress_text") if data["text"].startswith("Stage")} == {"each"}

    graph["film"]["inputs"]["prompts"] += "\na wolf"
    longer = server.run({**graph, "keep": keep("film")})
    assert longer.ok, longer.why()
    assert [event["stage"] for event in longer.of("longtake.stored_hit")] == [1, 2, 3]
    assert [event["stage"] for event in longer.of("longtake.stage_done")] == [4]
