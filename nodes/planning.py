"""The plan of a Render Storyboard node in an API prompt, without queueing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from comfy_api.latest import _io

import nodes as comfy_nodes

from ..pipelines.errors import Refusal

BOARD = "LongtakeRenderStoryboard"
# Nodes that only choose: they read headers and load nothing.
CHOOSING = (
    "LongtakeLoadWan22",
    "LongtakeLoadLtx2",
    "LongtakeLoadDiffusersFolder",
    "LongtakeApplyLora",
    "LongtakeWanSampling",
    "LongtakeLtx2Sampling",
)
Graph = Mapping[str, Any]


def plan_of(graph: Graph) -> dict[str, Any]:
    """What Render Storyboard answers with `validate_only`, as JSON values.

    Raises:
        Refusal: there is not one such node, something it depends on loads or renders, or the storyboard cannot be
            rendered as asked.
    """
    boards = [name for name, node in graph.items() if isinstance(node, Mapping) and node.get("class_type") == BOARD]
    if len(boards) != 1:
        raise Refusal(f"{len(boards)} Render Storyboard nodes are given; one is needed.", field="prompt")
    inputs = graph[boards[0]].get("inputs")
    if not isinstance(inputs, Mapping):
        raise Refusal("the Render Storyboard node has no inputs.", field="prompt")
    if "start_image" in inputs:
        raise Refusal("a connected image cannot be read here; name it in the storyboard.", field="start_image")
    _, text = _run(graph, boards[0], {"validate_only": True}, ())
    return json.loads(text)


def _run(graph: Graph, node_id: str, changes: Mapping[str, Any], above: tuple[str, ...]) -> tuple[Any, ...]:
    """The outputs of one of the pack's own nodes, run as ComfyUI runs it but in no queue."""
    node = graph.get(node_id)
    kind = node.get("class_type") if isinstance(node, Mapping) else None
    if node is None or node_id in above or (above and kind not in CHOOSING):
        known = ", ".join(CHOOSING)
        raise Refusal(f"node {str(node_id)[:40]} cannot be used here; a plan takes {known}.", field="prompt")
    inputs = {**node.get("inputs", {}), **changes}
    values = {name: _value(graph, value, (*above, node_id)) for name, value in inputs.items()}
    cls = comfy_nodes.NODE_CLASS_MAPPINGS[kind]
    _, _, form = _io.get_finalized_class_inputs(cls.INPUT_TYPES(), inputs)
    clone = cls.PREPARE_CLASS_CLONE({**form, "hidden_inputs": {}})
    try:
        return cls.execute.__func__(clone, **_io.build_nested_inputs(values, form)).result
    except (TypeError, KeyError) as error:
        raise Refusal(f"the inputs of {kind} do not fit it ({error}).", field="prompt") from error


def _value(graph: Graph, value: Any, above: tuple[str, ...]) -> Any:
    if isinstance(value, list) and len(value) == 2:
        return _run(graph, str(value[0]), {}, above)[int(value[1])]
    return value
