"""The plan of a film that is wired of Chain Stages, told from the graph before anything of it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ..pipelines.errors import Refusal
from ..pipelines.stage.check import check_stages
from ..pipelines.stage.forecast import forecast
from ..pipelines.stage.stage import Ready, Stage, behind
from ..pipelines.storyboard.plan import Plan, PlannedStage
from ..pipelines.storyboard.storyboard import StageEntry
from ..pipelines.takes import store
from .ahead import IMAGES, STAGE
from .choosing import Choices, Misfit, NodeRefused, nested
from .graph import Graph, Link, Node
from .inputs import input_image, input_sound
from .stage_inputs import stages_of

if TYPE_CHECKING:
    from ..pipelines.chain.chain import Chain

STITCH = "LongtakeStitchChain"
PASSING = (STITCH, "LongtakeKeepChain")  # what hands on a chain as it is
READ = {"LoadImage": ("image", input_image), "LoadAudio": ("audio", input_sound)}
UNKNOWN_IMAGE = "what is stored is not known before the connected image is: connect Load Image"


def plan_of_chain(graph: Graph, last: Node) -> tuple[dict[str, Any], bool]:
    """The plan of the film up to a Chain Stage or Stitch Chain, and whether all is known that names its takes.

    `nodes` of the plan are the ids of its Chain Stages, `written` of a stage the number of its node among them.

    Raises:
        Refusal: the film does not begin with a Chain Stage, what comes into one is not known before it runs, or it
            cannot be rendered as asked.
        NodeRefused: a node that a stage takes something of refuses.
        Misfit: a stage does not take its inputs.
    """
    nodes = list(_stages_to(graph, last))[::-1]
    choices = Choices(graph, dict(_files_read(graph, last)))
    chain: Chain | None = None
    ready: list[Ready] = []
    planned: list[PlannedStage] = []
    known = True
    for number, node in enumerate(nodes, start=1):
        inputs, exact = _inputs(node, choices)
        known = known and exact
        new = _checked(node, inputs, chain)
        chain = behind(new, chain)
        ready += new
        planned += [PlannedStage(_entry(stage.stage), stage.clip, number) for stage in new]
    notes = tuple(f"stage {stage.number}: {note}" for stage in ready for note in stage.notes)
    plan = Plan(tuple(planned), ready[0].model.fps, ready[0].width, ready[0].height, notes).as_json()
    plan["nodes"] = [node.id for node in nodes]
    return plan | (forecast(store.here(), ready) if known else {}), known


def _stages_to(graph: Graph, last: Node) -> Iterator[Node]:
    """The Chain Stages that a chain is made of, the last one first."""
    graph.sources_first(last.id)  # raises Loop: no film is made from itself
    node: Node | None = last
    while node is not None and node.kind in (STAGE, *PASSING):
        if node.kind == STAGE:
            yield node
            if "chain" not in node.links:
                return
        node = graph.get(node.links.get("chain", ("", 0))[0])
    behind = "nothing" if node is None else node.title[:40]
    raise Refusal(f"the film begins with {behind}, not with a Chain Stage, so what it renders is not known.")


def _files_read(graph: Graph, last: Node) -> Iterator[tuple[Link, Any]]:
    for node in graph.sources_first(last.id):
        name, read = READ.get(node.kind, ("", input_image))
        if isinstance(file := node.inputs.get(name), str):
            try:
                yield (node.id, 0), read(file)
            except Refusal as refusal:
                raise NodeRefused(node, refusal) from None


def _inputs(node: Node, choices: Choices) -> tuple[dict[str, Any], bool]:
    """What a Chain Stage is given, by the names of a prompt; and whether that is all of it.

    An image that is not known is stood in for, and a guide that is not is left out.
    """
    inputs = {name: value for name, value in node.inputs.items() if name not in node.links}
    exact = True
    for name, link in node.links.items():
        value = None if name == "chain" else choices.get(link)
        if value is None and name != "chain":
            exact = False
            if name in IMAGES:
                value = torch.zeros(1, 64, 64, 3)
            elif not name.startswith("guides."):
                said = "what comes into it is not known before the graph runs."
                raise NodeRefused(node, Refusal(said, field=name))
        if value is not None:
            inputs[name] = value
    return inputs, exact


def _checked(node: Node, inputs: Mapping[str, Any], chain: Chain | None) -> list[Ready]:
    """What a Chain Stage asks for behind a chain, ready to be rendered."""
    fields = nested(node.kind, inputs)
    model = fields.pop("model", None)
    if model is None:
        raise NodeRefused(node, Refusal("none is connected.", field="model"))
    try:
        stages = stages_of(model, chain, **fields)
        return check_stages(stages, [model] * len(stages), chain)
    except Refusal:
        raise
    except Exception as error:
        raise Misfit(f"{type(error).__name__}: {error}") from error


def _entry(stage: Stage) -> StageEntry:
    """What a document would say of a stage beside its clip."""
    return StageEntry(
        prompt=stage.prompt, negative_prompt=stage.negative_prompt, seed=stage.seed, take=stage.take or None
    )
