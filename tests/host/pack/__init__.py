"""Test-only node pack: what other packs do to a graph. It expands into nodes, loops, and passes on."""

from __future__ import annotations

from comfy_execution.graph_utils import GraphBuilder

import nodes


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


class ForEach:
    """Copies a stage of the graph for each line of a list, laid out as ComfyUI's Start Loop lays it out.

    Each copy takes its prompt and what the copy before it hands on from a LoopIteration; an output node needs them all.
    """

    RETURN_TYPES = ("LONGTAKE_CHAIN",)
    FUNCTION = "expand"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"body": ("STRING", {}), "prompts": ("STRING", {})},
            "hidden": {"dynprompt": "DYNPROMPT"},
        }

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")  # what it copies is none of its inputs

    def expand(self, body, prompts, dynprompt):
        graph, carried, lines = GraphBuilder(), None, prompts.splitlines()
        original = dynprompt.get_node(body)
        for position, prompt in enumerate(lines):
            iteration = graph.node(
                "LoopIteration",
                iteration_index=position,
                is_first=position == 0,
                is_last=position == len(lines) - 1,
                list_item=prompt,
                current_iteration_value=carried,
                reuse_cache=False,
            )
            links = {"prompt": iteration.out(3), "chain": iteration.out(4)}
            copy = graph.node(original["class_type"], **{**original["inputs"], **links})
            copy.set_override_display_id(body)
            carried = copy.out(0)
        graph.node("LongtakeTestLoopResult", value=carried)
        return {"result": (carried,), "expand": graph.finalize()}


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


class LoopResult(Pass):
    """What needs all that a loop makes."""

    OUTPUT_NODE = True


class LoopIteration:
    """What ComfyUI newer than 0.30 has: a loop as one round sees it. What is carried is a list."""

    RETURN_TYPES = ("INT", "BOOLEAN", "BOOLEAN", Any("*"), Any("*"))
    OUTPUT_IS_LIST = (False, False, False, False, True)
    INPUT_IS_LIST = True
    FUNCTION = "hand_on"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls):
        flags = {name: ("BOOLEAN", {}) for name in ("is_first", "is_last", "reuse_cache")}
        values = {name: (Any("*"), {}) for name in ("list_item", "current_iteration_value")}
        return {"required": {"iteration_index": ("INT", {}), **flags}, "optional": values}

    @classmethod
    def IS_CHANGED(cls, reuse_cache, **_):
        return None if reuse_cache[0] else float("nan")

    def hand_on(self, iteration_index, is_first, is_last, reuse_cache, list_item, current_iteration_value):
        return iteration_index[0], is_first[0], is_last[0], list_item[0], current_iteration_value


NODE_CLASS_MAPPINGS = {
    "LongtakeTestFilm": Film,
    "LongtakeTestForEach": ForEach,
    "LongtakeTestLoop": Loop,
    "LongtakeTestLoopResult": LoopResult,
    "LongtakeTestPass": Pass,
}
# ComfyUI's own where it has one: a pack that names it too is passed over.
if "LoopIteration" not in nodes.NODE_CLASS_MAPPINGS:
    NODE_CLASS_MAPPINGS["LoopIteration"] = LoopIteration
