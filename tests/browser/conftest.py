"""ComfyUI's page in a real browser: one server for all tests of a worker, one Chromium for each file of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.browser import NO_CHROMIUM, find_chromium, opened, running_chromium
from tests.browser.person import Person
from tests.host.place import ROOT, Place
from tests.host.server import Server
from tests.host.workflows import put_inputs

SEEN = ROOT / "build" / "seen"  # screenshots of what failed


@pytest.fixture(scope="session")
def page_server(place: Place, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the pages' own: ComfyUI keeps their settings."""
    if find_chromium() is None:
        pytest.skip(NO_CHROMIUM)
    with Server(place, tmp_path_factory.mktemp("pages"), tiny_models) as running:
        put_inputs(running.input)
        yield running


@pytest.fixture(scope="module")
def browser(page_server: Server) -> Iterator[Browser]:
    """Not for the whole session: while Playwright runs, no other test of the process can run an event loop."""
    with running_chromium() as running:
        yield running


@pytest.fixture(scope="module", params=["classic", "nodes_2"])
def page_of_module(browser: Browser, page_server: Server, request: pytest.FixtureRequest) -> Iterator[Person]:
    with opened(browser, page_server, nodes_2=request.param == "nodes_2") as canvas:
        yield Person(canvas, nodes_2=request.param == "nodes_2")


@pytest.fixture
def person(page_of_module: Person, request: pytest.FixtureRequest) -> Iterator[Person]:
    """Someone before an empty canvas, in each renderer; whatever the page complains of fails the test."""
    page_of_module.begin_anew()
    yield page_of_module
    report = getattr(request.node, "outcome", None)
    if report is not None and report.failed:
        SEEN.mkdir(parents=True, exist_ok=True)
        page_of_module.page.screenshot(path=SEEN / f"{request.node.name}.png")
    assert page_of_module.canvas.mistakes == []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().when == "call":  # type: ignore[attr-defined]
        item.outcome = outcome.get_result()  # type: ignore[attr-defined]
