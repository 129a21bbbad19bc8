"""Whole films as one node: found by search, linked to what a person has, and rendered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.blueprints import BLUEPRINTS, FOLDER, Blueprint
from tests.browser.person import Person
from tests.browser.workflows import without_titles
from tests.host.server import Server
from tests.host.workflows import api_prompt

IMAGE = """() => {
  const node = LiteGraph.createNode('LoadImage');
  app.graph.add(node);
  node.widgets.find((one) => one.name === 'image').value = 'example.png';
  node.pos = [20, 500];
  return String(node.id);
}"""


def stages_of(prompt: dict[str, Any]) -> list[dict[str, Any]]:
    """What each Chain Stage of a prompt asks for, links left out."""
    return [
        {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}
        for node in prompt.values()
        if node["class_type"] == "LongtakeChainStage"
    ]


def test_the_server_offers_every_blueprint_that_is_shipped(page_server: Server) -> None:
    entries = page_server.get("/global_subgraphs")
    ours = {entry["name"]: key for key, entry in entries.items() if "longtake" in entry["info"]["node_pack"]}
    assert ours.keys() == {blueprint.name for blueprint in BLUEPRINTS} == {path.stem for path in FOLDER.iterdir()}
    for key in ours.values():
        assert '"LongtakeChainStage"' in page_server.get(f"/global_subgraphs/{key}")["data"]


@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda blueprint: blueprint.workflow)
def test_a_film_as_one_node_is_found_and_rendered(person: Person, blueprint: Blueprint) -> None:
    if (blueprint is BLUEPRINTS[0]) is person.nodes_2:
        pytest.skip("each is rendered in one of the two renderers")
    film = person.add(blueprint.name.partition(" (")[0], blueprint.name, 420, 150)
    assert stages_of(person.queued()) == stages_of(without_titles(api_prompt(blueprint.workflow)))
    encode = person.add("encode video", "Encode Video", 1000, 150)
    person.link(film, "video", encode, "video")
    if blueprint.workflow == "wan22_i2v_long_film":
        person.link(person.ask(IMAGE), "IMAGE", film, "image")
    person.choose(encode, filename_prefix="test/blueprint")
    person.shrink()

    ended = person.run()
    assert ended.kind == "execution_success", ended

    assert person.play(encode) == pytest.approx(1.5, abs=0.05)
