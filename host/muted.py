"""What the canvas shows before a stage and the queued graph does not: a muted node is no part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MUTED = 2  # the canvas's mode of a node that is not to run


def muted_before(extra: Any, node_id: str | None) -> list[str]:
    """A sentence where the chain that a stage goes on from was dropped because the node that makes it is muted.

    Args:
        extra: ComfyUI's extra_pnginfo, whose workflow is the canvas; without one nothing can be muted.
        node_id: of the stage. In a subgraph it is a path, which the canvas's own nodes do not have.
    """
    workflow = extra.get("workflow") if isinstance(extra, Mapping) else None
    nodes = {str(node.get("id")): node for node in _tables(workflow, "nodes")}
    for slot in _tables(nodes.get(node_id or ""), "inputs"):
        before = nodes.get(_origin(workflow, slot.get("link")), {})
        if slot.get("name") == "chain" and before.get("mode") == MUTED:
            return [
                f"The chain it was to go on from is dropped: {before.get('title') or before.get('type')} (node "
                f"{before['id']}) is muted, so this is the first stage of a film of its own. Bypass that node instead "
                "to go on from the stage before it."
            ]
    return []


def _origin(workflow: Any, link: Any) -> str:
    """Id of the node that a link comes from; links are [id, from node, from output, to node, to input, type]."""
    for entry in workflow.get("links") or ():
        if isinstance(entry, list) and len(entry) > 1 and entry[0] == link:
            return str(entry[1])
    return ""


def _tables(holder: Any, name: str) -> list[Mapping[str, Any]]:
    entries = holder.get(name) if isinstance(holder, Mapping) else None
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
