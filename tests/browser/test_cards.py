"""The cards of a storyboard, by mouse and keyboard, in both renderers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.cards import CHECKS, Cards
from tests.browser.person import Person


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_storyboard_is_edited_and_followed_on_its_cards(person: Person, check: Callable[[Cards], None]) -> None:
    check(Cards(person.canvas))
