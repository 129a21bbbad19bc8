"""The graph of a run: its nodes, the links between them, and which of them ComfyUI will execute.

Total: what is not there, or is not as it should be, is not found, and nothing here raises. Names of ComfyUI that are
not its public interface are imported where they are used; where one is gone, what it would tell is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

Link = tuple[str, int]


def link_of(value: Any) -> Link | None:
    """The node and the number of its output that an input is linked to; None for a constant."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        output = value[1]
        if isinstance(output, int | float) and not isinstance(output, bool) and output == output // 1:
            return value[0], int(output)
    return None


@dataclass(frozen=True)
class Node:
    """A node of the graph; `kind` is its class_type, `named` what it is called on the canvas, where that is known."""

    id: str
    kind: str
    inputs: Mapping[str, Any]
    named: str | None = None

    @classmethod
    def read(cls, node_id: str, written: Any) -> Node | None:
        """A node as an API prompt writes it, or None where that is none."""
        if not isinstance(written, Mapping):
            return None
        kind, inputs, meta = (written.get(name) for name in ("class_type", "inputs", "_meta"))
        inputs = {} if inputs is None else inputs
        if not isinstance(kind, str) or not isinstance(inputs, Mapping):
            return None
        title = meta.get("title") if isinstance(meta, Mapping) else None
        return cls(node_id, kind, inputs, title if isinstance(title, str) else None)

    @property
    def title(self) -> str:
        return self.named or import_module("nodes").NODE_DISPLAY_NAME_MAPPINGS.get(self.kind) or self.kind

    @property
    def links(self) -> dict[str, Link]:
        """Every input that is linked."""
        return {name: link for name, value in self.inputs.items() if (link := link_of(value))}


class Loop(ValueError):
    """Nodes that are made from one another."""


class Graph:
    """The nodes of a run.

    Args:
        prompt: as it was queued.
        added: nodes that other nodes were expanded into while it runs.
        outputs: ids of the output nodes that the run was queued for.
    """

    def __init__(self, prompt: Mapping[str, Any], added: Mapping[str, Any] | None = None, outputs: Iterable[str] = ()):
        self._added = added or {}
        written = {**prompt, **self._added}
        self.nodes = {id: node for id, value in written.items() if (node := Node.read(id, value))}
        self._outputs = frozenset(outputs)

    def get(self, node_id: str | None) -> Node | None:
        return self.nodes.get(node_id or "")

    @cached_property
    def _consumers(self) -> dict[str, tuple[Node, ...]]:
        consumers: dict[str, dict[str, Node]] = {}
        for node in self.nodes.values():
            for source, _ in node.links.values():
                consumers.setdefault(source, {})[node.id] = node
        return {source: tuple(nodes.values()) for source, nodes in consumers.items()}

    def consumers(self, node_id: str) -> tuple[Node, ...]:
        """The nodes that take an output of a node."""
        return self._consumers.get(node_id, ())

    def sources_first(self, node_id: str, known: Collection[str] = ()) -> list[Node]:
        """A node and all it is made from, each behind what it is made from itself.

        Args:
            known: nodes that are left out, with what they are made from.

        Raises:
            Loop: the node is made from itself.
        """
        ordered: dict[str, Node] = {}
        opened: set[str] = set()
        stack = [node_id]
        while stack:
            node = self.nodes.get(stack[-1])
            if node is None or node.id in ordered or node.id in known:
                stack.pop()
            elif node.id in opened:
                ordered[node.id] = node
                stack.pop()
            else:
                opened.add(node.id)
                missing = [id for id, _ in node.links.values() if id not in ordered and id not in known]
                if loop := opened.intersection(missing):
                    raise Loop(f"node {loop.pop()} is made from itself")
                stack += missing
        return list(ordered.values())

    def executed(self, node_id: str) -> frozenset[str]:
        """The nodes that this run executes for certain, or has executed, as a node can tell while it is executed.

        Those that an output of the run needs. An input that is evaluated lazily is needed where its node asks for it
        by constants alone. That a node is executed tells more: one that only a single other node takes is executed
        for that one.
        """
        executed = self._needed([*self._outputs, *self._added_outputs(), node_id])
        while not self._wanted(node_id, executed):
            (consumer,) = self.consumers(node_id)
            executed |= self._needed([consumer.id])
            node_id = consumer.id
        return frozenset(executed)

    def _wanted(self, node_id: str, executed: set[str]) -> bool:
        """Whether it is clear, or cannot be told, what a node is executed for."""
        consumers = self.consumers(node_id)
        # What an expanded node is made for may be the output of the node that was expanded.
        told = node_id in self._outputs or node_id in self._added or len(consumers) != 1
        return told or consumers[0].id in executed

    def _needed(self, node_ids: Iterable[str]) -> set[str]:
        needed: set[str] = set()
        stack = list(node_ids)
        while stack:
            node = self.nodes.get(stack.pop())
            if node is not None and node.id not in needed:
                needed.add(node.id)
                lazy = self._lazy_inputs(node.kind)
                first = _asked_for(node, lazy) if lazy else ()
                stack += [id for name, (id, _) in node.links.items() if name not in lazy or name in first]
        return needed

    def _added_outputs(self) -> Iterator[str]:
        for node_id in self._added:
            if node_id in self.nodes and getattr(class_of(self.nodes[node_id].kind), "OUTPUT_NODE", False):
                yield node_id

    def _lazy_inputs(self, kind: str) -> frozenset[str]:
        if kind not in self._lazy:
            self._lazy[kind] = _lazy_inputs(kind)
        return self._lazy[kind]

    @cached_property
    def _lazy(self) -> dict[str, frozenset[str]]:
        return {}


def class_of(kind: str) -> Any:
    """The class of a kind of node, or None where there is no such kind."""
    return import_module("nodes").NODE_CLASS_MAPPINGS.get(kind)


def _lazy_inputs(kind: str) -> frozenset[str]:
    try:
        inputs = class_of(kind).INPUT_TYPES()
        groups = [inputs.get("required", {}), inputs.get("optional", {})]
        return frozenset(
            name for group in groups for name, form in group.items() if len(form) > 1 and form[1].get("lazy")
        )
    except Exception:
        return frozenset()


def _asked_for(node: Node, lazy: frozenset[str]) -> Collection[str]:
    """The lazy inputs that a node asks for first, where all else that it takes is constant."""
    cls = class_of(node.kind)
    if getattr(cls, "INPUT_IS_LIST", False) or any(name not in lazy for name in node.links):
        return ()
    # As ComfyUI does: an input that is linked and not there yet is None.
    inputs = {name: None if name in node.links else value for name, value in node.inputs.items()}
    try:
        is_v3 = hasattr(cls, "define_schema")
        names = (cls if is_v3 else cls()).check_lazy_status(**inputs)
        return [name for name in names or () if isinstance(name, str)]
    except Exception:
        return ()


@dataclass(frozen=True)
class Run:
    """A node's view of the run it is executed in.

    Args:
        node_id: of the node.
        kept: what the nodes of this run leave for one another, by their ids; dropped with the run.
    """

    graph: Graph
    node_id: str | None
    kept: dict[str, Any] = field(default_factory=dict)
    dynprompt: Any = None

    @classmethod
    def of(cls, hidden: Any) -> Run:
        """The run as a node sees it that has `unique_id` and `dynprompt` among its hidden inputs."""
        dynprompt = getattr(hidden, "dynprompt", None)
        prompt = getattr(dynprompt, "original_prompt", None)
        if not isinstance(prompt, Mapping):
            return cls(Graph({}), None)
        added = getattr(dynprompt, "ephemeral_prompt", None)
        # In ComfyUI newer than 0.30: a loop cuts its end from the body that it has copied.
        replaced = getattr(dynprompt, "node_overrides", None)
        graph = Graph(
            _replaced(prompt, replaced),
            _replaced(added, replaced) if isinstance(added, Mapping) else None,
            _outputs_of_this_run(),
        )
        return cls(graph, hidden.unique_id, _KEPT.setdefault(dynprompt, {}), dynprompt)

    @property
    def node(self) -> Node | None:
        return self.graph.get(self.node_id)

    def shown(self, node: Node) -> Node:
        """The node on the canvas that stands for a node: itself, or the one that was expanded or copied into it."""
        try:
            return self.graph.get(self.dynprompt.get_display_node_id(node.id)) or node
        except AttributeError:
            return node


def _replaced(nodes: Mapping[str, Any], replacements: Any) -> Mapping[str, Any]:
    if not isinstance(replacements, Mapping):
        return nodes
    return {id: replacements.get(id, written) for id, written in nodes.items()}


_KEPT: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def _outputs_of_this_run() -> frozenset[str]:
    """The output nodes that ComfyUI was asked for and found nothing wrong with; none where it does not say."""
    try:
        from comfy_execution.utils import get_executing_context
        from server import PromptServer

        prompt_id = get_executing_context().prompt_id
        running, _ = PromptServer.instance.prompt_queue.get_current_queue_volatile()
        return frozenset(next(outputs for _, queued, _, _, outputs, *_ in running if queued == prompt_id))
    except Exception:
        return frozenset()
