"""What the queued graph says about the stages after this one.

ComfyUI runs the first stage before it looks at the second. A slip in stage 3 would surface after stages 1 and 2 have
rendered for an hour, so each stage checks what follows it as far as the graph's constants tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ..pipelines.bundle.model import VideoModel
from ..pipelines.chain import Chain, Join, Length, Link, Transition
from ..pipelines.errors import Refusal
from ..pipelines.families import Carry
from ..pipelines.plan import plan_clip
from ..pipelines.stage import Stage, check_stage
from .foresight import Known, bundle_at, known_from

STAGE = "LongtakeChainStage"
Inputs = Mapping[str, Any]
Graph = Mapping[str, Mapping[str, Any]]


def next_stages(graph: Graph, node_id: str) -> Iterator[tuple[str, Inputs]]:
    """Ids and inputs of the stages whose chain comes straight from a stage."""
    for other, node in graph.items():
        if node.get("class_type") == STAGE:
            inputs = node.get("inputs", {})
            if _linked(inputs.get("chain")) and str(inputs["chain"][0]) == node_id:
                yield other, inputs


def count_later_stages(graph: Graph, node_id: str | None) -> int:
    """Length of the longest chain of stages behind this one; the graph was found free of loops when it was queued."""
    if node_id is None:
        return 0
    return max((1 + count_later_stages(graph, other) for other, _ in next_stages(graph, node_id)), default=0)


def check_later_stages(graph: Graph, node_id: str | None, chain: Chain, model: VideoModel) -> None:
    """Raise `Refusal` for a later stage that cannot follow `chain`, as far as its constants tell.

    A stage with a bundle of its own is checked with that bundle where the graph tells what it will be, its LoRAs
    included; elsewhere it is only planned.

    Args:
        chain: up to this stage, which may still be unrendered.
        model: the bundle of this stage.
    """
    if node_id is not None:
        known = known_from(graph, graph[node_id].get("inputs", {}).get("model"), model)
        _check_behind(graph, node_id, chain, model, known)


def _check_behind(graph: Graph, node_id: str, chain: Chain, model: VideoModel, known: Known) -> None:
    """The same, for the stages behind any node."""
    for other, inputs in next_stages(graph, node_id):
        try:
            own = bundle_at(graph, inputs.get("model"), known)
        except Refusal as refusal:
            raise refusal.at(stage=len(chain.links) + 1) from None
        stage = _stage(inputs, own or model)
        if stage is None:
            continue
        if own is None:
            planned = _planned(stage, chain, model)
        else:
            planned = check_stage(stage, own, chain, "sampling" not in inputs).behind(chain, own)
        _check_behind(graph, other, planned, model, known)


def _planned(stage: Stage, chain: Chain, model: VideoModel) -> Chain:
    try:
        clip = plan_clip(chain.clips, stage.length, stage.join, model.family.grid, chain.fps)
    except Refusal as refusal:
        raise refusal.at(stage=len(chain.links) + 1) from None
    return chain.append(Link(clip, None, model))


def _stage(inputs: Inputs, model: VideoModel) -> Stage | None:
    """A later stage as far as the graph knows it, with stand-ins for what other nodes will make.

    None where its length or its transition is made by another node.
    """
    unit = inputs.get("length")
    amount = inputs.get(f"length.{unit}")
    transition = inputs.get("transition")
    overlap, fade = inputs.get("transition.overlap.overlap_frames"), inputs.get("transition.fade_frames", 0)
    if amount is None or transition is None or any(map(_linked, (unit, amount, transition, overlap, fade))):
        return None
    carry = inputs.get("transition.carry_over", Carry.PIXELS)
    picture = torch.zeros(1, 1, 1, 3)
    images = {name: picture for name in ("start_image", "end_image") if name in inputs}
    if "transition.carry_over.anchor_image" in inputs:
        images["anchor_image"] = picture
    return Stage(
        prompt="",
        negative_prompt="",
        length=Length(seconds=amount) if unit == "seconds" else Length(frames=amount),
        seed=0,
        join=Join.of(Transition(transition), model.variant.overlap if overlap is None else overlap, fade),
        carry=Carry.PIXELS if _linked(carry) else Carry(carry),
        width=_number(inputs.get("size.width")),
        height=_number(inputs.get("size.height")),
        **images,
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _linked(value: Any) -> bool:
    return isinstance(value, list)
