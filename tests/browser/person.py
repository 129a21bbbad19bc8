"""What a person does at the canvas and sees there, in either renderer; waits for what is meant, never for a while."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as TooLate

from tests.browser.browser import Canvas
from tests.host.workflows import canvas_file

RUN = 90_000  # milliseconds that a run of tiny models may take on a busy machine

CLEAR = """async () => {
  app.extensionManager.toast.removeAll?.();
  const empty = { last_node_id: 0, last_link_id: 0, nodes: [], links: [], groups: [], version: 0.4 };
  await app.loadGraphData(empty, true, true, 'empty');
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset[0] = app.canvas.ds.offset[1] = 0;
  app.canvas.setDirty(true, true);
}"""

DRAWN = """() => new Promise((drawn) => {
  app.canvas.setDirty(true, true);
  requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))));
})"""

LISTEN = """() => {
  window.ended = null;
  const { api } = window.comfyAPI.api;
  for (const kind of ['execution_success', 'execution_error', 'execution_interrupted']) {
    const end = ({ detail }) => (window.ended ??= { kind, message: detail.exception_message });
    api.addEventListener(kind, end, { once: true });
  }
}"""
ENDED = "() => window.ended || app.extensionManager.lastNodeErrors"

# Where a slot is on the page, in pixels.
SLOT = """([id, side, name]) => {
  const node = app.graph.getNodeById(id);
  const index = node[side].findIndex((slot) => slot.name === name);
  const dot = document.querySelector(`[data-slot-key="${id}-${side === 'inputs' ? 'in' : 'out'}-${index}"]`);
  if (dot) {
    const box = dot.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  }
  const place = side === 'inputs' ? node.getInputPos(index) : node.getOutputPos(index);
  const [x, y] = app.canvas.ds.convertOffsetToCanvas(place);
  const { left, top } = app.canvas.canvas.getBoundingClientRect();
  return [x + left, y + top];
}"""

SET = """([id, values]) => {
  const node = app.graph.getNodeById(id);
  for (const [name, value] of Object.entries(values)) {
    const widget = node.widgets.find((one) => one.name === name);
    if (!widget) throw new Error(`node ${id} has no widget ${name}: ${node.widgets.map((one) => one.name)}`);
    widget.value = value;
    widget.callback?.(value);
  }
}"""

# What a node shows, wherever the renderer keeps it.
SHOWN = """([id, selector]) => {
  const node = app.graph.getNodeById(id);
  const inside = [document.querySelector(`[data-node-id="${id}"]`), node.videoContainer];
  for (const widget of node.widgets ?? []) inside.push(widget.element);
  for (const part of inside) {
    const found = part?.matches?.(selector) ? part : part?.querySelector(selector);
    if (found) return found;
  }
  return null;
}"""

SHRINK = """() => {
  const all = app.graph.nodes.flatMap((node) => [node, ...(node.subgraph?.nodes ?? [])]);
  const sizes = { 'size.width': 96, 'size.height': 64, 'length.seconds': 0.5, steps: 2 };
  for (const node of all) {
    for (const side of ['size.width', 'size.height']) {
      const slot = node.inputs.findIndex((input) => input.name === side);
      if (slot >= 0 && node.inputs[slot].link !== null) node.disconnectInput(slot);
    }
    for (const widget of node.widgets ?? []) {
      if (widget.name in sizes) widget.value = sizes[widget.name];
      if (widget.name.startsWith('seconds of stage')) widget.value = sizes['length.seconds'];
      if (widget.name === 'storyboard') {
        const board = JSON.parse(widget.value);
        Object.assign(board.defaults, { width: 96, height: 64, seconds: 0.5 });
        widget.value = JSON.stringify(board);
      }
    }
  }
}"""


def template(name: str) -> dict[str, Any]:
    """A shipped workflow as the canvas loads it."""
    return json.loads(canvas_file(name).read_text(encoding="utf-8"))


NODES = """() => app.graph.nodes.map((node) => ({ id: String(node.id), type: node.type, title: node.title }))"""


@dataclass(frozen=True)
class Ended:
    """How a run ended: "execution_success", "execution_error" and the like, or "refused" before it began."""

    kind: str
    message: str | None = None


# Where the title bar of a node is, on the page.
TITLE = """(id) => {
  const title = document.querySelector(`[data-testid="node-header-${id}"]`)?.getBoundingClientRect();
  if (title) return [title.x + title.width / 2, title.y + title.height / 2];
  const { pos } = app.graph.getNodeById(id);
  const [x, y] = app.canvas.ds.convertOffsetToCanvas([pos[0] + 80, pos[1] - 15]);
  const { left, top } = app.canvas.canvas.getBoundingClientRect();
  return [x + left, y + top];
}"""


class Person:
    """Someone at the canvas of a running server.

    Args:
        canvas: the page.
        nodes_2: whether that draws with Nodes 2.0.
    """

    def __init__(self, canvas: Canvas, *, nodes_2: bool):
        self.canvas, self.nodes_2 = canvas, nodes_2
        self.page: Page = canvas.page

    def ask(self, script: str, argument: Any = None) -> Any:
        return self.canvas.ask(script, argument)

    def choose_template(self, title: str) -> None:
        """Open a template out of the list: two clicks, and its name to find it."""
        self.page.locator(".templates-tab-button").click()
        self.page.get_by_placeholder("Search").first.fill(title)
        self.page.locator(f'[data-testid="template-workflow-{title}"]').click()

    def begin_anew(self) -> None:
        """An empty canvas at its natural size."""
        self.page.keyboard.press("Escape")
        self.ask(CLEAR)
        self.drawn()

    def drawn(self) -> None:
        """Wait until the page has drawn what has changed."""
        self.page.evaluate(DRAWN)

    def load(self, workflow: Mapping[str, Any], name: str = "test") -> None:
        """Open a workflow as the templates do, all of it in view."""
        self.ask("async ([graph, name]) => { await app.loadGraphData(graph, true, true, name) }", [workflow, name])
        self.drawn()
        self.ask("async () => { await app.extensionManager.command.execute('Comfy.Canvas.FitView') }")
        self.drawn()

    def add(self, words: str, title: str | None, x: float, y: float) -> str:
        """Find a node by typing words, pick it by its title, and have it at a place of the page; returns its id.

        Args:
            title: None takes the first that is found, by Enter.
        """
        before = {node["id"] for node in self.nodes()}
        box = self.page.locator("[role=search] [role=combobox]")
        for _ in range(4):  # now and then a double click is taken for two
            self.page.mouse.dblclick(x, y)
            try:
                box.wait_for(timeout=1500)
                break
            except TooLate:
                continue
        box.fill(words)
        results = self.page.locator("[data-testid=result-item]")
        if title is None:
            results.filter(has_text=words).first.wait_for()
            self.page.keyboard.press("Enter")
        else:
            results.filter(has_text=re.compile(f"^{re.escape(title)}")).first.click()
        self.page.wait_for_function(f"() => app.graph.nodes.length > {len(before)}")
        self.drawn()
        (added,) = (node["id"] for node in self.nodes() if node["id"] not in before)
        self.ask("([id, x, y]) => { app.graph.getNodeById(id).pos = [x, y] }", [added, x, y])
        self.drawn()
        return added

    def nodes(self) -> list[dict[str, str]]:
        return self.ask(NODES)

    def node(self, kind: str, place: int = 0) -> str:
        """Id of a node of this type, of several the first or the one at `place`."""
        return [node["id"] for node in self.nodes() if node["type"] == kind][place]

    def link(self, source: str, output: str, target: str, entry: str) -> None:
        """Draw a link by the mouse, from an output to an input."""
        start, end = self.ask(SLOT, [source, "outputs", output]), self.ask(SLOT, [target, "inputs", entry])
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=4)
        self.page.mouse.move(*end, steps=4)
        self.page.mouse.up()
        self.page.wait_for_function(
            "([id, name]) => app.graph.getNodeById(id).inputs.find((slot) => slot.name === name).link !== null",
            arg=[target, entry],
        )

    def choose(self, node: str, **values: Any) -> None:
        """Give widgets values; a dot in a name is written as two underscores."""
        self.ask(SET, [node, {name.replace("__", "."): value for name, value in values.items()}])
        self.drawn()

    def write(self, node: str, widget: str, text: str) -> None:
        """Type into a text box of a node, in place of what is there."""
        for last in (False, False, True):  # a page that has just loaded a graph may still bring all of it into sight
            self.see(node)
            area = self.area(node, widget)
            try:
                area.click(timeout=None if last else 2000)
                break
            except TooLate:
                if last:
                    raise
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(text)
        self.page.mouse.click(800, 980)
        self.drawn()

    def area(self, node: str, widget: str) -> Locator:
        if self.nodes_2:
            return self.page.locator(f'[data-node-id="{node}"]').get_by_label(widget, exact=True)
        handle = self.page.evaluate_handle(
            "([id, name]) => app.graph.getNodeById(id).widgets.find((one) => one.name === name).element", [node, widget]
        ).as_element()
        assert handle is not None
        handle.evaluate("(area) => area.setAttribute('data-tried', '')")
        area = self.page.locator("[data-tried]")
        area.evaluate("(area, id) => { area.id = id; area.removeAttribute('data-tried') }", f"area-{node}-{widget}")
        return self.page.locator(f"#area-{node}-{widget}")

    def run(self) -> Ended:
        """Press Run and wait for the end."""
        self.ask(LISTEN)
        self.page.locator("[data-testid=queue-button]").click()
        self.page.wait_for_function(ENDED, timeout=RUN)
        ended = self.ask("() => window.ended")
        self.drawn()
        return Ended(**ended) if ended else Ended("refused", str(self.ask("() => app.extensionManager.lastNodeErrors")))

    def shrink(self) -> None:
        """Make everything as small and short as a CPU likes it."""
        self.ask(SHRINK)
        self.drawn()

    # A click soon after one at the same place, in an earlier test too, would be taken for a double click.
    apart = itertools.cycle((0, 30, 60))  # pixels; the page takes 18 for the same place

    def press_on(self, node: str, keys: str) -> None:
        """Select a node by its title bar and press keys."""
        selected = "(id) => [...app.canvas.selectedItems].some((item) => String(item.id) === id)"
        for _ in range(4):
            # Each time anew: a page that has just loaded a graph may still bring all of it into sight.
            self.see(node)
            x, y = self.ask(TITLE, node)
            self.page.mouse.click(x + next(self.apart), y)
            try:
                self.page.wait_for_function(selected, arg=node, timeout=2000)
                break
            except TooLate:
                self.page.keyboard.press("Escape")
        assert self.page.evaluate(selected, node)
        self.page.keyboard.press(keys)
        self.drawn()

    def until_queued(self, prompt: dict[str, Any]) -> None:
        """Wait until Run would queue this prompt; fails with what it would queue instead."""
        for _ in range(100):
            if self.queued() == prompt:
                return
            self.drawn()
        assert self.queued() == prompt

    def note(self, node: str) -> tuple[str, str] | None:
        """The role and the words of the note that stands on a node, where one can be seen."""
        return self.ask(
            f"(argument) => {{ const note = ({SHOWN})(argument);"
            " return note && note.isConnected ? [note.getAttribute('role'), note.textContent] : null }",
            [node, ".longtake-note"],
        )

    def until_note(self, node: str, role: str | None, words: str | None = None) -> None:
        """Wait until a note stands on a node that begins with these words, or none at all."""
        for _ in range(100):
            note = self.note(node)
            if (note is None and role is None) or (note and note[0] == role and note[1].startswith(words or "")):
                return
            self.drawn()
        raise AssertionError(f"node {node} shows {self.note(node)}, expected {role}: {words}")

    def see(self, node: str, scale: float = 1) -> None:
        """Bring a node to the middle of the page."""
        self.ask(
            """([id, scale]) => {
              const { pos, size } = app.graph.getNodeById(id);
              app.canvas.ds.scale = scale;
              app.canvas.ds.offset[0] = 700 / scale - pos[0] - size[0] / 2;
              app.canvas.ds.offset[1] = 450 / scale - pos[1] - size[1] / 2;
            }""",
            [node, scale],
        )
        self.drawn()

    def play(self, node: str) -> float:
        """Play the clip on a node; returns its length in seconds once some of it has been seen."""
        self.see(node)
        started = f"""(argument) => {{
          const video = ({SHOWN})(argument);
          if (!video || video.readyState < 2) return false;
          if (video.paused && !video.currentTime) {{
            video.muted = true;
            video.play();
          }}
          return video.currentTime > 0 && video.duration;
        }}"""
        return self.page.wait_for_function(started, arg=[node, "video"], timeout=30_000).json_value()

    def text(self, node: str) -> str:
        """The line of progress that a node shows, as it is read."""
        return self.ask(
            """(id) => {
              const node = app.graph.getNodeById(id);
              const box = document.querySelector(`[data-node-id="${id}"] .widget-text-preview textarea`);
              if (box) return box.value;
              const line = node.widgets.find((one) => one.name === '$$node-text-preview');
              const report = node.widgets.find((one) => one.name === 'longtake_report');
              return line?.value ?? report?.element.textContent ?? '';
            }""",
            node,
        )

    def queued(self) -> dict[str, Any]:
        """The prompt that Run would queue, titles left out."""
        prompt = self.ask("async () => (await app.graphToPrompt()).output")
        return {name: {k: v for k, v in node.items() if k != "_meta"} for name, node in prompt.items()}
