"""Some stages of a storyboard, as a person writes them: 5, 2-4, or 1, 5-6."""

from __future__ import annotations

import re

from ..errors import Refusal

RANGE = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?")


def stages_chosen(text: str, count: int) -> frozenset[int]:
    """Numbers of stages, from 1; all of them where nothing is written.

    Args:
        count: of stages there are.

    Raises:
        Refusal: it is no such list, or names a stage that is not there.
    """
    if not text.strip():
        return frozenset(range(1, count + 1))
    numbers: set[int] = set()
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise Refusal(f"{text[:60]!r} is given; write numbers of stages, as in 5, 2-4 or 1, 5-6", field="stages")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= count:
            raise Refusal(f"{part.strip()} is given; the film has stages 1 to {count}", field="stages")
        numbers |= set(range(first, last + 1))
    return frozenset(numbers)
