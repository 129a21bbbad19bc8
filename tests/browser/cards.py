"""Cards of a storyboard, by mouse and keyboard, in both renderers: python tests/run.py browser.cards"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator

from tests.browser.browser import Canvas, canvas, tiny_server
from tests.host import graphs
from tests.host.place import ROOT

BOARD = """{
  "schema": "longtake.storyboard.v1",
  "defaults": {"frames": 5, "overlap": 1, "width": 96, "height": 64, "seed": 9000},
  "stages": [
    {"prompt": "a hill"},
    {"prompt": "a valley"},
    {"prompt": "the sea"}
  ]
}"""
KIND = "LongtakeRenderStoryboard"
OPEN = """async (prompt) => {
  await app.loadApiJson(prompt, 'cards')
  const board = app.graph.nodes.find((node) => node.comfyClass === 'LongtakeRenderStoryboard')
  board.setSize([1100, 560])
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [120 - board.pos[0], 140 - board.pos[1]]
  app.canvas.setDirty(true, true)
  await new Promise((done) => setTimeout(done, 500))
  app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()
}"""
TEXT = """() => app.graph.nodes.find((node) => node.comfyClass === 'LongtakeRenderStoryboard')
  .widgets.find((widget) => widget.name === 'storyboard').value"""

# Notes every kind that a card is of, however short.
WATCH = """() => {
  window.kindsSeen = new Set()
  const note = () => document.querySelectorAll('.lt-card').forEach((card) => window.kindsSeen.add(card.dataset.kind))
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, attributeFilter: ['data-kind'] })
}"""


class Cards:
    """The cards of the only Render Storyboard node on a canvas."""

    def __init__(self, opened: Canvas):
        self.opened, self.page = opened, opened.page
        self.face = self.page.locator(".longtake-storyboard")

    def open(self, document: str, kind: str = "ti2v") -> None:
        """Load a graph of a model, settings and a storyboard."""
        board = graphs.storyboard(document)
        film = graphs.delivered("board", "test/cards")
        prompt = {"model": graphs.load(kind), "sampling": graphs.sampling(), "board": board, **film}
        self.opened.ask(OPEN, prompt)

    @property
    def text(self) -> str:
        return str(self.opened.ask(TEXT))

    @property
    def stages(self) -> list[dict[str, Any]]:
        return list(json.loads(self.text)["stages"])

    @property
    def prompts(self) -> list[str]:
        return [stage["prompt"] for stage in self.stages]

    @property
    def kinds(self) -> list[str]:
        return [str(card.get_attribute("data-kind")) for card in self.face.locator(".lt-card").all()]

    @property
    def cost(self) -> str:
        return self.face.locator(".lt-cost").inner_text()

    def card(self, number: int) -> Locator:
        return self.face.get_by_role("listitem").nth(number - 1)

    def card_of(self, number: int) -> Locator:
        """A card by the number of its stage, where not all of them are in sight."""
        return self.face.locator(f".lt-card[aria-posinset='{number}']")

    def press(self, number: int, words: str) -> None:
        self.card(number).get_by_role("button", name=words, exact=True).click()

    def prompt(self, number: int) -> Locator:
        return self.face.get_by_role("textbox", name=f"prompt of stage {number}", exact=True)

    def leave(self) -> None:
        """Take the keyboard away from the cards, as a click beside the node does."""
        self.page.mouse.click(700, 920)
        self.opened.settle()

    def until(self, what: Callable[[], Any], wanted: Any, seconds: float = 15) -> None:
        """Wait until something is as wanted; fails with what it is then."""
        deadline = time.monotonic() + seconds
        while (seen := what()) != wanted:
            assert time.monotonic() < deadline, f"{seen!r}, not {wanted!r}"
            self.page.wait_for_timeout(100)


def words(cards: Cards) -> None:
    """Words are typed on the card, and the document changes in them alone."""
    cards.open(BOARD)
    cards.until(lambda: "unknown" in cards.kinds, False)
    assert cards.cost.startswith("renders 3 of 3 stages"), cards.cost
    cards.prompt(2).click()
    cards.page.keyboard.press("End")
    cards.page.keyboard.type(' in "rain"')
    assert cards.text == BOARD.replace("a valley", 'a valley in \\"rain\\"')
    cards.leave()
    cards.page.keyboard.press("Control+z")
    cards.until(lambda: cards.text, BOARD)
    cards.page.keyboard.press("Control+y")
    cards.until(lambda: cards.prompts[1], 'a valley in "rain"')
    cards.until(lambda: cards.prompt(2).input_value(), 'a valley in "rain"')
    cards.face.get_by_role("textbox", name="words before every prompt").fill("35 mm film,")
    assert json.loads(cards.text)["defaults"]["prompt_prefix"] == "35 mm film,"


def acts(cards: Cards) -> None:
    """Stages are added, inserted, copied, split, moved and deleted by their buttons, and undo takes each back."""
    cards.open(BOARD)
    cards.until(lambda: "unknown" in cards.kinds, False)
    cards.press(2, "duplicate")
    assert cards.prompts == ["a hill", "a valley", "a valley", "the sea"]
    cards.press(3, "delete")
    assert cards.prompts == ["a hill", "a valley", "the sea"], cards.prompts
    cards.press(2, "insert a stage before")
    cards.page.keyboard.type("a lake")
    assert cards.prompts == ["a hill", "a lake", "a valley", "the sea"]
    cards.face.get_by_role("button", name="add a stage at the end").click()
    cards.page.keyboard.type("the end")
    assert cards.prompts[-1] == "the end"
    cards.until(lambda: "unknown" in cards.kinds, False)
    cards.press(1, "split in two")
    assert cards.prompts[:2] == ["a hill", "a hill"]
    assert [stage["seconds"] for stage in cards.stages[:2]] == [0.1, 0.108333]
    cards.press(1, "another seed")
    assert cards.stages[0]["seed"] != 9000
    length = cards.face.get_by_role("spinbutton", name="length of stage 3 in frames")
    length.fill("9")
    cards.page.keyboard.press("Enter")
    assert cards.stages[2]["frames"] == 9
    cards.leave()
    for _ in range(3):  # one after the other: ComfyUI loads the graph anew, and does not wait for that itself
        before = cards.text
        cards.page.keyboard.press("Control+z")
        cards.until(lambda before=before: cards.text != before, True)
    cards.until(lambda: cards.prompts, ["a hill", "a lake", "a valley", "the sea", "the end"])
    cards.until(lambda: cards.face.locator(".lt-card").count(), 5)


def undone(cards: Cards) -> None:
    """Who writes on a storyboard that was opened soon after an undo can go on: the cards of before do not come back."""
    cards.open(BOARD)
    cards.until(lambda: "unknown" in cards.kinds, False)
    cards.press(3, "delete")
    cards.leave()
    cards.page.keyboard.press("Control+z")
    cards.until(lambda: cards.prompts[2:], ["the sea"])
    cards.open(BOARD)
    cards.prompt(2).click()
    cards.page.wait_for_timeout(1500)
    cards.page.keyboard.press("End")
    cards.page.keyboard.type(" in rain")
    assert cards.prompts == ["a hill", "a valley in rain", "the sea"]


def joins(cards: Cards) -> None:
    """A click on the pill changes the transition."""
    cards.open(BOARD)
    pill = cards.card(2).locator(".lt-pill")
    seen = []
    for _ in range(3):
        pill.click()
        seen.append(cards.stages[1]["transition"])
    assert seen == ["cut", "fade", "smooth"]
    assert not cards.card(1).locator(".lt-pill").is_visible()


def dragging(cards: Cards) -> None:
    """A stage is dragged to another place, and moved there by keys."""
    cards.open(BOARD)
    grip = cards.card(1).locator(".lt-grip")
    grip.hover()
    cards.page.mouse.down()
    # Drawn anew when the plan comes: for a moment it is nowhere.
    cards.until(lambda: cards.card(3).bounding_box() is not None, True)
    third = cards.card(3).bounding_box() or {}
    cards.page.mouse.move(third["x"] + third["width"] * 0.8, third["y"] + 20, steps=8)
    cards.page.mouse.up()
    assert cards.prompts == ["a valley", "the sea", "a hill"]
    assert [stage.get("seed") for stage in cards.stages] == [9001, 9002, 9000], "takes are not lost by moving"
    nodes = cards.opened.ask("() => app.graph.nodes.length")
    cards.card(3).focus()
    cards.page.keyboard.press("Alt+ArrowLeft")
    assert cards.prompts == ["a valley", "a hill", "the sea"]
    cards.page.keyboard.press("ArrowLeft")
    cards.page.keyboard.press("Enter")
    cards.page.keyboard.press("Control+a")
    cards.page.keyboard.type("a plain")
    cards.page.keyboard.press("Escape")
    cards.page.keyboard.press("Control+d")
    assert cards.prompts == ["a plain", "a plain", "a hill", "the sea"]
    cards.page.keyboard.press("Delete")
    assert cards.prompts == ["a plain", "a hill", "the sea"]
    assert cards.opened.ask("() => app.graph.nodes.length") == nodes, "keys on a card are not the canvas's"


DROP = """async ([selector, name]) => {
  const picture = document.createElement('canvas')
  picture.width = 96
  picture.height = 64
  picture.getContext('2d').fillRect(20, 20, 30, 30)
  const data = new DataTransfer()
  data.items.add(new File([await new Promise((done) => picture.toBlob(done))], name, { type: 'image/png' }))
  const target = document.querySelector(selector)
  for (const kind of ['dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }))
  }
}"""


def images(cards: Cards) -> None:
    """An image dropped on a card goes to the input folder and is its start image, or its end image."""
    cards.open(BOARD)
    nodes = cards.opened.ask("() => app.graph.nodes.length")
    cards.opened.ask(DROP, [".lt-card:nth-child(2) .lt-prompt", "dropped.png"])
    cards.until(lambda: cards.stages[1].get("start_image", "")[:7], "dropped")
    assert cards.stages[1]["transition"] == "cut", "a smooth stage has no start image of its own"
    cards.opened.ask(DROP, [".lt-card:nth-child(3) .lt-end .lt-choose", "ending.png"])
    cards.until(lambda: cards.stages[2].get("end_image", "")[:6], "ending")
    picture = cards.card(3).locator(".lt-end img")
    cards.until(lambda: picture.evaluate("(image) => image.naturalWidth"), 96)
    cards.card(3).locator(".lt-end").hover()
    cards.press(3, "take the end image away")
    assert "end_image" not in cards.stages[2]
    assert cards.opened.ask("() => app.graph.nodes.length") == nodes, "the canvas makes no node of it"


def text(cards: Cards) -> None:
    """The text itself can be edited; what is wrong with it is said, and nothing of it is lost."""
    cards.open(BOARD)
    cards.face.get_by_role("button", name="text", exact=True).click()
    editor = cards.face.get_by_role("textbox", name="storyboard as text")
    assert editor.input_value() == BOARD
    broken = BOARD.replace('"frames": 5,', '"frames": 5 5,')
    editor.fill(broken)
    cards.until(lambda: "not valid JSON" in cards.face.get_by_role("alert").inner_text(), True)
    assert cards.text == broken
    assert cards.face.get_by_role("button", name="cards", exact=True).is_disabled()
    editor.fill(BOARD.replace('"a valley"', '"a valley", "frames": 6'))
    cards.until(lambda: "stage 2" in cards.face.get_by_role("alert").inner_text(), True)
    cards.face.get_by_role("button", name="cards", exact=True).click()
    cards.until(lambda: cards.kinds[1], "failed")
    assert "6 frames are given" in cards.card(2).locator(".lt-said").inner_text()


def unknown(cards: Cards) -> None:
    """Where the model is not known before it runs nothing is claimed of the stages, and nothing is called wrong."""
    cards.open(BOARD)
    cards.until(lambda: "unknown" in cards.kinds, False)
    cards.opened.ask(UNLINK)
    cards.until(lambda: cards.cost.startswith("what is stored is known with a model of"), True)
    assert cards.kinds == ["unknown"] * 3
    assert not cards.face.get_by_role("alert").is_visible()


UNLINK = """() => {
  const board = app.graph.nodes.find((node) => node.comfyClass === 'LongtakeRenderStoryboard')
  board.disconnectInput(board.inputs.findIndex((input) => input.name === 'model'))
}"""


def plain(cards: Cards) -> None:
    """Prompts one a line are shown as cards, and turned into a storyboard when somebody says so."""
    cards.open("a hill\na valley")
    cards.until(lambda: cards.face.locator(".lt-card").count(), 2)
    assert cards.prompt(1).is_disabled()
    assert cards.text == "a hill\na valley"
    cards.face.get_by_role("button", name="turn into a storyboard").click()
    assert cards.prompts == ["a hill", "a valley"]
    assert cards.prompt(1).is_enabled()


def runs(cards: Cards) -> None:
    """A Run is followed on the cards; afterwards they are stored, and one that changes is older than its words."""
    mark = f"run {time.time_ns()}"
    cards.open(BOARD.replace("a hill", mark))
    cards.until(lambda: "unknown" in cards.kinds, False)
    cards.opened.ask(WATCH)
    cards.opened.ask("async () => { await app.queuePrompt(0) }")
    cards.until(lambda: cards.kinds, ["stored"] * 3, seconds=60)
    assert "rendering" in cards.opened.ask("() => [...window.kindsSeen]")
    cards.until(lambda: cards.cost, "all 3 stages are stored, nothing to render")
    cards.until(lambda: cards.card(3).locator(".lt-picture").evaluate("(image) => image.naturalWidth > 0"), True)
    clip = cards.card(1).locator("video")
    cards.page.wait_for_function("() => app.extensionManager.lastExecutionError === null")
    cards.opened.settle(300)
    cards.press(1, "play")
    cards.until(lambda: clip.is_visible() and clip.evaluate("(video) => video.readyState >= 2"), True)
    cards.prompt(3).fill("the shore")
    cards.until(lambda: cards.kinds, ["stored", "stored", "older"])
    assert cards.cost.startswith("renders 1 of 3 stages, about"), cards.cost
    cards.press(2, "lock")
    assert cards.stages[1]["take"] == 1
    cards.prompt(2).fill("a gorge")
    cards.until(lambda: cards.kinds, ["stored", "stored", "older"])


def takes(cards: Cards) -> None:
    """Takes of a stage are listed, named, kept, compared, chosen and deleted."""
    mark = f"takes {time.time_ns()}"
    cards.open(BOARD.replace("a hill", mark))
    for seed in ("1", "2"):
        cards.until(lambda: "unknown" in cards.kinds, False)
        field = cards.face.get_by_role("textbox", name="seed of stage 3")
        field.fill(seed)
        cards.page.keyboard.press("Enter")
        cards.opened.ask("async () => { await app.queuePrompt(0) }")
        cards.until(lambda: cards.kinds, ["stored"] * 3, 60)
    cards.opened.settle(300)
    cards.press(3, "takes")
    dialog = cards.face.get_by_role("dialog")
    cards.until(lambda: dialog.get_by_role("listitem").count(), 2)
    name = dialog.get_by_role("textbox", name="name of take 1", exact=True)
    name.fill("the calm one")
    cards.page.keyboard.press("Enter")
    cards.opened.settle(500)
    first = dialog.get_by_role("listitem", name="take 1", exact=True)
    first.get_by_role("button", name="keep: it is never pruned").click()
    cards.until(lambda: first.get_by_role("button", name="do not keep it any more").count(), 1)
    assert first.get_by_role("textbox").input_value() == "the calm one"
    for number in (1, 2):
        dialog.get_by_role("listitem", name=f"take {number}", exact=True).get_by_role("checkbox").check()
    both = dialog.locator("video")
    cards.until(lambda: both.evaluate_all("(clips) => clips.map((clip) => clip.readyState >= 2)"), [True, True])
    dialog.get_by_role("slider").fill("0.5")
    at = both.evaluate_all("(clips) => clips.map((clip) => clip.currentTime)")
    assert at[0] == at[1] > 0, at
    first.get_by_role("button", name="choose").click()
    assert cards.stages[2]["take"] == 1
    cards.until(lambda: cards.card(3).locator(".lt-said").inner_text(), "stored, take 1")
    cards.press(3, "takes")
    dialog.get_by_role("button", name="delete take 2", exact=True).click()
    cards.page.locator("button:has-text('Delete')").last.click()
    cards.until(lambda: dialog.get_by_role("listitem").count(), 1)
    dialog.get_by_role("button", name="go by the words").click()
    assert "take" not in cards.stages[2]
    cards.until(lambda: cards.kinds, ["stored", "stored", "older"])


APPROVE = """() => {
  const board = app.graph.nodes.find((node) => node.comfyClass === 'LongtakeRenderStoryboard')
  board.widgets.find((widget) => widget.name === 'approve').value = true
  app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()
}"""


def approval(cards: Cards) -> None:
    """Where each stage is approved, a Run stops behind one; a yes on its card goes on, and so does another take."""
    mark = f"approved {time.time_ns()}"
    cards.open(BOARD.replace("a hill", mark).replace(',\n    {"prompt": "the sea"}', ""))
    cards.opened.ask(APPROVE)
    cards.until(lambda: cards.kinds[-1], "held")
    assert cards.cost.endswith(", then waits for your yes"), cards.cost
    cards.opened.ask("async () => { await app.queuePrompt(0) }")
    cards.until(lambda: cards.kinds, ["waits", "held"], 60)
    assert cards.cost == "stage 1 of 2 waits for your yes, nothing is rendered before"
    clip = cards.card(1).locator("video")
    cards.press(1, "play")
    cards.until(lambda: clip.is_visible() and clip.evaluate("(video) => video.readyState >= 2"), True)
    seed = cards.stages[0].get("seed")
    cards.press(1, "another take of stage 1")
    assert cards.stages[0]["seed"] != seed
    cards.until(lambda: cards.card(1).locator(".lt-said").inner_text(), "rendered, waits for your yes", 60)
    cards.press(1, "yes to stage 1, go on")
    cards.until(lambda: cards.kinds, ["stored", "waits"], 60)
    cards.card(2).get_by_role("button", name="yes to stage 2, go on").focus()
    cards.page.keyboard.press("Enter")
    cards.until(lambda: cards.kinds, ["stored", "stored"], 60)
    cards.until(lambda: cards.cost, "all 2 stages are stored, nothing to render")


SAVED = """async () => {
  const saved = JSON.parse(JSON.stringify(app.graph.serialize()))
  const node = saved.nodes.find((node) => node.type === 'LongtakeRenderStoryboard')
  await app.loadGraphData(saved, true, true, 'cards')
  return node.widgets_values
}"""
TEXTS = """() => app.graph.nodes.filter((node) => node.comfyClass === 'LongtakeRenderStoryboard')
  .map((node) => node.widgets[0].value)"""
SELECT = """() => app.canvas.selectNode(
  app.graph.nodes.find((node) => node.comfyClass === 'LongtakeRenderStoryboard'))"""
INSIDE = """() => {
  const board = app.graph.nodes.find((node) => node.comfyClass === 'LongtakeRenderStoryboard')
  const { subgraph } = app.graph.convertToSubgraph(new Set([board]))
  app.canvas.setGraph(subgraph)
  const inside = subgraph.nodes.find((node) => node.comfyClass === 'LongtakeRenderStoryboard')
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [120 - inside.pos[0], 140 - inside.pos[1]]
  app.canvas.setDirty(true, true)
}"""
INSIDE_TEXT = """() => app.canvas.graph.nodes.find((node) => node.comfyClass === 'LongtakeRenderStoryboard')
  .widgets.find((widget) => widget.name === 'storyboard').value"""


def lasts(cards: Cards) -> None:
    """Cards are there after saving and loading, on a copy that goes its own way, and inside a subgraph."""
    cards.open(BOARD)
    cards.prompt(1).fill("a mountain")
    cards.leave()
    values = cards.opened.ask(SAVED)
    assert "a mountain" in values[0]
    assert values[1] is False and len(values) == 4, "what the cards show is not saved beside the text"
    cards.until(lambda: cards.face.count() and cards.prompt(1).input_value(), "a mountain")
    cards.until(lambda: "unknown" in cards.kinds, False)

    cards.opened.ask(
        "() => app.canvas.selectNode(app.graph.nodes.find((n) => n.comfyClass === 'LongtakeRenderStoryboard'))"
    )
    cards.page.keyboard.press("Control+c")
    cards.page.keyboard.press("Control+v")
    cards.until(
        lambda: cards.opened.ask(
            "() => app.graph.nodes.filter((n) => n.comfyClass === 'LongtakeRenderStoryboard').length"
        ),
        2,
    )
    cards.opened.settle(1000)
    cards.until(lambda: cards.face.count(), 2)
    cards.face.last.get_by_role("textbox", name="prompt of stage 1", exact=True).fill("a copy")
    assert sorted("a copy" in text for text in cards.opened.ask(TEXTS)) == [False, True]

    cards.open(BOARD)
    cards.until(lambda: "unknown" in cards.kinds, False)
    cards.opened.ask(INSIDE)
    cards.until(lambda: cards.face.count() and cards.prompt(2).input_value(), "a valley")
    cards.prompt(2).fill("inside")
    assert json.loads(cards.opened.ask(INSIDE_TEXT))["stages"][1]["prompt"] == "inside"
    cards.until(lambda: "unknown" in cards.kinds, False)
    cards.opened.ask("() => app.canvas.setGraph(app.rootGraph)")


def many(cards: Cards) -> None:
    """Two hundred stages scroll and are written in as three are: only the cards in sight are drawn."""
    document = {**json.loads(BOARD), "stages": [{"prompt": f"stage {number}"} for number in range(1, 201)]}
    cards.open(json.dumps(document))
    cards.until(lambda: "unknown" in cards.kinds, False, 60)
    assert 3 <= cards.face.locator(".lt-card").count() < 20
    usual, slowest = cards.opened.ask(SCROLL)
    print(f"  200 stages: a frame while scrolling takes {usual:.0f} ms, the slowest {slowest:.0f} ms")
    assert usual < 400  # without a graphics card, on a busy machine
    cards.until(lambda: cards.face.locator(".lt-card").last.get_attribute("aria-posinset"), "200")
    last = cards.prompt(200)
    last.click()
    began = time.monotonic()
    cards.page.keyboard.press("End")
    cards.page.keyboard.type(", and that is the end")
    print(f"  200 stages: 21 letters are written in {time.monotonic() - began:.1f} s")
    assert cards.prompts[-1] == "stage 200, and that is the end"
    cards.card_of(200).focus()
    for _ in range(4):
        cards.page.keyboard.press("ArrowLeft")
    assert cards.page.evaluate("document.activeElement.getAttribute('aria-posinset')") == "196"


SCROLL = """async () => {
  const lane = [...document.querySelectorAll('.lt-lane')].find((lane) => lane.checkVisibility())
  const took = []
  let last = performance.now()
  for (let frame = 0; frame < 60; frame++) {
    lane.scrollLeft += 800
    await new Promise(requestAnimationFrame)
    const now = performance.now()
    took.push(now - last)
    last = now
  }
  took.sort((one, other) => one - other)
  return [took[30], took.at(-1)]
}"""

CHECKS = (words, acts, undone, joins, dragging, images, text, unknown, plain, runs, takes, approval, lasts, many)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, tiny_server(Path(folder)) as server:
        for nodes_2 in (False, True):
            renderer = "Nodes 2.0" if nodes_2 else "classic"
            with canvas(server, nodes_2=nodes_2) as opened:
                for check in CHECKS:
                    began = time.monotonic()
                    try:
                        check(Cards(opened))
                    except Exception:
                        opened.page.screenshot(path=ROOT / "build" / f"cards_{check.__name__}_{nodes_2}.png")
                        raise
                    print(f"{renderer}: {check.__name__}, {time.monotonic() - began:.1f} s", flush=True)
                assert not opened.mistakes, opened.mistakes


if __name__ == "__main__":
    main()
