"""Spans: which slot a preview shows, and random numbers that are nobody else's."""

from __future__ import annotations

import pytest
import torch
from longtake.pipelines.sampling.span import own_random_state, shown_slot


@pytest.mark.parametrize("slots", range(1, 40))
def test_the_slot_shown_exists_and_is_generated_where_any_is(slots):
    shown = [shown_slot(slots, pinned) for pinned in range(slots + 1)]
    assert all(0 <= slot < slots for slot in shown)
    assert all(slot >= pinned for pinned, slot in enumerate(shown[:-1]))
    assert shown == sorted(shown)
    assert shown[0] == slots // 2


def test_what_is_drawn_within_changes_nothing_without():
    torch.manual_seed(7)
    undisturbed = torch.rand(4)
    torch.manual_seed(7)
    with own_random_state():
        torch.manual_seed(8)
        torch.rand(100)
    assert torch.equal(torch.rand(4), undisturbed)
