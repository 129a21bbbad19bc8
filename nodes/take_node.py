"""What the nodes that give a chain of stored takes have in common."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.takes import store


class TakeNode(io.ComfyNode):
    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> int:
        # A chain that ComfyUI still holds may refer to a take that has been deleted since.
        return store.here().deletions()
