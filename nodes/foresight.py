"""Bundles that nodes further on in the queued graph will make, as far as the graph's constants tell.

A LoRA that fits nothing should stop the queue before the first stage renders, not when its own node runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..pipelines.bundle.model import VideoModel
from ..pipelines.lora.apply import apply_lora, without_loras
from ..pipelines.lora.choice import LoraChoice, Passes
from .load import wan22_bundle
from .lora import lora_names, lora_path

Graph = Mapping[str, Mapping[str, Any]]
Known = dict[tuple[str, int], VideoModel | None]

LOAD_WAN, APPLY_LORA = "LongtakeLoadWan22", "LongtakeApplyLora"


def known_from(graph: Graph, link: Any, model: VideoModel) -> Known:
    """What a node knows that got `model` over a link: that bundle, and the one below its LoRAs."""
    known: Known = {}
    if not _linked(link):
        return known
    known[str(link[0]), link[1]] = model
    while _linked(link) and graph.get(str(link[0]), {}).get("class_type") == APPLY_LORA:
        link = graph[str(link[0])].get("inputs", {}).get("model")
    if _linked(link):
        known[str(link[0]), link[1]] = without_loras(model)
    return known


def bundle_at(graph: Graph, link: Any, known: Known) -> VideoModel | None:
    """The bundle that will come over a link, or None where that is not known before its nodes have run.

    Raises:
        Refusal: the node that makes it will refuse.
    """
    if not _linked(link):
        return None
    place = (str(link[0]), link[1])
    if place not in known:
        known[place] = _made_by(graph, graph.get(place[0], {}), known)
    return known[place]


def _made_by(graph: Graph, node: Mapping[str, Any], known: Known) -> VideoModel | None:
    inputs = dict(node.get("inputs", {}))
    below = bundle_at(graph, inputs.pop("model", None), known)
    if any(map(_linked, inputs.values())):
        return None
    if node.get("class_type") == LOAD_WAN:
        files = ("high_noise_model", "low_noise_model", "text_encoder", "vae")
        return wan22_bundle(*(inputs[name] for name in files))
    if node.get("class_type") == APPLY_LORA and below is not None:
        choice = LoraChoice(
            inputs["high_noise_lora"],
            inputs["low_noise_lora"],
            inputs["strength_high"],
            inputs["strength_low"],
            Passes(inputs.get("passes", Passes.BOTH)),
        )
        return apply_lora(below, choice, lora_names(), lora_path)[0]
    return None


def _linked(value: Any) -> bool:
    return isinstance(value, list)
