"""A render's progress on the node that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.utils
from server import PromptServer


def announce(event: str, **data: Any) -> None:
    """Tell every client over the websocket."""
    server = _server()
    if server is not None:
        server.send_sync(f"longtake.{event}", data)


def say(node_id: str | None, text: str) -> None:
    """Show a line of text on a node."""
    server = _server()
    if node_id is not None and server is not None:
        server.send_progress_text(text, node_id, server.client_id)


def say_on_running(text: str) -> None:
    """Show a line of text on the node that runs."""
    server = _server()
    if server is not None:
        say(server.last_node_id, text)


def _server() -> PromptServer | None:
    # There is none where nodes are used without a server.
    return getattr(PromptServer, "instance", None)


class NodeProgress:
    """One bar and one line of text over all stages that a node renders.

    Args:
        stages: stages of the whole chain, as far as the node can know; its own number if that is higher.
        steps: denoising steps over all stages this node renders.
        notes: shown below whatever is said, until the node has run.
    """

    def __init__(self, node_id: str | None, stages: int, steps: int, notes: Sequence[str] = ()):
        self._node_id = node_id
        self._notes = "".join(f"\n{note}" for note in notes)
        self._stages = stages
        self._bar = comfy.utils.ProgressBar(steps, node_id=node_id)
        self._before = 0
        self._stage = 0
        self._done = 0
        self.rendered = False  # whether the last stage was; or else it was stored

    def doing(self, text: str) -> None:
        self._show(text)

    def stage(self, number: int) -> None:
        self._before += self._done
        self._done = 0
        self._stage = number
        self._announce("stage_started")

    def stored(self, number: int, steps: int, key: str) -> None:
        self._before += self._done
        self._done = steps
        self._stage = number
        self._bar.update_absolute(self._before + steps)
        self.rendered = False
        self.at_rest()
        self._announce("stored_hit", take=key)

    def finished(self, number: int, key: str) -> None:
        self.rendered = True
        self.at_rest()
        self._announce("stage_done", take=key)

    def step(self, done: int, steps: int, preview: Any) -> None:
        self._done = done
        self._bar.update_absolute(self._before + done, preview=preview)
        self._show(f"step {done} of {steps}")
        self._announce("step", step=done, steps=steps)

    def at_rest(self) -> None:
        """Say what became of the last stage; once more where something else was said since."""
        self._show("rendered" if self.rendered else "stored, nothing to render")

    def _announce(self, event: str, **data: Any) -> None:
        stages = max(self._stages, self._stage)
        announce(event, node=self._node_id, stage=self._stage, stages=stages, **data)

    def _show(self, text: str) -> None:
        where = f"Stage {self._stage} of {max(self._stages, self._stage)}, " if self._stage else ""
        text = where + text if where else text[:1].upper() + text[1:]
        say(self._node_id, text + self._notes)
