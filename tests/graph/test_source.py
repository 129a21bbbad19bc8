"""What identifies a model of another loader: every node, constant and file that made it, or nothing at all."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest

HIGH = "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors"
GRAPH: dict[str, Any] = {
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": HIGH, "weight_dtype": "default"}},
    "2": {"class_type": "ModelSamplingSD3", "inputs": {"model": ["1", 0], "shift": 8.0}},
    "3": {"class_type": "LongtakeUseLoadedModels", "inputs": {"model": ["2", 0]}},
}


@pytest.fixture
def source_of(comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from longtake.host import source
    from longtake.host.graph import Graph, Run

    import nodes

    class Stateful:
        @classmethod
        def IS_CHANGED(cls, **_: Any) -> float:
            return 0.0

    for kind in ("ModelSamplingSD3", "ModelSamplingAuraFlow", "LoraLoader", "LongtakeUseLoadedModels"):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, kind, object)
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Stateful", Stateful)
    # Another run of this suite may have made the tiny models a moment ago.
    monkeypatch.setattr(source, "STARTED", float("inf"))
    return lambda graph: source.source_of(Run(Graph(graph), "3"), "model", object())


def changed(node: str, **inputs: Any) -> dict[str, Any]:
    graph = copy.deepcopy(GRAPH)
    kind = inputs.pop("class_type", None)
    graph[node]["inputs"] |= inputs
    if kind:
        graph[node]["class_type"] = kind
    return graph


def test_the_same_nodes_under_other_ids_are_the_same_model(source_of: Any) -> None:
    renamed = {
        "a": GRAPH["1"],
        "b": {**GRAPH["2"], "inputs": {"model": ["a", 0], "shift": 8.0}},
        "3": {**GRAPH["3"], "inputs": {"model": ["b", 0]}},
    }
    assert source_of(GRAPH) is not None
    assert source_of(renamed) == source_of(GRAPH)
    assert [Path(file).name for file in source_of(GRAPH).files] == [HIGH]


def test_each_ingredient_of_the_graph_makes_another_model(source_of: Any) -> None:
    graphs = [
        GRAPH,
        changed("1", unet_name=HIGH.replace("high", "low")),
        changed("1", weight_dtype="fp8_e5m2"),
        changed("2", shift=8.5),
        changed("2", class_type="ModelSamplingAuraFlow"),
        changed("2", model=["1", 1]),
        changed("3", model=["1", 0]),
        changed("2", extra="text"),
    ]
    sources = {source_of(graph) for graph in graphs}
    assert None not in sources
    assert len(sources) == len(graphs)


def test_what_may_differ_between_two_runs_identifies_nothing(source_of: Any) -> None:
    assert source_of(changed("2", class_type="Stateful")) is None
    assert source_of(changed("2", class_type="NobodyKnows")) is None
    assert source_of(changed("2", lora="gone.safetensors")) is None
    assert source_of(changed("2", model=["2", 0])) is None
    assert source_of(changed("2", model=["9", 0])) is None
    assert source_of({}) is None


def test_a_file_written_while_comfyui_runs_identifies_nothing(
    source_of: Any, monkeypatch: pytest.MonkeyPatch, tiny_models: Path
) -> None:
    from longtake.host import source

    monkeypatch.setattr(source, "STARTED", os.stat(tiny_models / "diffusion_models" / HIGH).st_mtime - 1)
    assert source_of(GRAPH) is None


def stacked(count: int, strength: float = 1.0) -> dict[str, Any]:
    """LoRA loaders that each take model and text encoder of the one before: 2 ** count ways lead through them."""
    graph = copy.deepcopy(GRAPH)
    for number in range(count):
        below = [f"lora {number - 1}", 0] if number else ["2", 0]
        graph[f"lora {number}"] = {
            "class_type": "LoraLoader",
            "inputs": {"model": below, "clip": [below[0], 1], "lora_name": HIGH, "strength": strength},
        }
    graph["3"]["inputs"]["model"] = [f"lora {count - 1}", 0]
    return graph


def test_a_hundred_stacked_loaders_are_read_once_each(source_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.host import source

    read = []
    files_named = source._files_named
    monkeypatch.setattr(source, "_files_named", lambda value: read.append(value) or files_named(value))
    assert source_of(stacked(100)) is not None
    assert len(read) == 2 + 2 + 4 * 100
    assert source_of(stacked(100)) == source_of(stacked(100))
    assert source_of(stacked(100, 0.5)) != source_of(stacked(100))


def test_a_thousand_nodes_in_a_row_are_no_depth(source_of: Any) -> None:
    graph = copy.deepcopy(GRAPH)
    for number in range(1000):
        inputs = {"model": [f"patch {number - 1}" if number else "1", 0], "shift": number}
        graph[f"patch {number}"] = {"class_type": "ModelSamplingSD3", "inputs": inputs}
    graph["3"]["inputs"]["model"] = ["patch 999", 0]
    assert source_of(graph) is not None
