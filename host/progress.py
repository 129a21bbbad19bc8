"""A render's progress on the node that runs it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import comfy.model_management
import comfy.utils
from PIL import Image
from server import PromptServer

OFTEN = 0.5  # seconds between two words about frames, or of a program


def announce(event: str, **data: Any) -> None:
    """Tell the client whose prompt runs, over the websocket; there is none where it was queued without."""
    server = _server()
    if server is not None and server.client_id is not None:
        server.send_sync(f"longtake.{event}", {"prompt_id": _running()[0], **data}, server.client_id)


def say(node_id: str | None, text: str) -> None:
    """Show a line of text on a node."""
    server = _server()
    if node_id is not None and server is not None:
        server.send_progress_text(text, _shown(node_id), server.client_id)


def say_on_running(text: str) -> None:
    """Show a line of text on the node that runs."""
    server = _server()
    if server is not None:
        say(server.last_node_id, text)


def watch_encoding(frames: int) -> Callable[[int, int], None]:
    """A bar over `frames` frames on the node that is running, and events; cancels where the person has cancelled."""
    bar, pace, due = comfy.utils.ProgressBar(frames), Pace(), now_and_then()

    def report(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)
        if not due() and done < total:
            return
        announce("encoding", node=_shown(_running()[1]), frame=done, frames=total)
        if done < total:
            say_on_running(f"Encoding, frame {done} of {total}{pace.left(done, total)}")

    return report


def now_and_then() -> Callable[[], bool]:
    """A question that is answered with yes at first, and then where the last yes is OFTEN seconds ago."""
    last = float("-inf")

    def due() -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < OFTEN:
            return False
        last = now
        return True

    return due


def announce_decoding(stage: int, stages: int, frames: int) -> None:
    """Tell who listens that a stage of `frames` frames is being decoded by the node that runs."""
    announce("decoding", node=_shown(_running()[1]), stage=stage, stages=stages, frames=frames)


class Pace:
    """How long what is left will take, told by how long the last of what is done took."""

    def __init__(self) -> None:
        self._reached: deque[tuple[float, int]] = deque(maxlen=9)

    def left(self, done: int, total: int) -> str:
        """ ", about 3 min left"; empty where it cannot be known yet, or is less than a second.

        Args:
            done: steps or frames, of `total`; it only grows.
        """
        self._reached.append((time.monotonic(), done))
        (began, first), (now, last) = self._reached[0], self._reached[-1]
        if last == first:
            return ""
        seconds = (now - began) / (last - first) * (total - done)
        if seconds < 1:
            return ""
        if seconds < 100:
            return f", about {seconds:.0f} s left"
        minutes = round(seconds / 60)
        if minutes < 100:
            return f", about {minutes} min left"
        return f", about {minutes // 60} h {minutes % 60} min left"


def _running() -> tuple[str | None, str | None]:
    """The prompt and the node that run now."""
    from comfy_execution.utils import get_executing_context

    context = get_executing_context()
    return (None, None) if context is None else (context.prompt_id, context.node_id)


def _shown(node_id: str | None) -> str | None:
    """The node on the canvas that stands for a node; the page knows no other."""
    try:
        from comfy_execution.progress import get_progress_state

        return get_progress_state().dynprompt.get_display_node_id(node_id)
    except (ImportError, AttributeError):
        return node_id


def copied_from() -> tuple[str | None, str | None]:
    """Id and kind of the node on the canvas that the running node is a copy of, as a loop makes them; else None.

    ComfyUI puts an error of a copy on the node that made it.
    """
    try:
        from comfy_execution.progress import get_progress_state

        graph, running = get_progress_state().dynprompt, _running()[1]
        drawn = graph.get_display_node_id(running)
        if drawn in (running, graph.get_real_node_id(running)):
            return None, None
        return drawn, graph.get_node(drawn)["class_type"]
    except (ImportError, AttributeError):
        return None, None


def _server() -> PromptServer | None:
    # There is none where nodes are used without a server.
    return getattr(PromptServer, "instance", None)


class NodeProgress:
    """One bar and one line of text over all stages that a node renders.

    Args:
        stages: stages of the whole chain, as far as the node can know; its own number if that is higher.
        steps: denoising steps over all stages this node renders.
        frames: of each stage this node renders, by its number.
        each: what a stage is called.
        notes: shown below whatever is said, until the node has run.
    """

    def __init__(
        self,
        node_id: str | None,
        stages: int,
        steps: int,
        frames: Mapping[int, int] | None = None,
        each: str = "Stage",
        notes: Sequence[str] = (),
    ):
        self._node_id = node_id
        self._notes = "".join(f"\n{note}" for note in notes)
        self._stages = stages
        self._frames = frames or {}
        self._each = each
        self._pace = Pace()
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
        self._pace = Pace()
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
        self._show(f"step {done} of {steps}{self._pace.left(done, steps)}")
        self._announce("step", step=done, steps=steps)

    def waiting(self, number: int, key: str) -> dict[str, Any]:
        """Say that the run stops here until a take is approved; returns what was announced: `stage` and `take`."""
        self._stage = number
        self._show(f"{'rendered' if self.rendered else 'stored'}; waits for a yes to its take, or another one")
        self._announce("waiting", take=key)
        return {"stage": number, "take": key}

    def landed(self, picture: Image.Image, key: str, saved: Mapping[str, str] | None) -> None:
        """An image is there: shown on the bar, and where it lies said to who listens.

        Args:
            key: of its take.
            saved: its file as ComfyUI's clients ask for it, or None.
        """
        self._bar.update_absolute(self._before + self._done, preview=("JPEG", picture, None))
        self._announce("image", take=key, image=saved)

    def at_rest(self) -> None:
        """Say what became of the last stage; once more where something else was said since."""
        self._show("rendered" if self.rendered else "stored, nothing to render")

    def _announce(self, event: str, **data: Any) -> None:
        stages = max(self._stages, self._stage)
        where = {"node": _shown(self._node_id), "stage": self._stage, "stages": stages}
        announce(event, **where, frames=self._frames.get(self._stage), **data)

    def _show(self, text: str) -> None:
        where = f"{self._each} {self._stage} of {max(self._stages, self._stage)}, " if self._stage else ""
        text = where + text if where else text[:1].upper() + text[1:]
        say(self._node_id, text + self._notes)
