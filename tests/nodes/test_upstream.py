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
    from longtake.nodes import upstream

    import nodes

    class Stateful:
        @classmethod
        def IS_CHANGED(cls, **_: Any) -> float:
            return 0.0

    for kind in ("ModelSamplingSD3", "ModelSamplingAuraFlow", "LongtakeUseLoadedModels"):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, kind, object)
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Stateful", Stateful)
    # Another run of this suite may have made the tiny models a moment ago.
    monkeypatch.setattr(upstream, "STARTED", float("inf"))
    return lambda graph: upstream.source_of(graph, "3", "model", object())


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
    assert source_of(None) is None


def test_a_file_written_while_comfyui_runs_identifies_nothing(
    source_of: Any, monkeypatch: pytest.MonkeyPatch, tiny_models: Path
) -> None:
    from longtake.nodes import upstream

    monkeypatch.setattr(upstream, "STARTED", os.stat(tiny_models / "diffusion_models" / HIGH).st_mtime - 1)
    assert source_of(GRAPH) is None
