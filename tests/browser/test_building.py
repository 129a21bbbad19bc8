"""A film built from an empty canvas by mouse and keys, and what is done to it afterwards."""

from __future__ import annotations

import json

import pytest

from tests.browser.person import Person, template
from tests.host import stock
from tests.host.workflows import title_of

FILES = {
    "high_noise_model": stock.MODELS["ti2v"][0],
    "low_noise_model": "none",
    "text_encoder": stock.TEXT_ENCODER,
    "vae": "wan2.2_vae.safetensors",
}
SMALL = {"length__seconds": 0.5, "size": "own"}

DROP = """async ({ address, name }) => {
  const file = new File([await (await fetch(address)).blob()], name, { type: 'video/mp4' });
  const carried = new DataTransfer();
  carried.items.add(file);
  const canvas = document.querySelector('#graph-canvas');
  const at = { bubbles: true, cancelable: true, clientX: 800, clientY: 500, dataTransfer: carried };
  for (const kind of ['dragenter', 'dragover', 'drop']) canvas.dispatchEvent(new DragEvent(kind, at));
}"""
SAVED = """() => {
  const shown = Object.values(app.nodeOutputs).flatMap(({ images }) => images ?? []);
  const entry = shown.find(({ type }) => type === 'output');
  return { name: entry.filename, address: `/api/view?${new URLSearchParams(entry)}` };
}"""


def build(person: Person, words: str) -> dict[str, str]:
    """A film of one stage, its nodes searched for, linked by the mouse, its prompt typed."""
    ids = {
        "load": person.add("wan 2.2", "Load Wan 2.2", 120, 150),
        "stage": person.add("long video", "Chain Stage", 460, 150),
        "stitch": person.add("stitch", "Stitch Chain", 900, 150),
        "encode": person.add("encode video", "Encode Video", 1200, 150),
    }
    person.link(ids["load"], "model", ids["stage"], "model")
    person.link(ids["stage"], "chain", ids["stitch"], "chain")
    person.link(ids["stitch"], "video", ids["encode"], "video")
    person.choose(ids["load"], **FILES)
    person.choose(ids["stage"], **SMALL)
    person.choose(ids["stage"], size__width=96, size__height=64)
    person.choose(ids["encode"], filename_prefix="test/built")
    person.write(ids["stage"], "prompt", words)
    return ids


def test_a_film_built_by_mouse_and_keys_plays_on_its_node(person: Person) -> None:
    ids = build(person, f"a fox in the snow, {person.nodes_2}")
    assert person.queued()[ids["stage"]]["inputs"]["prompt"] == f"a fox in the snow, {person.nodes_2}"

    ended = person.run()

    assert ended.kind == "execution_success", ended
    assert person.play(ids["encode"]) == pytest.approx(0.5, abs=0.05)
    assert person.play(ids["stage"]) == pytest.approx(0.5, abs=0.05)


def film(person: Person) -> str:
    """A film of three stages, small; returns the id of the second."""
    person.load(template("wan22_i2v_long_film"))
    person.shrink()
    return person.node("LongtakeChainStage", 1)


def test_what_was_deleted_comes_back_whole(person: Person) -> None:
    stage = film(person)
    asked = person.queued()

    person.press_on(stage, "Delete")
    assert stage not in person.queued()
    person.page.keyboard.press("ControlOrMeta+z")

    person.until_queued(asked)


def test_a_copied_stage_is_asked_for_as_the_first(person: Person) -> None:
    stage = film(person)
    person.press_on(stage, "ControlOrMeta+c")

    person.page.keyboard.press("ControlOrMeta+v")

    person.page.wait_for_function("() => app.graph.nodes.some((node) => node.id > 10 && node.title === 'Stage 2')")
    values = person.ask(
        "() => app.graph.nodes.filter((node) => node.title === 'Stage 2').map((node) => node.serialize())"
    )
    assert values[0]["widgets_values"] == values[1]["widgets_values"]
    assert values[0]["size"] == values[1]["size"]


def test_a_film_is_the_same_after_a_reload(person: Person) -> None:
    film(person)
    asked = person.queued()
    saved = person.ask("() => app.graph.serialize()")

    person.canvas.open()
    person.load(saved)

    assert person.queued() == asked
    kept = person.ask("() => app.graph.serialize()")
    assert {node["id"]: node["size"] for node in kept["nodes"]} == {node["id"]: node["size"] for node in saved["nodes"]}


def test_stages_in_a_subgraph_render(person: Person) -> None:
    stage = film(person)
    person.press_on(stage, "ControlOrMeta+Shift+e")
    person.page.wait_for_function("() => app.graph.nodes.some((node) => node.subgraph)")

    ended = person.run()

    assert ended.kind == "execution_success", ended
    assert person.play(person.node("LongtakeEncodeVideo")) == pytest.approx(1.5, abs=0.05)


def test_a_film_dropped_on_the_canvas_brings_back_its_workflow(person: Person) -> None:
    person.load(template("wan22_storyboard"))
    person.shrink()
    asked = person.queued()
    assert person.run().kind == "execution_success"
    saved = person.ask(SAVED)

    person.begin_anew()
    assert person.nodes() == []
    person.page.evaluate(DROP, saved)

    person.page.wait_for_function("() => app.graph.nodes.length > 2")
    person.until_queued(asked)


def test_undo_with_nothing_to_take_back_leaves_what_was_written_in_an_earlier_graph(person: Person) -> None:
    stage = film(person)
    person.write(stage, "prompt", "words of the first graph")
    person.load(template("wan22_i2v_long_film"))  # and nothing else, which undo would take back
    asked = person.queued()
    assert asked[stage]["inputs"]["prompt"] != "words of the first graph"

    person.page.mouse.click(800, 980)
    for _ in range(3):
        person.page.keyboard.press("ControlOrMeta+z")
        person.drawn()

    assert person.queued() == asked


def test_a_film_of_six_stages_takes_at_most_twelve_acts_of_the_mouse_and_its_prompts(person: Person) -> None:
    acts: list[str] = []

    def put(words: str, x: float, y: float) -> str:
        acts.append(f"search {words}")
        return person.add(words, None, x, y)

    def link(*ends: str) -> None:
        acts.append("link")
        person.link(*ends)

    ids = {"load": put("Load Wan 2.2", 80, 150), "board": put("Render Storyboard", 400, 150)}
    ids |= {"stitch": put("Stitch Chain", 420, 800), "encode": put("Encode Video", 850, 800)}
    link(ids["load"], "model", ids["board"], "model")
    link(ids["board"], "chain", ids["stitch"], "chain")
    link(ids["stitch"], "video", ids["encode"], "video")
    person.choose(ids["load"], **FILES)
    person.choose(ids["encode"], filename_prefix="test/six")
    person.shrink()
    face = person.page.locator(".longtake-storyboard")
    for number in range(3):
        acts.append("add a stage")
        face.get_by_role("button", name="add a stage at the end").click()
        person.page.keyboard.type(f"stage {number + 4}, {person.nodes_2}")

    person.choose(ids["board"], validate_only=True)  # six stages of fifty steps prove no more

    acts.append("run")
    assert person.run().kind == "execution_success"

    assert len(json.loads(person.text(ids["board"]))["takes"]) == 6
    assert len(acts) == 11, acts


def test_a_film_of_six_stages_from_a_template_takes_four_acts_of_the_mouse_and_its_prompts(person: Person) -> None:
    prompts = [f"scene {number}, {person.nodes_2}" for number in range(1, 7)]

    person.choose_template(title_of("wan22_storyboard"))
    person.page.wait_for_function("() => app.graph.nodes.some((node) => node.type === 'LongtakeRenderStoryboard')")
    person.shrink()
    board = person.node("LongtakeRenderStoryboard")
    person.choose(board, validate_only=True)  # six stages prove no more
    person.see(board)
    person.page.get_by_role("textbox", name="prompt of stage 1", exact=True).click()
    for number, prompt in enumerate(prompts):
        for key in ("Escape", "ArrowRight", "Enter") if number else ():
            person.page.keyboard.press(key)
        person.page.keyboard.press("ControlOrMeta+a")
        person.page.keyboard.type(prompt)

    assert person.run().kind == "execution_success"  # the fourth
    document = json.loads(person.queued()[board]["inputs"]["storyboard"])
    assert [stage["prompt"] for stage in document["stages"]] == prompts
    assert len(json.loads(person.text(board))["takes"]) == 6


def test_a_node_is_dragged_from_the_library_onto_the_canvas(person: Person) -> None:
    person.page.locator(".node-library-tab-button").click()
    person.page.get_by_placeholder("Search").first.fill("Chain Stage")
    entry = person.page.locator(".comfyui-body-left, .side-tool-bar-container, aside, [class*=sidebar]").get_by_text(
        "Chain Stage", exact=True
    )

    entry.first.drag_to(person.page.locator("#graph-canvas"), target_position={"x": 900, "y": 300})

    person.page.wait_for_function("() => app.graph.nodes.some((node) => node.comfyClass === 'LongtakeChainStage')")
    person.page.locator(".node-library-tab-button").click()
