"""The nodes in Chinese, on the page that is set to it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.browser import opened
from tests.host.locales import read
from tests.host.server import Server

SHOWN = """(kind) => {
  const node = LiteGraph.createNode(kind);
  app.graph.add(node);
  return { title: node.title, inputs: node.inputs.map((slot) => [slot.name, slot.localized_name]) };
}"""

# What the cards say of themselves, on a node that is new.
CARDS = """async () => {
  app.graph.add(LiteGraph.createNode('LongtakeRenderStoryboard'));
  const node = app.graph.nodes.at(-1);
  return [...node.widgets.find((one) => one.name === 'cards').element.querySelectorAll('.lt-mode')]
    .map((mode) => mode.textContent);
}"""


@pytest.mark.parametrize("nodes_2", [False, True], ids=["classic", "nodes_2"])
def test_a_node_is_shown_in_chinese(browser: Browser, page_server: Server, nodes_2: bool) -> None:
    words = read("zh")["LongtakeChainStage"]
    with opened(browser, page_server, nodes_2=nodes_2, Locale="zh") as canvas:
        node = canvas.ask(SHOWN, "LongtakeChainStage")
        assert node["title"] == words["display_name"]
        names = dict(node["inputs"])
        for entry in ("model", "chain", "start_image", "prompt", "seed", "transition"):
            assert names[entry] == words["inputs"][entry]["name"]
        board = canvas.page.evaluate(CARDS)
        assert board == ["卡片", "文本"]
        assert canvas.mistakes == []
