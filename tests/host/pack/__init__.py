"""Test-only node pack: what other packs do to a graph. It expands into nodes, loops, and passes on."""

from __future__ import annotations

from comfy_execution.graph_utils import GraphBuilder


class Film:
    """Expands into a chain of stages, as a node does that holds a workflow of its own."""

    RETURN_TYPES = ("LONGTAKE_CHAIN",)
    FUNCTION = "expand"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"model": ("LONGTAKE_MODEL",), "sampling": ("LONGTAKE_SAMPLING",), "frames": ("STRING", {})},
            "optional": {"chain": ("LONGTAKE_CHAIN",)},
        }

    def expand(self, model, sampling, frames, chain=None):
        graph, last = GraphBuilder(), chain
        for number, count in enumerate(frames.split(",")):
            last = stage(graph, model, sampling, int(count), number, last).out(0)
        return {"result": (last,), "expand": graph.finalize()}


class Loop(Film):
    """Renders a stage and expands into itself for the others, as loops do."""

    def expand(self, model, sampling, frames, chain=None):
        first, _, others = frames.partition(",")
        graph = GraphBuilder()
        last = stage(graph, model, sampling, int(first), len(others), chain).out(0)
        if others:
            last = graph.node("LongtakeTestLoop", model=model, sampling=sampling, frames=others, chain=last).out(0)
        return {"result": (last,), "expand": graph.finalize()}


def stage(graph, model, sampling, frames, seed, chain):
    before = {} if chain is None else {"chain": chain}
    inputs = {
        "length": "frames",
        "length.frames": frames,
        "transition": "cut",
        "size": "own",
        "size.width": 96,
        "size.height": 64,
    }
    texts = {"prompt": "a fox", "negative_prompt": ""}
    return graph.node("LongtakeChainStage", model=model, sampling=sampling, seed=seed, **inputs, **texts, **before)


class Any(str):
    def __ne__(self, other):
        return False


class Pass:
    """Hands on what it is given, of whatever type."""

    RETURN_TYPES = (Any("*"),)
    FUNCTION = "hand_on"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": (Any("*"), {})}}

    def hand_on(self, value):
        return (value,)


NODE_CLASS_MAPPINGS = {"LongtakeTestFilm": Film, "LongtakeTestLoop": Loop, "LongtakeTestPass": Pass}
