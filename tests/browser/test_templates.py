"""Every template opened as the person opens it, and some of them run small."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.person import Person, template
from tests.browser.workflows import without_players, without_titles
from tests.host.workflows import api_names, api_prompt, title_of

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
    person.choose_template(title_of(name))

    person.page.wait_for_function("() => app.graph.nodes.some((node) => node.type === 'LongtakeChainStage')")
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


TOGGLE_APP = "() => app.extensionManager.command.execute('Comfy.ToggleLinear')"


@pytest.mark.parametrize("name", ["wan22_i2v_long_film", "ltx2_film_with_sound"])
def test_a_template_can_be_used_as_an_app(person: Person, name: str) -> None:
    if person.nodes_2:
        pytest.skip("an app has no nodes to be drawn")
    person.load(template(name), name)
    nodes = api_prompt(name).values()
    prompts = [node["inputs"]["prompt"] for node in nodes if node["class_type"] == "LongtakeChainStage"]

    person.ask(TOGGLE_APP)

    for label in ("image", "seconds", "seed"):
        person.page.get_by_text(label, exact=True).first.wait_for()
    assert [field.input_value() for field in person.page.locator("textarea:visible").all()] == prompts
    person.ask(TOGGLE_APP)


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
