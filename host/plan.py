"""The plan of a film in an API prompt, of a storyboard or of Chain Stages, without queueing it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ..pipelines.errors import Refusal
from .ahead import STAGE
from .chain_plan import STITCH, UNKNOWN_IMAGE, plan_of_chain
from .choosing import CHOOSING, Choices, Misfit, NodeRefused, outputs_of
from .graph import Graph, Loop, Node, link_of
from .inputs import input_image

BOARD = "LongtakeRenderStoryboard"
MAX_MESSAGE = 300
OR_NAMED = ", or name the image in the storyboard"


def plan_of(prompt: Mapping[str, Any], node_id: str | None = None) -> dict[str, Any]:
    """What Render Storyboard answers with `validate_only`, as JSON values.

    An image that comes from other nodes than Load Image is not known: there is one, but `takes` and sums are null.

    Args:
        node_id: of the Render Storyboard node that is meant, where there are several; or of a Chain Stage or Stitch
            Chain, for the film that it ends.

    Raises:
        Refusal: there is not one such node, something it depends on loads or renders, a node does not take what it is
            given, or the storyboard cannot be rendered as asked. Nothing else, whatever the prompt holds.
    """
    whole = Graph(prompt)
    film = whole.get(node_id)
    if film is not None and film.kind in (STAGE, STITCH):
        return _of_chain(whole, film)
    board = _board(whole, node_id)
    image = board.inputs.get("start_image")
    graph = Graph({**prompt, board.id: _written(board, without="start_image")})
    board = graph.nodes[board.id]
    with _refusing(board, "does not take its inputs"):
        for node in graph.sources_first(board.id):
            if node is not board and node.kind not in CHOOSING:
                said = "cannot be used here; a plan takes " + ", ".join(CHOOSING) + "."
                raise _refused(node, said, _leading_to(node, board, graph))
        graph = _as_queued(graph, board)
        board = graph.nodes[board.id]
        choices = Choices(graph, {})
        inputs = {**board.inputs, **{name: choices.get(link) for name, link in board.links.items()}}
        unknown = next((name for name in board.links if inputs[name] is None), None)
        if unknown is not None:
            raise Refusal(f"nothing comes from node {board.links[unknown][0][:40]}.", field=unknown)
        picture, known = _picture(whole, image)
        start_image = {} if picture is None else {"start_image": picture}
        _, text = outputs_of(BOARD, {**inputs, **start_image, "validate_only": True})
        plan = json.loads(text)
        return plan if known else plan | _without_takes(plan, UNKNOWN_IMAGE + OR_NAMED)


def _of_chain(graph: Graph, film: Node) -> dict[str, Any]:
    with _refusing(film, "a stage does not take its inputs"):
        plan, known = plan_of_chain(_as_queued(graph, film), film)
        return plan if known else plan | _without_takes(plan, UNKNOWN_IMAGE)


@contextmanager
def _refusing(film: Node, misfit: str) -> Iterator[None]:
    """Turn all that a graph may be wrong in into a refusal that names the node.

    Args:
        film: the node that is asked about.
        misfit: what is said of it where inputs do not fit.
    """
    try:
        yield
    except Loop as loop:
        raise Refusal(f"{loop}.", field="prompt") from None
    except Misfit as error:
        raise _refused(film, f"{misfit} ({error}).") from None
    except NodeRefused as refusal:
        raise _refused(refusal.node, refusal.message, refusal.field) from None


def _board(graph: Graph, node_id: str | None) -> Node:
    boards = [node for node in graph.nodes.values() if node.kind == BOARD and node_id in (None, node.id)]
    if len(boards) != 1:
        which = "" if node_id is None else f" with the id {node_id[:40]!r}"
        raise Refusal(f"{len(boards)} Render Storyboard nodes{which} are given; one is needed.", field="prompt")
    return boards[0]


def _leading_to(node: Node, board: Node, graph: Graph) -> str | None:
    """The input of a storyboard that a node stands behind."""
    return next((name for name, (source, _) in board.links.items() if node in graph.sources_first(source)), None)


def _written(node: Node, without: str) -> dict[str, Any]:
    """A node as an API prompt writes it, less one of its inputs."""
    return {"class_type": node.kind, "inputs": {name: of for name, of in node.inputs.items() if name != without}}


def _picture(graph: Graph, image: Any) -> tuple[torch.Tensor | None, bool]:
    """The image that will come over a link, or one in its place; and whether it is that image."""
    if image is None:
        return None, True
    link = link_of(image)
    source = graph.get(link[0]) if link else None
    name = source.inputs.get("image") if source and source.kind == "LoadImage" else None
    if isinstance(name, str):
        return input_image(name), True
    return torch.zeros(1, 64, 64, 3), False


def _without_takes(plan: dict[str, Any], why: str) -> dict[str, Any]:
    unknown = dict.fromkeys(("takes", "stages_to_render", "rendering_seconds", "disk_bytes"))
    return {**unknown, "notes": [*plan["notes"], why]}


def _as_queued(graph: Graph, board: Node) -> Graph:
    """The graph with its inputs brought to their types, as ComfyUI does when it is queued: a page writes 8.0 as 8.

    Refuses what ComfyUI would refuse to queue; where it does not say, the nodes themselves will.
    """
    try:
        from execution import validate_inputs

        # It changes them in place.
        prompt = {node.id: {"class_type": node.kind, "inputs": dict(node.inputs)} for node in graph.nodes.values()}
        checked: dict[str, Any] = {}
        asyncio.run(validate_inputs("", prompt, board.id, checked))
        wrong = [(node_id, errors[0]) for node_id, (valid, errors, *_) in checked.items() if not valid and errors]
    except Exception:
        return graph
    for node_id, error in wrong:
        node = graph.get(node_id)
        if node is not None:
            field = error.get("extra_info", {}).get("input_name")
            raise _refused(node, f"{error.get('message')}: {error.get('details')}", field)
    return Graph(prompt)


def _refused(node: Node, message: str, field: str | None = None) -> Refusal:
    said = f"node {node.id[:40]} ({node.kind[:40]}): {message}"
    return Refusal(said if len(said) <= MAX_MESSAGE else said[: MAX_MESSAGE - 3] + "...", field=field or "prompt")
