"""A refusal as the page shows it: in its own sentence, on the node it is of, with the field marked."""

from __future__ import annotations

from ..pipelines.errors import Refusal
from .choosing import NodeRefused
from .graph import Node
from .progress import announce, copied_from


class LaterRefused(Refusal):
    """A refusal of a node that runs later, found by the one that runs.

    Args:
        refusal: what the later node would say.
        shown: the node on the canvas that stands for it.
    """

    def __init__(self, refusal: NodeRefused, shown: Node):
        super().__init__(
            f"{refusal.message}\nThis is of node {shown.id} ({shown.title}), which runs later; nothing is rendered "
            "before it is put right.",
            stage=refusal.stage,
            field=refusal.field,
        )
        self.sentence = str(refusal)
        self.shown = shown


def announce_refusal(refusal: Refusal) -> None:
    """Tell the page what is refused, just before ComfyUI says that the node that runs has failed."""
    later = isinstance(refusal, LaterRefused)
    node, kind = (refusal.shown.id, refusal.shown.kind) if later else copied_from()
    announce(
        "refused",
        node=node,
        kind=kind,
        stage=refusal.stage,
        field=refusal.field,
        message=refusal.sentence if later else str(refusal),
    )
