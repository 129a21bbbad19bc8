"""What the nodes give that only choose, told from the graph before they run: they read headers and load nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..pipelines.errors import Refusal
from .graph import Graph, Link, Node, class_of

CHOOSING = (
    "LongtakeLoadWan22",
    "LongtakeLoadLtx2",
    "LongtakeLoadDiffusersFolder",
    "LongtakeApplyLora",
    "LongtakeWanSampling",
    "LongtakeLtx2Sampling",
    "LongtakeKeyframe",
    "LongtakeAnchor",
    "LongtakeSoundtrack",
    "LongtakeBestSize",
)


class Misfit(Exception):
    """A node that does not take what it is given, or that this ComfyUI cannot run outside a queue."""


class NodeRefused(Refusal):
    """A refusal of another node than the one that runs.

    Args:
        node: that says so.
        refusal: what it says.
    """

    def __init__(self, node: Node, refusal: Refusal):
        super().__init__(refusal.message, stage=refusal.stage, field=refusal.field)
        self.node = node


class Choices:
    """Outputs of the nodes of a graph that only choose, each node asked once.

    Args:
        known: what is known to come over links.
    """

    def __init__(self, graph: Graph, known: dict[Link, Any]):
        self._graph = graph
        self._known = known

    def get(self, link: Link | None) -> Any:
        """What will come over a link; None where that is not known before its nodes have run.

        Raises:
            NodeRefused: a node that it is made by will refuse.
            Loop: a node is made from itself.
        """
        if link is None:
            return None
        if link not in self._known:
            self._choose(link[0])
        return self._known.get(link)

    def _choose(self, node_id: str) -> None:
        for node in self._graph.sources_first(node_id, known={id for id, _ in self._known}):
            inputs = {**node.inputs, **{name: self._known.get(link) for name, link in node.links.items()}}
            outputs: tuple[Any, ...] = ()
            if node.kind in CHOOSING and not any(inputs[name] is None for name in node.links):
                try:
                    outputs = outputs_of(node.kind, inputs)
                except Refusal as refusal:
                    raise NodeRefused(node, refusal) from None
                except Misfit:
                    outputs = ()
            self._known[node.id, 0] = None
            self._known |= {(node.id, number): output for number, output in enumerate(outputs)}


def outputs_of(kind: str, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The outputs of a node of the pack for inputs as a prompt names them, run as ComfyUI runs it but in no queue.

    Raises:
        Refusal: of the node.
        Misfit: it cannot be run with them.
    """
    cls = class_of(kind)
    try:
        from comfy_api.latest import _io

        form = _form(kind, inputs)
        clone = cls.PREPARE_CLASS_CLONE({**form, "hidden_inputs": {}})
        return cls.execute.__func__(clone, **_io.build_nested_inputs(dict(inputs), form)).result
    except Refusal:
        raise
    except Exception as error:
        raise Misfit(f"{type(error).__name__}: {error}") from error


def nested(kind: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of a node of the pack as it takes them, those of a dynamic input in one; raises `Misfit`."""
    try:
        from comfy_api.latest import _io

        return _io.build_nested_inputs(dict(inputs), _form(kind, inputs))
    except Exception as error:
        raise Misfit(f"{type(error).__name__}: {error}") from error


def _form(kind: str, inputs: Mapping[str, Any]) -> Any:
    """How ComfyUI nests the inputs of a node, with those that what is chosen in its dynamic inputs adds."""
    from comfy_api.latest import _io

    _, _, form = _io.get_finalized_class_inputs(class_of(kind).INPUT_TYPES(), inputs)
    return form
