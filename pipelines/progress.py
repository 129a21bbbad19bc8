"""How a render tells the person at the canvas where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Progress(Protocol):
    """Told about a render as it goes. Any call may raise to cancel the render."""

    def doing(self, text: str) -> None:
        """Say in a few words what is being done now."""
        ...

    def stage(self, number: int) -> None:
        """Stage `number`, counted from 1, begins."""
        ...

    def step(self, done: int, steps: int, preview: Any) -> None:
        """`done` of the stage's `steps` are finished; `preview` is ComfyUI's preview tuple or None."""
        ...

    def stored(self, number: int, steps: int, key: str) -> None:
        """Stage `number`, of `steps` steps, is not rendered: its take `key` is stored."""
        ...

    def finished(self, number: int, key: str) -> None:
        """Stage `number` is rendered, and stored as take `key`."""
        ...


def step_by_step(progress: Progress, steps: int) -> Callable[[int, Any], None]:
    """What a sampler calls after each of a stage's `steps`, with how many are done and a preview or None."""
    return lambda done, preview: progress.step(done, steps, preview)


def stop_if_cancelled() -> None:
    """Raise ComfyUI's own exception where the person has cancelled what runs."""
    from comfy.model_management import throw_exception_if_processing_interrupted

    throw_exception_if_processing_interrupted()
