"""The one error a person at the canvas is meant to read."""

from __future__ import annotations


class Refusal(ValueError):
    """A request that cannot be met, said in words that name what to change.

    Args:
        message: what was given and what would be accepted, one or two sentences.
        stage: number of the stage it concerns, counted from 1; None for the chain as a whole.
        field: name of the input it concerns, as the node or storyboard spells it.
    """

    def __init__(self, message: str, *, stage: int | None = None, field: str | None = None):
        self.message = message
        self.stage = stage
        self.field = field
        place = [f"stage {stage}"] if stage is not None else []
        place += [field] if field else []
        super().__init__(f"{', '.join(place)}: {message}" if place else message)

    def at(self, *, stage: int | None = None, field: str | None = None) -> Refusal:
        """Return the same refusal with its place filled in where it was still open."""
        return Refusal(
            self.message,
            stage=self.stage if self.stage is not None else stage,
            field=self.field or field,
        )
