"""ComfyUI's own templates as API prompts: the files that ComfyUI brings, their subgraphs unfolded.

What the canvas does when it queues a file, as far as these templates ask for it: nodes that are off drop out, reroutes
and bypassed nodes lead through, a link into a subgraph goes on inside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.host.stock import Graph
from tests.host.workflow_check import CONTROL, PLAYER, UPLOAD, widgets

OFF, BYPASSED = 2, 4
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = -10, -20
NOTES = ("Note", "MarkdownNote")

ObjectInfo = Mapping[str, Any]
Node = Mapping[str, Any]


def template_file(name: str) -> dict[str, Any]:
    """The template as the installed ComfyUI brings it."""
    from comfyui_workflow_templates import get_asset_path

    return json.loads(Path(get_asset_path(name, f"{name}.json")).read_text(encoding="utf-8"))


@dataclass
class Template:
    """A template as an API prompt whose values can be changed, each by the one node that holds it.

    Args:
        graph: the prompt; a node inside a subgraph is called `OUTER:INNER`.
        titles: of the nodes, as the canvas shows them; the type where a node has none of its own.
    """

    graph: Graph
    titles: Mapping[str, str]

    @classmethod
    def of(cls, name: str, object_info: ObjectInfo) -> Template:
        workflow = template_file(name)
        level = Level(workflow, {part["id"]: part for part in workflow.get("definitions", {}).get("subgraphs", ())})
        graph, titles = {}, {}
        for called, node, where in level.nodes_within():
            inputs = where.inputs_of(node, object_info[node["type"]])
            graph[called] = {"class_type": node["type"], "inputs": inputs}
            titles[called] = node.get("title") or node["type"]
        return cls(graph, titles)

    def one(self, kind: str, title: str | None = None) -> str:
        """The only node of a type, or the only one of them with a title; raises AssertionError where there is none."""
        found = [name for name in self.all(kind) if title is None or self.titles[name] == title]
        assert len(found) == 1, f"{kind} {title or ''}: {len(found)} in the template, {sorted(self.titles.values())}"
        return found[0]

    def all(self, kind: str) -> list[str]:
        return [name for name, node in self.graph.items() if node["class_type"] == kind]

    def set(self, kind: str, title: str | None = None, **values: Any) -> None:
        """Change values of the only such node; each must be there, and no link."""
        inputs = self.graph[self.one(kind, title)]["inputs"]
        for name, value in values.items():
            assert name in inputs and not isinstance(inputs[name], list), f"{kind}.{name}: {inputs.get(name)}"
            inputs[name] = value

    def source(self, kind: str, name: str) -> list[Any]:
        """What is linked to an input of the only such node."""
        return self.graph[self.one(kind)]["inputs"][name]

    def value(self, kind: str, name: str, title: str | None = None) -> Any:
        return self.graph[self.one(kind, title)]["inputs"][name]

    def leading_to(self, *sources: list[Any]) -> Graph:
        """The part of the prompt that these outputs come from."""
        wanted, part = [name for name, _ in sources], {}
        while wanted:
            name = wanted.pop()
            if name not in part:
                part[name] = self.graph[name]
                wanted += [value[0] for value in part[name]["inputs"].values() if isinstance(value, list)]
        return part


@dataclass
class Level:
    """A graph of the file: the outermost, or a subgraph where it stands.

    Args:
        part: the graph as the file writes it.
        definitions: of subgraphs, by id.
        prefix: of the names of its nodes.
        given: by slot, what comes in from outside: a source, a value, or None where the inner widget speaks.
    """

    part: Mapping[str, Any]
    definitions: Mapping[str, Mapping[str, Any]]
    prefix: str = ""
    given: list[Any] = field(default_factory=list)

    @cached_property
    def nodes(self) -> dict[int, Node]:
        return {node["id"]: node for node in self.part["nodes"]}

    @cached_property
    def links(self) -> dict[int, tuple[int, int]]:
        """Link -> the node and the slot it comes from."""
        keys = ("id", "origin_id", "origin_slot")
        listed = [link[:3] if isinstance(link, list) else [link[key] for key in keys] for link in self.part["links"]]
        return {number: (origin, slot) for number, origin, slot in listed}

    def inner(self, node: Node) -> Level:
        """The subgraph that a node stands for."""
        definition = self.definitions[node["type"]]
        given = self._given_to(node, definition)
        return Level(definition, self.definitions, f"{self.prefix}{node['id']}:", given)

    def _given_to(self, node: Node, definition: Mapping[str, Any]) -> list[Any]:
        slots = {slot["name"]: slot for slot in node["inputs"]}
        values = iter(node.get("widgets_values") or ())
        given = []
        for entry in definition["inputs"]:
            value = next(values, None) if _is_widget(definition, entry) else None
            value = None if value is None else {"value": value}
            link = slots.get(entry["name"], {}).get("link")
            given.append(value if link is None else self.source(link))
        return given

    def nodes_within(self) -> Iterator[tuple[str, Node, Level]]:
        """Name, node and level of everything that runs."""
        for number, node in self.nodes.items():
            if node["type"] in self.definitions:
                yield from self.inner(node).nodes_within()
            elif node.get("mode") not in (OFF, BYPASSED) and node["type"] not in (*NOTES, "Reroute"):
                yield f"{self.prefix}{number}", node, self

    def inputs_of(self, node: Node, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a node in the words of the API: its widgets' values, and links in their place."""
        values = node.get("widgets_values") or []
        entries, _ = widgets(schema["input"], values)
        pairs = zip(entries, values, strict=False)
        inputs = {entry.name: value for entry, value in pairs if entry.name not in (CONTROL, UPLOAD, PLAYER)}
        for slot in node.get("inputs", ()):
            source = None if slot["link"] is None else self.source(slot["link"])
            if isinstance(source, dict):
                source = source["value"]
            if source is not None:
                inputs[slot["name"]] = source
        return inputs

    def source(self, link: int) -> Any:
        """Where a link comes from in the end: `[node, slot]`, a `{"value": ...}`, or None."""
        origin, slot = self.links[link]
        if origin == SUBGRAPH_INPUT:
            return self.given[slot]
        node = self.nodes[origin]
        if node["type"] in self.definitions:
            inner = self.inner(node)
            return inner.source(inner.part["outputs"][slot]["linkIds"][0])
        if node.get("mode") == OFF:
            return None
        if node["type"] == "Reroute" or node.get("mode") == BYPASSED:
            kind = node["outputs"][slot]["type"]
            through = [one for one in node["inputs"] if node["type"] == "Reroute" or one["type"] == kind]
            return self.source(through[0]["link"]) if through and through[0]["link"] is not None else None
        return [f"{self.prefix}{origin}", slot]


def _is_widget(definition: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether an input of a subgraph stands for a widget inside it."""
    link = next(link for link in definition["links"] if link["id"] == entry["linkIds"][0])
    node = next(node for node in definition["nodes"] if node["id"] == link["target_id"])
    return "widget" in node["inputs"][link["target_slot"]]
