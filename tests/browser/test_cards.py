"""The cards of a storyboard by mouse and keyboard, as `python tests/run.py browser.cards` tries them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.browser import opened
from tests.browser.cards import CHECKS, Cards
from tests.host.server import Server


@pytest.fixture(params=["classic", "nodes_2"])
def cards(browser: Browser, page_server: Server, request: pytest.FixtureRequest) -> Iterator[Cards]:
    """A page of the check's own: Chromium's undo goes back into whatever was written on a page before."""
    with opened(browser, page_server, nodes_2=request.param == "nodes_2") as canvas:
        yield Cards(canvas)
        assert canvas.mistakes == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_storyboard_is_edited_and_followed_on_its_cards(cards: Cards, check: Callable[[Cards], None]) -> None:
    check(cards)
