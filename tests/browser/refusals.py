"""See that a page marks the node that a refusal is of, not the one that looked: python tests/run.py browser.refusals"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.browser.browser import Canvas, canvas
from tests.host.place import Place
from tests.host.server import Server
from tests.host.workflows import put_inputs
from tests.tiny.models import tiny_models

WORKFLOW = "wan22_t2v_then_i2v"
STAGE = "LongtakeChainStage"

MARKED = """() => {
  const error = app.extensionManager.lastExecutionError
  return error && { node: String(error.node_id), type: error.node_type, message: error.exception_message }
}"""
OUTLINED = """() => app.graph.nodes
  .filter((node) => Object.entries(node.strokeStyles).some(([name, of]) => /error/i.test(name) && of.call(node)))
  .map((node) => String(node.id))"""
SPOIL = """() => {
  const last = app.graph.nodes.filter((node) => node.comfyClass === 'LongtakeChainStage').at(-1)
  last.widgets.find((widget) => widget.name === 'width').value = 100
  return String(last.id)
}"""


def marked(opened: Canvas, workflow: dict[str, Any]) -> tuple[str, Any, list[str]]:
    """The id of a stage that was spoiled, the error the page holds once the workflow has run, and who is outlined."""
    opened.load(workflow, WORKFLOW)
    spoiled = opened.ask(SPOIL)
    opened.ask("async () => { await app.queuePrompt(0) }")
    opened.page.wait_for_function(f"() => ({MARKED})() !== null", timeout=60_000)
    opened.settle(500)
    return spoiled, opened.ask(MARKED), opened.ask(OUTLINED)


def main() -> None:
    from tests.browser.pictures import read

    place = Place.here()
    with tempfile.TemporaryDirectory() as folder, Server(place, Path(folder), tiny_models(place)) as server:
        put_inputs(server.input)
        for nodes_2 in (False, True):
            with canvas(server, nodes_2=nodes_2) as opened:
                spoiled, error, outlined = marked(opened, read(WORKFLOW))
                assert error["node"] == spoiled, error
                assert error["type"] == STAGE
                assert outlined == [spoiled]
                assert not opened.mistakes, opened.mistakes
        print(f"node {spoiled} is marked, in both renderers")


if __name__ == "__main__":
    main()
