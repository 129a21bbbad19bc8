"""The cards of a storyboard by mouse and keyboard, as `python tests/run.py browser.cards` tries them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.cards import CHECKS, Cards
from tests.browser.person import Person


@pytest.fixture
def cards(person: Person) -> Cards:
    return Cards(person.canvas)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_storyboard_is_edited_and_followed_on_its_cards(cards: Cards, check: Callable[[Cards], None]) -> None:
    check(cards)
