"""Reading a graph: total whatever it holds, and without recursion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "b", "c", "ComfySwitchNode"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "inputs"]), inner),
    max_leaves=8,
)
LINKS = st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(-1, 3)).map(list)
NODES = st.fixed_dictionaries(
    {"class_type": st.sampled_from(["ImageScale", "LoadImage", "Nobody"]) | JSON},
    optional={"inputs": st.dictionaries(st.sampled_from(["image", "chain", "x"]), LINKS | JSON) | JSON, "_meta": JSON},
)
PROMPTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), NODES | JSON)


@pytest.fixture(scope="module", autouse=True)
def in_comfyui(comfyui: Path) -> None:
    """What a kind of node is, ComfyUI knows."""


@given(prompt=PROMPTS, added=PROMPTS, outputs=st.lists(st.sampled_from(["a", "b", "z"])), start=st.sampled_from("abz"))
def test_any_graph_can_be_read(prompt: Any, added: Any, outputs: list[str], start: str) -> None:
    from longtake.host.graph import Graph, Loop

    graph = Graph(prompt, added, outputs)
    assert graph.executed(start) <= graph.nodes.keys()
    try:
        ordered = [node.id for node in graph.sources_first(start)]
    except Loop:
        return
    for place, node_id in enumerate(ordered):
        sources = {id for id, _ in graph.nodes[node_id].links.values()} & graph.nodes.keys()
        assert sources <= set(ordered[:place])


def test_a_host_that_does_not_say_what_it_executes_is_taken_at_the_links() -> None:
    from longtake.host.graph import Graph

    def node(*sources: str) -> dict[str, Any]:
        return {"class_type": "Nobody", "inputs": {name: [name, 0] for name in sources}}

    row = {"a": node(), "b": node("a"), "c": node("b"), "side": node("other"), "other": node()}
    assert Graph(row).executed("a") == {"a", "b", "c"}
    fork = {**row, "d": node("b")}
    assert Graph(fork).executed("a") == {"a", "b"}
    assert Graph(fork, outputs=["d"]).executed("a") == {"a", "b", "d"}


def test_a_node_without_a_run_sees_nothing() -> None:
    from longtake.host.graph import Run

    assert Run.of(None).node is None
    assert Run.of(object()).node is None


def test_no_private_name_of_the_host_is_needed_to_import_the_pack() -> None:
    """One that is renamed must not take all nodes with it."""
    import ast

    from tests.host.place import ROOT

    for path in [*(ROOT / "host").glob("*.py"), *(ROOT / "nodes").glob("*.py")]:
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.ImportFrom) and statement.level == 0:
                private = [alias.name for alias in statement.names if alias.name.startswith("_")]
                assert not private, path
                assert statement.module != "comfy_api.internal", path
