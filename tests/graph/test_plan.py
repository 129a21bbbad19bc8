"""Plans of odd prompts: whatever is posted is answered with a plan or a refusal, never with an error of the program."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.host.workflows import api_names, api_prompt, put_inputs

Graph = dict[str, Any]
BOARD = "LongtakeRenderStoryboard"
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 10**30, 1e308, float("nan"), "", "x" * 5000, "\0", "none", "../../secret.safetensors"),
    *([], {}, [None, 0], ["nobody", 0], ["1", "x"], ["1", 99], ["1", -1], ["1", 0.5], ["1"], [["1", 0], 0]),
    *({"__value__": 3}, {"schema": "longtake.storyboard.v1", "stages": [{"prompt": "a"}]}),
    *('{"stages": []}', '{"stages": [{"prompt": "a", "seconds": 1e999}]}', "[" * 900, "\ud800"),
)
COUNT = 581


def odd_graph(seed: int, kinds: list[str]) -> Graph:
    """A shipped workflow with one to three things wrong in it, most of them on the way to its storyboard."""
    chance = random.Random(seed)  # noqa: S311 (a test's examples)
    graph = copy.deepcopy(chance.choice(PROMPTS))
    for _ in range(chance.randint(1, 3)):
        chance.choice(MUTATIONS)(graph, chance, kinds)
    return graph


def a_node(graph: Graph, chance: random.Random) -> dict[str, Any]:
    nodes = [node for node in graph.values() if isinstance(node, dict) and isinstance(node.get("inputs"), dict)]
    return chance.choice(nodes) if nodes else {"inputs": {}}


def change_an_input(graph: Graph, chance: random.Random, _: list[str]) -> None:
    inputs = a_node(graph, chance)["inputs"]
    if inputs:
        inputs[chance.choice(sorted(inputs))] = copy.deepcopy(chance.choice(ODD))


def leave_an_input_out(graph: Graph, chance: random.Random, _: list[str]) -> None:
    inputs = a_node(graph, chance)["inputs"]
    if inputs:
        del inputs[chance.choice(sorted(inputs))]


def add_an_input(graph: Graph, chance: random.Random, _: list[str]) -> None:
    name = chance.choice(["more", "model", "storyboard", "files", "files.checkpoint", "sampling", "hidden", "cls", ""])
    a_node(graph, chance)["inputs"][name] = copy.deepcopy(chance.choice(ODD))


def link_anywhere(graph: Graph, chance: random.Random, _: list[str]) -> None:
    inputs = a_node(graph, chance)["inputs"]
    if inputs:
        inputs[chance.choice(sorted(inputs))] = [chance.choice([*graph, "gone"]), chance.choice([0, 1, 7, -1, 0.0])]


def make_a_loop(graph: Graph, chance: random.Random, _: list[str]) -> None:
    for name, node in graph.items():
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "model" in node["inputs"]:
            node["inputs"]["model"] = [name, 0]


def change_a_kind(graph: Graph, chance: random.Random, kinds: list[str]) -> None:
    a_node(graph, chance)["class_type"] = chance.choice([*kinds, "Nobody", None, 3, ["a"], {}])


def spoil_a_node(graph: Graph, chance: random.Random, _: list[str]) -> None:
    graph[chance.choice(sorted(graph))] = copy.deepcopy(chance.choice(ODD))


def spoil_all_inputs(graph: Graph, chance: random.Random, _: list[str]) -> None:
    a_node(graph, chance)["inputs"] = copy.deepcopy(chance.choice(ODD))


def put_a_node_twice(graph: Graph, chance: random.Random, _: list[str]) -> None:
    name = chance.choice(sorted(graph))
    graph[name + "'"] = copy.deepcopy(graph[name])


MUTATIONS: tuple[Callable[[Graph, random.Random, list[str]], None], ...] = (
    change_an_input,
    leave_an_input_out,
    add_an_input,
    link_anywhere,
    make_a_loop,
    change_a_kind,
    spoil_a_node,
    spoil_all_inputs,
    put_a_node_twice,
)


def storyboards() -> list[Graph]:
    """The shipped storyboards, with an image of the input folder in place of one that is connected."""
    wan, ltx2 = api_prompt("wan22_storyboard"), api_prompt("ltx2_storyboard")
    board = next(node for node in wan.values() if node["class_type"] == BOARD)
    del board["inputs"]["start_image"]
    document = json.loads(board["inputs"]["storyboard"])
    document["stages"][0]["start_image"] = PHOTO
    board["inputs"]["storyboard"] = json.dumps(document)
    return [wan, ltx2]


PHOTO = "example.png"
PROMPTS = [*storyboards() * 6, *map(api_prompt, api_names())]


@pytest.fixture
def plan_of(pack: Path) -> Callable[[Graph], Any]:
    from longtake.host.plan import plan_of

    put_inputs(pack / "input")
    return plan_of


@pytest.mark.parametrize("prompt", storyboards(), ids=["Wan 2.2", "LTX-2"])
def test_a_shipped_storyboard_is_planned(plan_of: Callable[[Graph], Any], prompt: Graph) -> None:
    plan = plan_of(prompt)
    (board,) = (node for node in prompt.values() if node["class_type"] == BOARD)
    stages = json.loads(board["inputs"]["storyboard"])["stages"]
    assert len(plan["stages"]) == len(plan["takes"]) == len(stages)


def test_an_odd_prompt_gives_a_plan_or_a_refusal(plan_of: Callable[[Graph], Any]) -> None:
    from longtake.pipelines.errors import Refusal

    import nodes

    kinds = sorted(nodes.NODE_CLASS_MAPPINGS)
    refusals, planned = set(), 0
    for seed in range(COUNT):
        graph = odd_graph(seed, kinds)
        sent = copy.deepcopy(graph)
        try:
            assert plan_of(graph)["stages"]
            planned += 1
        except Refusal as refusal:
            assert 0 < len(refusal.message) <= 400, refusal
            refusals.add(refusal.message[:60])
        assert repr(graph) == repr(sent), "a prompt is read, not changed"
    # Many ways lead to a refusal, and what is not wrong for a plan does not stop it.
    assert len(refusals) > 40
    assert planned > 40


def refusal_of(plan_of: Callable[[Graph], Any], **changes: Any) -> Any:
    """What is said of the Wan 2.2 storyboard with changes to its nodes."""
    from longtake.pipelines.errors import Refusal

    prompt = storyboards()[0]
    for node_id, inputs in changes.items():
        prompt[node_id.removeprefix("node")]["inputs"] |= inputs
    with pytest.raises(Refusal) as refused:
        plan_of(prompt)
    return refused.value


def test_a_refusal_names_the_node_and_the_field(plan_of: Callable[[Graph], Any]) -> None:
    loader = refusal_of(plan_of, node2={"vae": "gone.safetensors"})
    assert loader.field == "vae"
    assert loader.message.startswith("node 2 (LongtakeLoadWan22): Value not in list: vae: 'gone.safetensors' not in")
    lora = refusal_of(plan_of, node3={"high_noise_lora": "none", "low_noise_lora": "none", "model": ["3", 0]})
    assert "node 3 is made from itself" in lora.message
    output = refusal_of(plan_of, node5={"model": ["3", 7]})
    assert "node 5 (LongtakeRenderStoryboard)" in output.message or output.field == "model"


def test_a_plan_runs_nothing_that_loads(plan_of: Callable[[Graph], Any]) -> None:
    refusal = refusal_of(plan_of, node5={"model": ["1", 0]})
    assert "cannot be used here" in refusal.message
    assert refusal.field == "model", "so that a page can tell it from a storyboard that is refused"
    assert refusal_of(plan_of, node5={"sampling": ["1", 0]}).field == "sampling"


def test_a_number_without_a_fraction_is_the_same_as_one_with_it(plan_of: Callable[[Graph], Any]) -> None:
    # A page has one kind of number, and writes 5.0 as 5; ComfyUI queues it as 5.0.
    [written, *_] = storyboards()
    assert written["4"]["inputs"]["shift.value"] == 5.0
    page = json.loads(json.dumps(written).replace("5.0", "5").replace("1.0", "1"))
    assert page["4"]["inputs"]["shift.value"] == 5
    assert repr(page) != repr(written)
    assert plan_of(page)["takes"] == plan_of(written)["takes"]


def test_a_connected_image_is_read_where_load_image_reads_it(plan_of: Callable[[Graph], Any]) -> None:
    [named, *_] = storyboards()
    connected = api_prompt("wan22_storyboard")
    assert connected["1"]["inputs"]["image"] == PHOTO
    assert plan_of(connected)["takes"] == plan_of(named)["takes"]
    scaled = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    elsewhere = {**connected, "9": scaled, "5": copy.deepcopy(connected["5"])}
    elsewhere["5"]["inputs"]["start_image"] = ["9", 0]
    plan = plan_of(elsewhere)
    assert (plan["takes"], plan["stages_to_render"], len(plan["stages"])) == (None, None, 6)
    assert "connected image" in plan["notes"][-1]


def test_one_of_several_storyboards_is_planned_by_its_id(pack: Path) -> None:
    from longtake.host.plan import plan_of
    from longtake.pipelines.errors import Refusal

    put_inputs(pack / "input")
    [prompt, *_] = storyboards()
    prompt["other"] = {**prompt["5"], "inputs": {**prompt["5"]["inputs"], "storyboard": "a\nb"}}
    prompt["other"]["inputs"]["model"] = ["t2v", 0]
    prompt["t2v"] = copy.deepcopy(prompt["2"])
    for noise in ("high", "low"):
        name = prompt["t2v"]["inputs"][f"{noise}_noise_model"]
        prompt["t2v"]["inputs"][f"{noise}_noise_model"] = name.replace("i2v", "t2v")
    prompt["other"]["inputs"]["storyboard"] = '{"stages": [{"prompt": "a"}, {"prompt": "b", "transition": "cut"}]}'
    assert len(plan_of(prompt, "5")["stages"]) == 6
    assert len(plan_of(prompt, "other")["stages"]) == 2
    with pytest.raises(Refusal, match="2 Render Storyboard nodes are given"):
        plan_of(prompt)


LONG_FILM = "wan22_i2v_long_film"


def chain_of(prompt: Graph) -> list[str]:
    """Ids of the Chain Stages of a prompt of one chain, first to last, and of its Stitch Chain."""
    stages = [name for name, node in prompt.items() if node["class_type"] == "LongtakeChainStage"]
    (stitch,) = [name for name, node in prompt.items() if node["class_type"] == "LongtakeStitchChain"]
    return [*stages, stitch]


@pytest.mark.parametrize("name", ["wan22_i2v_long_film", "ltx2_film_with_sound"])
def test_a_film_of_chain_stages_is_planned_from_its_end(plan_of: Callable[..., Any], name: str) -> None:
    prompt = api_prompt(name)
    *stages, stitch = chain_of(prompt)

    plan = plan_of(prompt, stitch)

    assert plan["nodes"] == stages
    assert [stage["written"] for stage in plan["stages"]] == list(range(1, len(stages) + 1))
    assert [stage["prompt"] for stage in plan["stages"]] == [prompt[id]["inputs"]["prompt"] for id in stages]
    assert [take["status"] for take in plan["takes"]] == ["new"] * len(stages)
    assert plan_of(prompt, stages[-1]) == plan
    assert plan_of(prompt, stages[0])["frames"] < plan["frames"]


def test_a_plan_of_stages_says_what_is_not_known_and_refuses_as_they_would(plan_of: Callable[..., Any]) -> None:
    from longtake.pipelines.errors import Refusal

    prompt = api_prompt(LONG_FILM)
    first, *_, last, stitch = chain_of(prompt)
    prompt["scaled"] = {"class_type": "ImageInvert", "inputs": {"image": prompt[first]["inputs"]["start_image"]}}
    prompt[first]["inputs"]["start_image"] = ["scaled", 0]
    plan = plan_of(prompt, stitch)
    assert plan["takes"] is None
    assert plan["notes"][-1].startswith("what is stored is not known before the connected image is")

    prompt[last]["inputs"] |= {"size": "own", "size.width": 100, "size.height": 64}
    with pytest.raises(Refusal, match="100 is not a multiple of 16") as refused:
        plan_of(prompt, stitch)
    assert refused.value.stage == 3
    prompt[first]["inputs"]["model"] = ["scaled", 0]
    with pytest.raises(Refusal) as refused:
        plan_of(prompt, stitch)
    assert refused.value.stage is None


def test_an_odd_prompt_of_stages_gives_a_plan_or_a_refusal(plan_of: Callable[..., Any]) -> None:
    from longtake.pipelines.errors import Refusal

    import nodes

    kinds = sorted(nodes.NODE_CLASS_MAPPINGS)
    planned, refusals = 0, set()
    for seed in range(150):
        chance = random.Random(seed)  # noqa: S311 (a test's examples)
        graph = api_prompt(chance.choice([LONG_FILM, "ltx2_film_with_sound"]))
        stitch = chain_of(graph)[-1]
        for _ in range(chance.randint(1, 3)):
            chance.choice(MUTATIONS)(graph, chance, kinds)
        try:
            planned += bool(plan_of(graph, stitch)["stages"])
        except Refusal as refusal:
            assert 0 < len(refusal.message) <= 400, refusal
            refusals.add(refusal.message[:60])
    assert planned > 20
    assert len(refusals) > 20


def test_stacked_loras_are_put_on_once_each(plan_of: Callable[[Graph], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.host import choosing

    run: list[str] = []
    outputs_of = choosing.outputs_of
    monkeypatch.setattr(choosing, "outputs_of", lambda kind, inputs: run.append(kind) or outputs_of(kind, inputs))
    prompt = storyboards()[0]
    for number in range(60):
        below = f"lora {number - 1}" if number else "2"
        prompt[f"lora {number}"] = {"class_type": "LongtakeApplyLora", "inputs": {**NO_LORA, "model": [below, 0]}}
    prompt["5"]["inputs"]["model"] = ["lora 59", 0]
    assert plan_of(prompt)["stages"]
    assert run.count("LongtakeApplyLora") == 60


NO_LORA = {"high_noise_lora": "none", "low_noise_lora": "none", "strength_high": 1.0, "strength_low": 1.0}
