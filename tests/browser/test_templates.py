"""Every template opened as the person opens it, and some of them run small."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.person import Person, template
from tests.browser.workflows import APPS, without_players, without_titles
from tests.host.workflows import api_names, api_prompt

# Nodes as they are drawn, and the groups they must lie in or clear of: [left, top, right, bottom] in canvas units.
DRAWN = """() => {
  const boxes = app.graph.nodes.map((node) => {
    const drawn = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect();
    const [left, top] = node.pos;
    const height = drawn ? drawn.height / app.canvas.ds.scale - 30 : node.size[1];
    return [node.id, left, top - 30, left + node.size[0], top + height];
  });
  const groups = app.graph.groups.map(
    ({ title, pos, size }) => [title, pos[0], pos[1], pos[0] + size[0], pos[1] + size[1]]);
  return { boxes, groups };
}"""


def crossing(boxes: list[list[Any]]) -> list[tuple[Any, Any]]:
    return [
        (one[0], other[0])
        for count, one in enumerate(boxes)
        for other in boxes[count + 1 :]
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]


@pytest.mark.parametrize("name", api_names())
def test_a_template_opens_whole_and_queues_what_its_api_file_says(person: Person, name: str) -> None:
    person.load(template(name), name)

    assert without_players(person.queued()) == without_titles(api_prompt(name))
    assert person.canvas.complaints() == []
    drawn = person.ask(DRAWN)
    assert crossing(drawn["boxes"]) == []
    assert crossing(drawn["groups"]) == []


def test_a_template_is_found_in_the_list_and_opened_by_a_click(person: Person) -> None:
    name = "wan22_i2v_long_film"
    person.open_template(name)

    assert without_players(person.queued()) == without_titles(api_prompt(name))
    colours = person.ask(COLOURS)
    assert colours.keys() == {"LONGTAKE_MODEL", "LONGTAKE_CHAIN", "LONGTAKE_SAMPLING"}
    for link, slot in colours.values():
        assert link == slot
    assert len({link for link, _ in colours.values()}) == 3, "each kind has a colour of its own"
    assert person.ask(CUT) == []


# Of each type of ours that is linked: the colour of its links, and that of the sockets they come from.
COLOURS = """() => {
  const seen = {};
  const rgb = (colour) => {
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.color = colour;
    const computed = getComputedStyle(probe).color;
    probe.remove();
    return computed;
  };
  for (const { type, origin_id, origin_slot } of app.graph.links.values()) {
    if (!type.startsWith('LONGTAKE')) continue;
    const dot = document.querySelector(`[data-slot-key="${origin_id}-out-${origin_slot}"] .slot-dot`);
    const slot = dot ? getComputedStyle(dot).backgroundColor : app.canvas.default_connection_color_byType[type];
    seen[type] = [rgb(app.canvas.constructor.link_type_colors[type]), rgb(slot)];
  }
  return seen;
}"""
# Nodes whose title has not the room it needs.
CUT = """() => {
  const pen = document.createElement('canvas').getContext('2d');
  return app.graph.nodes.filter((node) => {
    const title = document.querySelector(`[data-testid="node-header-${node.id}"] .truncate`);
    if (title) return title.scrollWidth > title.clientWidth;
    pen.font = node.titleFontStyle;
    return pen.measureText(node.title).width > node.size[0] - 2 * LiteGraph.NODE_TITLE_HEIGHT;
  }).map((node) => node.title);
}"""


@pytest.mark.parametrize("name", APPS)
def test_the_app_of_a_template_asks_for_its_prompts(person: Person, name: str) -> None:
    if (name == APPS[0]) is person.nodes_2:
        pytest.skip("each is opened in one of the two renderers")
    person.load(template(name), name)
    stages = [node for node in api_prompt(name).values() if node["class_type"] == "LongtakeChainStage"]

    person.ask(TOGGLE_APP)
    asked = person.page.locator("[data-testid=linear-widgets] textarea")
    asked.nth(len(stages) - 1).wait_for()
    shown = [area.input_value() for area in asked.all()]
    person.ask(TOGGLE_APP)

    assert shown == [stage["inputs"]["prompt"] for stage in stages]


TOGGLE_APP = "() => app.extensionManager.command.execute('Comfy.ToggleLinear')"


RUN = {
    "classic": ("wan22_storyboard", "ltx2_film_with_sound"),
    "nodes_2": ("wan22_t2v_then_i2v", "wan22_first_last_bridge"),
}


@pytest.mark.parametrize("which", [0, 1])
def test_a_template_renders_a_film_that_plays(person: Person, which: int) -> None:
    name = RUN["nodes_2" if person.nodes_2 else "classic"][which]
    person.load(template(name), name)
    person.shrink()

    ended = person.run()

    assert ended.kind == "execution_success", ended
    assert person.play(person.node("LongtakeEncodeVideo")) > 0.9
