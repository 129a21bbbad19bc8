"""Whether a file of the canvas (schema 0.4) fits the nodes of a server, as far as can be told without a browser.

The canvas itself says nothing about shuffled widget values or an input that names a missing link.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
KEYS = ("last_node_id", "last_link_id", "nodes", "links", "groups")
VALUES = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}
CHOICE, DYNAMIC, GROWING = "COMBO", "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3"
CONTROL, UPLOAD = "control_after_generate", "upload"
# The canvas adds the control to these names whatever their schema says.
SEEDS = ("seed", "noise_seed")
NOTE = "MarkdownNote"
PLAYER = "audioUI"  # the canvas lists the player of Load Audio among its widgets
UPLOADS = ("image_upload", "video_upload", "audio_upload")

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """An input of a node: its name, its type (`COMBO` for a list of choices), and its options."""

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True

    @property
    def is_widget(self) -> bool:
        return not self.options.get("forceInput") and (self.type in VALUES or self.type in (CHOICE, DYNAMIC))


def entries(inputs: Mapping[str, Any], prefix: str = "") -> Iterator[Entry]:
    """The inputs of one `{"required": ..., "optional": ...}` of /object_info, in the order of the canvas."""
    for section in ("required", "optional"):
        for name, (kind, *rest) in (inputs.get(section) or {}).items():
            options = rest[0] if rest else {}
            if isinstance(kind, list):
                kind, options = CHOICE, {**options, "options": kind}
            kind = options.get("widgetType", kind)  # an input of several types is one widget
            if kind == GROWING:
                yield from _grown(prefix + name, options["template"])
                continue
            yield Entry(prefix + name, kind, options, section == "required")


def _grown(name: str, template: Mapping[str, Any]) -> Iterator[Entry]:
    """The sockets of an input that grows as they are connected."""
    [(kind, *_)] = [form for section in template["input"].values() for form in section.values()]
    names = template.get("names") or [f"{template['prefix']}{number}" for number in range(template["max"])]
    for number, last in enumerate(names):
        yield Entry(f"{name}.{last}", kind, required=number < template["min"])


def widgets(inputs: Mapping[str, Any], values: list[Any]) -> tuple[list[Entry], list[str]]:
    """The widgets whose values a node must list, in order, and what is wrong with those values.

    A dynamic combo is followed by the widgets of the option that its value chooses.
    """
    found: list[Entry] = []
    uploads: list[Entry] = []
    wrong: list[str] = []

    def follow(group: Mapping[str, Any], prefix: str = "") -> None:
        for one in entries(group, prefix):
            if not one.is_widget:
                continue
            found.append(one)
            if one.type == DYNAMIC:
                choices = {option["key"]: option["inputs"] for option in one.options["options"]}
                chosen = values[len(found) - 1] if len(found) <= len(values) else None
                if isinstance(chosen, str) and chosen in choices:
                    follow(choices[chosen], f"{one.name}.")
                else:
                    wrong.append(f"{one.name}: {chosen!r} is none of {sorted(choices)}")
            elif one.options.get(CONTROL) or (one.type == "INT" and one.name in SEEDS):
                found.append(Entry(CONTROL, CHOICE, {"options": ["fixed"]}))
            if one.options.get("audio_upload"):
                uploads.append(Entry(PLAYER, "STRING"))
            if any(one.options.get(kind) for kind in UPLOADS):
                uploads.append(Entry(UPLOAD, "STRING"))

    follow(inputs)
    return found + uploads, wrong


def value_problem(entry: Entry, value: Any) -> str | None:
    """What is wrong with the value of a widget."""
    if value is None and entry.name in (PLAYER, UPLOAD):
        return None
    if entry.type == DYNAMIC or (entry.type == CHOICE and any(entry.options.get(kind) for kind in UPLOADS)):
        return None
    if entry.type == CHOICE:
        choices = entry.options.get("options", [])
        return None if value in choices else f"{entry.name}: {value!r} is none of {choices[:8]}"
    if not isinstance(value, VALUES[entry.type]) or (isinstance(value, bool) and entry.type != "BOOLEAN"):
        return f"{entry.name}: {value!r} is no {entry.type}"
    if entry.type in ("INT", "FLOAT"):
        low, high = entry.options.get("min", -math.inf), entry.options.get("max", math.inf)
        if not low <= value <= high:
            return f"{entry.name}: {value} is not within {low} and {high}"
    return None


def node_problems(node: Node, schema: Mapping[str, Any]) -> Iterator[str]:
    """Hold one node to its schema: values, required inputs, outputs."""
    values = node.get("widgets_values") or []
    if not isinstance(values, list):
        yield "its widget values are no list"
        return
    expected, wrong = widgets(schema["input"], values)
    yield from wrong
    if not wrong and len(values) != len(expected):
        yield f"{len(values)} widget values, expected {[entry.name for entry in expected]}"
    slots = {slot["name"]: slot for slot in node["inputs"]}
    for entry, value in zip(expected, values, strict=False):
        if slots.get(entry.name, {}).get("link") is None and (problem := value_problem(entry, value)):
            yield problem
    for entry in entries(schema["input"]):
        linked = slots.get(entry.name, {}).get("link") is not None
        if entry.required and not entry.is_widget and not linked:
            yield f"the input {entry.name} must be connected"
    known = {entry.name: entry.type for entry in (*entries(schema["input"]), *expected)}
    for name, slot in slots.items():
        if name not in known:
            yield f"it has no input {name}"
        elif name not in (UPLOAD, PLAYER) and slot["type"] != known[name]:
            yield f"the input {name} is {slot['type']} in the file, {known[name]} on the server"
    outputs = [slot["type"] for slot in node["outputs"]]
    if outputs != list(schema["output"]):
        yield f"outputs {outputs}, expected {schema['output']}"


def link_problems(graph: Mapping[str, Any]) -> Iterator[str]:
    """Hold links and slots to each other: each end of a link must name it, and the types must agree."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    known = set()
    for number, origin, origin_slot, target, target_slot, kind in graph["links"]:
        known.add(number)
        outputs = nodes[origin]["outputs"] if origin in nodes else []
        inputs = nodes[target]["inputs"] if target in nodes else []
        if origin_slot >= len(outputs) or number not in (outputs[origin_slot]["links"] or []):
            yield f"link {number}: output {origin_slot} of node {origin} does not name it"
        elif outputs[origin_slot]["type"] != kind:
            yield f"link {number}: {kind} comes out of a {outputs[origin_slot]['type']} slot"
        if target_slot >= len(inputs) or inputs[target_slot]["link"] != number:
            yield f"link {number}: input {target_slot} of node {target} does not name it"
        elif inputs[target_slot]["type"] != kind:
            yield f"link {number}: {kind} goes into a {inputs[target_slot]['type']} slot"
    for node in graph["nodes"]:
        named = [slot["link"] for slot in node["inputs"] if slot["link"] is not None]
        named += [link for slot in node["outputs"] for link in slot["links"] or []]
        for number in named:
            if number not in known:
                yield f"node {node['id']}: link {number} does not exist"


def overlaps(graph: Mapping[str, Any]) -> Iterator[str]:
    """Pairs of nodes that lie on each other; a title bar of 30 units is above the position."""
    boxes = [(n["id"], n["pos"][0], n["pos"][1] - 30, *n["size"], n["size"][1] + 30) for n in graph["nodes"]]
    for count, (one, left, top, width, _, height) in enumerate(boxes):
        for other, left2, top2, width2, _, height2 in boxes[count + 1 :]:
            if left < left2 + width2 and left2 < left + width and top < top2 + height2 and top2 < top + height:
                yield f"nodes {one} and {other} lie on each other"


def not_finite(part: Any, where: str = "") -> Iterator[str]:
    """Numbers that JSON has no word for."""
    if isinstance(part, float) and not math.isfinite(part):
        yield f"{where}: {part}"
    pairs = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, inner in pairs:
        yield from not_finite(inner, f"{where}/{key}")


def problems(graph: Mapping[str, Any], object_info: Mapping[str, Any]) -> list[str]:
    """All that is wrong with a canvas file on a server with these nodes; empty where nothing is."""
    found = list(not_finite(graph))
    if graph.get("version") != 0.4:
        found.append(f"version {graph.get('version')}, expected 0.4")
    if not UUID4.fullmatch(str(graph.get("id"))):
        found.append(f"the id {graph.get('id')} is no UUID of version 4")
    found += [f"{key} is missing" for key in KEYS if graph.get(key) is None]
    if any(graph.get(key) is None for key in KEYS):
        return found
    ids = [node["id"] for node in graph["nodes"]]
    if len(set(ids)) != len(ids) or max(ids) > graph["last_node_id"]:
        found.append(f"node ids {ids} do not fit last_node_id {graph['last_node_id']}")
    for node in graph["nodes"]:
        if node["type"] == NOTE:
            continue  # of the canvas alone
        schema = object_info.get(node["type"])
        wrong = ["there is no such node"] if schema is None else node_problems(node, schema)
        found += [f"node {node['id']}, {node['type']}: {problem}" for problem in wrong]
    return [*found, *link_problems(graph), *overlaps(graph)]
