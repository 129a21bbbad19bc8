"""Heights of the nodes on both canvases, folded: python tests/run.py browser.heights [NODE ...]"""

from __future__ import annotations

import sys

from tests.browser.browser import Canvas, canvas, tiny_server
from tests.host.place import ROOT

ADD = """(kind) => {
  app.graph.clear();
  const node = LiteGraph.createNode(kind);
  node.pos = [100, 100];
  app.graph.add(node);
}"""
SIZE = "() => app.graph.nodes[0].size[1]"
DRAWN = """() => {
  const box = document.querySelector('[data-node-id]').getBoundingClientRect();
  return box.height / app.canvas.ds.scale;
}"""
TITLE = 30  # of a node, above its body


def heights(opened: Canvas, kinds: list[str], nodes_2: bool) -> dict[str, float]:
    """Canvas units of each node's body as it is when it is new."""
    found = {}
    for kind in kinds:
        opened.open()
        opened.ask(ADD, kind)
        opened.settle(1000)
        found[kind] = opened.ask(DRAWN) - TITLE if nodes_2 else opened.ask(SIZE)
        opened.page.screenshot(path=ROOT / "build" / f"{kind}_{'nodes_2' if nodes_2 else 'classic'}.png")
    return found


def main() -> None:
    kinds = sys.argv[1:] or ["LongtakeChainStage"]
    with tiny_server() as server:
        for nodes_2 in (False, True):
            with canvas(server, nodes_2=nodes_2) as opened:
                for kind, height in heights(opened, kinds, nodes_2).items():
                    print(f"{kind}, {'Nodes 2.0' if nodes_2 else 'classic'}: {height:.0f} units high")


if __name__ == "__main__":
    main()
