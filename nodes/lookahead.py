"""What the queued graph says about the stages after this one.

ComfyUI runs the first stage before it looks at the second. A slip in stage 3 would surface after stages 1 and 2 have
rendered for an hour, so each stage checks what follows it as far as the graph's constants tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..pipelines.chain import Chain, Join, Length, Transition, plan_clip
from ..pipelines.chain import Link
from ..pipelines.errors import Refusal
from ..pipelines.model import VideoModel
from ..pipelines.pictures import check_size

STAGE = "LongtakeChainStage"
Graph = Mapping[str, Mapping[str, Any]]


def next_stages(graph: Graph, node_id: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Ids and inputs of the stages whose chain comes straight from a stage."""
    for other, node in graph.items():
        if node.get("class_type") == STAGE:
            inputs = node.get("inputs", {})
            link = inputs.get("chain")
            if isinstance(link, list) and str(link[0]) == node_id:
                yield other, inputs


def count_later_stages(graph: Graph, node_id: str | None) -> int:
    """Length of the longest chain of stages behind this one; the graph was found free of loops when it was queued."""
    if node_id is None:
        return 0
    return max((1 + count_later_stages(graph, other) for other, _ in next_stages(graph, node_id)), default=0)


def check_later_stages(graph: Graph, node_id: str | None, chain: Chain, model: VideoModel) -> None:
    """Raise `Refusal` for a later stage that cannot follow `chain`, as far as its constants tell.

    Args:
        chain: up to this stage, which may still be unrendered.
        model: this stage's; later stages share its grid and frame rate or are refused when they run.
    """
    if node_id is None:
        return
    for other, inputs in next_stages(graph, node_id):
        number = len(chain.links) + 1
        try:
            _check_constants(inputs, chain, model)
            planned = _planned(inputs, chain, model)
        except Refusal as refusal:
            raise refusal.at(stage=number) from None
        if planned is not None:
            check_later_stages(graph, other, planned, model)


def _check_constants(inputs: Mapping[str, Any], chain: Chain, model: VideoModel) -> None:
    for field, expected in (("width", chain.width), ("height", chain.height)):
        value = inputs.get(field)
        if isinstance(value, int) and value not in (0, expected):
            raise Refusal(
                f"{value} given, but the chain is {chain.width}x{chain.height}; all stages of a chain share one size "
                "(0 follows the chain).",
                field=field,
            )
    check_size(chain.width, chain.height, model.variant)
    if inputs.get("transition") == Transition.SMOOTH.value and "start_image" in inputs:
        raise Refusal(
            "a smooth stage starts from the end of the stage before it and cannot take a start image too. "
            "Choose transition cut or fade, or disconnect the image.",
            field="start_image",
        )


def _planned(inputs: Mapping[str, Any], chain: Chain, model: VideoModel) -> Chain | None:
    """The chain with the later stage at its end, or None where the graph leaves its length or join open."""
    unit = inputs.get("length")
    amount = inputs.get(f"length.{unit}")
    transition = inputs.get("transition")
    overlap, fade = inputs.get("transition.overlap", 0), inputs.get("transition.fade_frames", 0)
    if any(isinstance(value, list) or value is None for value in (unit, amount, transition, overlap, fade)):
        return None
    join = Join.of(Transition(transition), overlap or model.variant.overlap, fade)
    length = Length(seconds=amount) if unit == "seconds" else Length(frames=amount)
    clip = plan_clip(chain.clips, length, join, model.family.grid, model.variant.fps)
    return chain.append(Link(clip, None, model))
