"""Work done ahead of who asks for it, in a thread of its own."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

DEPTH = 6  # frames; enough to bridge what one of them takes longer than another


def ahead(items: Iterable[Item], depth: int = DEPTH) -> Iterator[Item]:
    """The items, made in a thread while the last ones are being used; what making them raises is raised here.

    The thread ends with the iteration, however that ends.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    # What the caller runs as, such as the prompt of ComfyUI, the thread runs as.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="longtake-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
