"""What the graph says about the stages after a node, before they run.

ComfyUI runs the first stage before it looks at the second. A slip in stage 3 would surface after stages 1 and 2 have
rendered for an hour, so each node that renders checks what follows it as far as the graph's constants tell. Only nodes
that this run executes are looked at, and what cannot be told is left to the node itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..pipelines.chain.chain import Chain, Link
from ..pipelines.errors import Refusal
from ..pipelines.model.lora import without_loras
from ..pipelines.stage.check import check_stages, plan_stage
from ..pipelines.stage.keys import look_up
from ..pipelines.stage.stage import Ready, behind
from ..pipelines.takes import store
from ..pipelines.timeline.clips import Clip
from .choosing import Choices, NodeRefused
from .graph import Link as GraphLink
from .graph import Node, Run
from .refused import LaterRefused
from .stage_inputs import stages_of

if TYPE_CHECKING:
    from ..pipelines.model.bundle import VideoModel

STAGE, LORA = "LongtakeChainStage", "LongtakeApplyLora"
# What hands on the clips of a chain as they are: the input it comes into and the number of the output it leaves by.
# ComfyUI's Start Loop puts a LoopIteration between two copies of what lies in the loop.
SAME_CLIPS = {
    "LongtakeBridgeStage": ("chain", 0),
    "LongtakeKeepChain": ("chain", 0),
    "LoopIteration": ("current_iteration_value", 4),
}

# Inputs that are written as several, "length.seconds" and the like.
GROUPS = ("length", "size", "transition", "transition.overlap", "transition.carry_over", "take")
# What is linked of these does not say how long a stage is or how it joins.
LEFT_OPEN = ("guides.", "transition.carry_over")
IMAGES = ("start_image", "end_image", "transition.carry_over.anchor_image")


def look_ahead(run: Run, chain: Chain | None, ready: Sequence[Ready], model: VideoModel) -> int:
    """Check the stages that follow a node, as `check_later_stages`; returns how many there are.

    ComfyUI puts an error on the node that runs. The page is told which node this one is of, and marks that.

    Raises:
        LaterRefused: a later node cannot do what it is asked.
    """
    try:
        return check_later_stages(run, chain, ready, model)
    except NodeRefused as refusal:
        raise LaterRefused(refusal, run.shown(refusal.node)) from None


def check_later_stages(run: Run, chain: Chain | None, ready: Sequence[Ready], model: VideoModel) -> int:
    """Check the stages that follow the running node; returns how many there are, in the longest of their chains.

    A stage with a bundle of its own is checked with that bundle where the graph tells what it will be, its LoRAs
    included; elsewhere it is only planned.

    Args:
        chain: rendered, that the running node goes on from.
        ready: what the running node renders behind it.
        model: the bundle of the running node.

    Raises:
        NodeRefused: a node that this run executes cannot do what it is asked, as far as its constants tell.
    """
    if run.node is None:
        return 0
    later = _Later(run, run.node, chain)
    levels = later.levels()
    later.check(ready, model)
    return levels


@dataclass(frozen=True)
class _Seen:
    """What was found of a stage: the clips up to it, and whether more than those could be checked."""

    clips: tuple[Clip, ...]
    whole: bool


@dataclass(frozen=True)
class _Planned:
    """The chain up to a stage.

    Args:
        ready: the stages behind what is rendered; None where one of them is not known in all that names its take.
    """

    chain: Chain
    ready: tuple[Ready, ...] | None


class _Later:
    """The stages behind a node of a run."""

    def __init__(self, run: Run, node: Node, chain: Chain | None):
        self._graph, self._node, self._chain = run.graph, node, chain
        self._executed = run.graph.executed(node.id)
        self._seen: dict[str, _Seen] = run.kept
        self._known: dict[GraphLink, Any] = {}

    def levels(self) -> int:
        level, count, counted = self._next(self._node.id), 0, {self._node.id}
        while level:
            count += 1
            counted |= {node.id for node in level}
            level = [after for node in level for after in self._next(node.id) if after.id not in counted]
        return count

    def check(self, ready: Sequence[Ready], model: VideoModel) -> None:
        chain = behind(ready, self._chain)
        if chain is None:
            return
        seen = self._seen.get(self._node.id)
        if seen is not None and seen.whole and seen.clips == chain.clips:
            return  # by the stage before, with all that follows
        self._know(self._node, model)
        start = _Planned(chain, tuple(ready))
        waiting, visited = [(node, start) for node in self._next(self._node.id)], {self._node.id}
        while waiting:
            node, before = waiting.pop()
            if node.id not in visited:
                visited.add(node.id)
                planned = self._checked(node, before, model)
                waiting += [(after, planned) for after in self._next(node.id)] if planned else []

    def _next(self, node_id: str) -> list[Node]:
        """The stages whose chain comes from a node, straight or through what leaves it as it is."""
        stages: list[Node] = []
        through, passed = [(node_id, 0)], {node_id}
        while through:
            chain = through.pop()
            for node in self._graph.consumers(chain[0]):
                taken_by, output = SAME_CLIPS.get(node.kind, ("chain", 0))
                if node.id not in self._executed or node.links.get(taken_by) != chain:
                    continue
                if node.kind == STAGE:
                    stages.append(node)
                elif node.kind in SAME_CLIPS and node.id not in passed:
                    passed.add(node.id)
                    through.append((node.id, output))
        return stages

    def _know(self, node: Node, model: VideoModel) -> None:
        """Note what comes over the link that brought `model`, and over those below its LoRAs."""
        link = node.links.get("model")
        if link is None:
            return
        self._known[link] = model
        passed: set[str] = set()
        while (below := self._graph.get(link[0])) and below.kind == LORA and below.id not in passed:
            passed.add(below.id)
            if "model" not in below.links:
                return
            link = below.links["model"]
        if passed and self._known.get(link) is None:
            self._known[link] = without_loras(model)

    def _checked(self, node: Node, before: _Planned, model: VideoModel) -> _Planned | None:
        """The chain with a later stage at its end; None where it cannot be told how long that will be."""
        number = len(before.chain.links) + 1
        try:
            return self._planned(node, before, model)
        except NodeRefused as refusal:
            raise NodeRefused(refusal.node, refusal.at(stage=number)) from None
        except Refusal as refusal:
            raise NodeRefused(node, refusal.at(stage=number)) from None
        except Exception:
            # Of whatever kind: a look ahead must not stop a film that the node itself may well render.
            logging.debug("node %s cannot be told before it runs", node.id, exc_info=True)
            return None

    def _planned(self, node: Node, before: _Planned, model: VideoModel) -> _Planned | None:
        choices, chain = Choices(self._graph, self._known), before.chain
        own = choices.get(node.links.get("model"))
        sampling = choices.get(node.links.get("sampling"))
        inputs = _constants(node)
        if inputs is None:
            return None
        stages = stages_of(own or model, chain, **inputs, sampling=sampling)
        if own is None:
            for stage in stages:
                chain = chain.append(Link(plan_stage(stage, model, chain), None, model))
            planned = _Planned(chain, None)
        else:
            sampled_as_told = sampling is not None or "sampling" not in node.links
            ready = check_stages(stages, [own] * len(stages), chain, sampled_as_told)
            exact = before.ready is not None and sampled_as_told and node.links.keys() <= {"model", "chain", "sampling"}
            known = (*before.ready, *ready) if exact and before.ready is not None else None
            planned = _Planned(behind(ready, chain) or chain, known)
            if known and any(stage.take for stage in stages):
                self._check_take(known)
        self._seen[node.id] = _Seen(planned.chain.clips, own is not None)
        return planned

    def _check_take(self, ready: Sequence[Ready]) -> None:
        """Refuse a number of a take that the last stage has not; one before it speaks for itself."""
        try:
            look_up(store.here(), ready, self._chain)
        except Refusal as refusal:
            if refusal.stage == ready[-1].number:
                raise


def _constants(node: Node) -> dict[str, Any] | None:
    """The inputs of a stage that are known, as its node takes them; None where its length or transition is not.

    Images are stood in for, so that a stage is known to have them.
    """
    picture = torch.zeros(1, 1, 1, 3)
    constants: dict[str, Any] = {}
    for name, value in node.inputs.items():
        linked, (*groups, last) = name in node.links, name.split(".")
        if linked and name in IMAGES:
            value = picture
        elif linked and groups and not name.startswith(LEFT_OPEN):
            return None
        elif linked:
            continue
        place = constants
        for group in groups:
            place = place.setdefault(group, {})
        if name in GROUPS:
            place = place.setdefault(last, {})
        place[last] = value
    return constants
