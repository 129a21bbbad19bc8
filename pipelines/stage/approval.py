"""A film that is approved stage by stage: no run goes past a stage whose take nobody has said yes to."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import Refusal
from .keys import Planned


def stops_at(planned: Sequence[Planned], chosen: Collection[int]) -> int | None:
    """Number of the chosen stage that a run stops at, stored or still to be rendered; None where all are approved.

    Raises:
        Refusal: the take of that stage would not be found again, and so could never be approved.
    """
    for stage in planned:
        number, identity = stage.ready.number, stage.identity
        if number not in chosen or is_approved(stage):
            continue
        if identity.unidentified:
            raise Refusal(
                f"its take cannot be approved, as it would not be found again: {identity.unidentified}. Render it with "
                "approve off.",
                stage=number,
                field="approve",
            )
        return number
    return None


def is_approved(planned: Planned) -> bool:
    """Whether somebody has said yes to the stored take of a stage, or has chosen that take by its number."""
    if planned.take is None:
        return False
    return bool(planned.ready.stage.take or planned.take.notes()["approved"])
