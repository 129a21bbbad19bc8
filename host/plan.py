"""The plan of a Render Storyboard node in an API prompt, without queueing it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ..pipelines.errors import Refusal
from .choosing import CHOOSING, Choices, Misfit, NodeRefused, outputs_of
from .graph import Graph, Loop, Node

BOARD = "LongtakeRenderStoryboard"
MAX_MESSAGE = 300


def plan_of(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """What Render Storyboard answers with `validate_only`, as JSON values.

    Raises:
        Refusal: there is not one such node, something it depends on loads or renders, a node does not take what it is
            given, or the storyboard cannot be rendered as asked. Nothing else, whatever the prompt holds.
    """
    graph = Graph(prompt)
    board = _board(graph)
    try:
        for node in graph.sources_first(board.id):
            if node is not board and node.kind not in CHOOSING:
                raise _refused(node, "cannot be used here; a plan takes " + ", ".join(CHOOSING) + ".")
        _check_as_queued(graph, board)
        choices = Choices(graph, {})
        inputs = {**board.inputs, **{name: choices.get(link) for name, link in board.links.items()}}
        unknown = next((name for name in board.links if inputs[name] is None), None)
        if unknown is not None:
            raise Refusal(f"nothing comes from node {board.links[unknown][0][:40]}.", field=unknown)
        _, text = outputs_of(BOARD, {**inputs, "validate_only": True})
        return json.loads(text)
    except Loop as loop:
        raise Refusal(f"{loop}.", field="prompt") from None
    except Misfit as misfit:
        raise _refused(board, f"does not take its inputs ({misfit}).") from None
    except NodeRefused as refusal:
        raise _refused(refusal.node, refusal.message, refusal.field) from None


def _board(graph: Graph) -> Node:
    boards = [node for node in graph.nodes.values() if node.kind == BOARD]
    if len(boards) != 1:
        raise Refusal(f"{len(boards)} Render Storyboard nodes are given; one is needed.", field="prompt")
    if "start_image" in boards[0].inputs:
        raise Refusal("a connected image cannot be read here; name it in the storyboard.", field="start_image")
    return boards[0]


def _check_as_queued(graph: Graph, board: Node) -> None:
    """Refuse what ComfyUI would refuse to queue; where it does not say, the nodes themselves will."""
    try:
        from execution import validate_inputs

        # It brings inputs to their types in place.
        prompt = {node.id: {"class_type": node.kind, "inputs": dict(node.inputs)} for node in graph.nodes.values()}
        checked: dict[str, Any] = {}
        asyncio.run(validate_inputs("", prompt, board.id, checked))
        wrong = [(node_id, errors[0]) for node_id, (valid, errors, *_) in checked.items() if not valid and errors]
    except Exception:
        return
    for node_id, error in wrong:
        node = graph.get(node_id)
        if node is not None:
            field = error.get("extra_info", {}).get("input_name")
            raise _refused(node, f"{error.get('message')}: {error.get('details')}", field)


def _refused(node: Node, message: str, field: str | None = None) -> Refusal:
    said = f"node {node.id[:40]} ({node.kind[:40]}): {message}"
    return Refusal(said if len(said) <= MAX_MESSAGE else said[: MAX_MESSAGE - 3] + "...", field=field or "prompt")
