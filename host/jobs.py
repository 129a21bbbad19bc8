"""Keeps the prompt of a render until it has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..pipelines.takes import jobs, store
from .graph import Run


@contextmanager
def unfinished_until_rendered(run: Run, later: int = 0) -> Iterator[None]:
    """What is rendered within belongs to a job that has not ended: an error, a cancel or a kill leaves it so.

    Args:
        later: stages that are still to come when this is done.
    """
    prompt = _as_queued(getattr(run.dynprompt, "original_prompt", None) or {})
    job = jobs.begin(store.here(), prompt) if prompt else ""
    yield
    if job and not later:
        jobs.end(store.here(), job)


def _as_queued(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt less what ComfyUI notes in it while it runs."""
    return {id: {name: of for name, of in node.items() if name != "is_changed"} for id, node in prompt.items()}
