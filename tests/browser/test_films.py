"""A film of Chain Stages: what a Run will do is said where it ends; and the panel that shows all there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.browser.person import Person, template

LINE = """(id) => app.graph.getNodeById(id).widgets?.find((widget) => widget.name === 'longtake_plan')
  ?.element.textContent ?? ''"""
HEARD = """() => {
  window.lines = [];
  new MutationObserver(() => document.querySelectorAll('.longtake-note').forEach((note) => window.lines.push(
    note.textContent))).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def until(person: Person, what: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not holds(seen := what()):
        assert time.monotonic() < deadline, seen
        person.page.wait_for_timeout(100)
    return seen


def test_a_film_of_stages_says_what_a_run_will_do_and_is_looked_at_in_the_panel(person: Person) -> None:
    person.load(template("wan22_i2v_long_film"))
    person.shrink()
    stitch, last = person.node("LongtakeStitchChain"), person.node("LongtakeChainStage", 2)
    seeds = {f"seed of {place}": int(time.time() * 1000) % 10**9 + place for place in range(3)}
    for place, seed in enumerate(seeds.values()):
        person.choose(person.node("LongtakeChainStage", place), seed=seed)

    def line() -> str:
        return str(person.ask(LINE, stitch))

    person.page.locator(".longtake-tab-button").click()
    panel = person.page.locator(".lt-sidebar")
    cards = panel.get_by_role("region", name="the film of this graph").get_by_role("listitem")
    until(person, line, lambda words: words.startswith("renders 3 of 3 stages"))
    until(person, lambda: [card.get_attribute("data-kind") for card in cards.all()], lambda kinds: len(kinds) == 3)
    person.ask(HEARD)

    assert person.run().kind == "execution_success"

    until(person, line, lambda words: words == "all 3 stages are stored, nothing to render")
    assert any(words.startswith("stage 2 of 3, step ") for words in person.ask("() => window.lines"))
    until(
        person, lambda: [card.get_attribute("data-kind") for card in cards.all()], lambda kinds: kinds == ["stored"] * 3
    )
    clip = cards.nth(1).locator("video")
    cards.nth(1).get_by_role("button", name="play", exact=True).click()
    until(person, lambda: clip.evaluate("(video) => video.readyState >= 2"), bool)
    # Only the last stage is another one then.
    person.choose(last, seed=seeds["seed of 2"] + 1)
    person.ask("() => app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()")
    until(person, line, lambda words: words.startswith("renders 1 of 3 stages, about"))
    person.page.locator(".longtake-tab-button").click()


def test_what_is_stored_is_named_verified_and_pruned_after_it_was_shown(person: Person) -> None:
    person.load(template("wan22_storyboard"))
    person.shrink()
    board = person.node("LongtakeRenderStoryboard")
    mark = f"in the panel {time.time_ns()}"
    person.choose(board, storyboard=BOARD % mark)
    assert person.run().kind == "execution_success"
    person.page.locator(".longtake-tab-button").click()
    panel = person.page.locator(".lt-sidebar")

    film = panel.get_by_role("list", name="films").get_by_role("listitem").first
    name = film.get_by_role("textbox")
    name.fill(mark)
    person.page.keyboard.press("Enter")
    until(person, lambda: film.get_attribute("aria-label"), lambda called: called == mark)
    take = panel.get_by_role("list", name="takes").get_by_role("listitem").first
    assert take.locator("img").evaluate("(image) => image.complete && image.naturalWidth > 0")
    assert mark in take.inner_text()
    keep = take.get_by_role("button", name="keep: it is never pruned")
    keep.click()
    until(person, take.get_by_role("button", name="do not keep it any more").count, lambda count: count == 1)

    panel.get_by_role("button", name="verify").click()
    until(person, panel.get_by_text("Every take and film is whole.").count, lambda count: count == 1)
    panel.get_by_role("spinbutton").fill("0")
    panel.get_by_role("button", name="what would go").click()
    delete = panel.get_by_role("button", name="delete these")
    delete.wait_for()
    before = taken(person)
    assert "in use stays" in panel.inner_text()
    delete.click()
    # Nothing goes before that is said once more.
    person.page.locator("button:has-text('Cancel')").last.click()
    assert taken(person) == before
    delete.click()
    person.page.locator("button:has-text('Delete')").last.click()
    until(person, lambda: taken(person), lambda left: left < before)
    assert film.get_attribute("aria-label") == mark, "what has a name stays"
    person.page.locator(".longtake-tab-button").click()


BOARD = """{"schema": "longtake.storyboard.v1",
  "defaults": {"frames": 5, "width": 96, "height": 64}, "stages": [{"prompt": "%s"}]}"""


def taken(person: Person) -> int:
    answer = person.ask(
        "async () => (await window.comfyAPI.api.api.fetchApi('/longtake/takes?offset=0&limit=1')).json()"
    )
    return int(answer["total"])
