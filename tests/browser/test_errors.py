"""What went wrong, read on the node it is of, without opening anything."""

from __future__ import annotations

import json

from tests.browser.person import Person, template

MARKED = """([id, name]) => {
  const node = app.graph.getNodeById(id);
  const slot = node.inputs.findIndex((input) => input.name === name);
  const cards = name === 'storyboard' && node.widgets.find((widget) => widget.name === 'cards');
  if (cards) return cards.element.style.outlineStyle === 'solid';
  if (!LiteGraph.vueNodesMode) return node.inputs[slot].hasErrors === true;
  const dot = document.querySelector(`[data-slot-key="${id}-in-${slot}"]`);
  const row = dot?.closest('[data-testid=node-widget]') ?? dot?.closest('.lg-slot--input');
  return Boolean(row) && getComputedStyle(row).outlineStyle === 'solid';
}"""
OUTLINED = """() => app.graph.nodes
  .filter((node) => Object.values(node.strokeStyles).some((of) => of.call(node)?.lineWidth === 3))
  .map((node) => String(node.id))"""


def test_a_refusal_stands_on_the_later_node_it_is_of_until_that_is_changed(person: Person) -> None:
    person.load(template("wan22_i2v_long_film"))
    person.shrink()
    assert person.run().kind == "execution_success"
    first, last = person.node("LongtakeChainStage"), person.node("LongtakeChainStage", 2)
    film = person.node("LongtakeEncodeVideo")

    person.choose(first, seed=77)
    person.choose(last, size="own")
    person.choose(last, size__width=100)
    assert person.run().kind == "execution_error"

    wanted = "stage 3, width: 100 is not a multiple of 16, as i2v-14b needs; the nearest are 96 or 112."
    person.until_note(last, "alert", wanted)
    assert person.ask(MARKED, [last, "size.width"])
    assert person.ask(OUTLINED) == [last]
    # What an earlier run made is not shown as if this one had.
    for other in (first, film):
        person.until_note(other, "status", "What is shown here is of an earlier run.")

    person.write(last, "prompt", "the ship sails away")
    person.until_note(last, None)
    assert not person.ask(MARKED, [last, "size.width"])
    person.choose(last, size="automatic")

    assert person.run().kind == "execution_success"
    assert [person.note(node) for node in (first, last, film)] == [None] * 3


def test_a_slip_in_a_storyboard_stands_on_its_node_and_marks_the_document(person: Person) -> None:
    person.load(template("wan22_storyboard"))
    person.shrink()
    board = person.node("LongtakeRenderStoryboard")
    document = {"schema": "longtake.storyboard.v1", "stages": [{"prompt": "a fox"}, {"prompt": "a fox", "lenght": 3}]}

    person.choose(board, storyboard=json.dumps(document))
    assert person.run().kind == "execution_error"

    role, words = person.note(board) or ("", "")
    assert role == "alert"
    assert words.startswith("stage 2, lenght: there is no such field")
    if not person.nodes_2:  # which shows cards in the place of the document
        assert person.ask(MARKED, [board, "storyboard"])


def test_a_report_keeps_its_lines_and_begins_with_its_warning(person: Person) -> None:
    person.load(template("wan22_i2v_long_film"))
    person.shrink()
    lora = person.node("LongtakeApplyLora")
    low = next(value for value in person.queued()[lora]["inputs"].values() if "low_noise" in str(value))

    person.choose(lora, high_noise_lora=low)
    assert person.run().kind == "execution_success"

    lines = person.text(lora).splitlines()
    assert lines[0].startswith(f"WARNING: {low} is a low-noise file")
    assert any(line.startswith("  keys: ") for line in lines)


def test_a_film_that_is_left_out_of_a_run_is_said_on_its_node(person: Person) -> None:
    person.load(template("wan22_i2v_long_film"))
    person.shrink()
    film = person.node("LongtakeEncodeVideo")

    person.choose(film, crf=999)
    assert person.run().kind in ("execution_success", "refused"), "Seam Report is an output too, and runs"
    person.page.wait_for_function(SETTLED)
    person.until_note(film, "alert", "No film comes of this Run: ComfyUI leaves this node out, ")
    assert person.ask(MARKED, [film, "crf"])

    person.choose(film, crf=18)
    person.ask(CAPTURE)
    person.until_note(film, None)
    assert person.run().kind == "execution_success"
    assert person.note(film) is None


SETTLED = "() => window.ended"
CAPTURE = "() => app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()"
