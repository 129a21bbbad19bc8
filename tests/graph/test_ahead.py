"""Looking ahead costs little: each stage of a long film is planned once, each bundle of it derived once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.host import graphs

COUNT = 1000
LENGTH = {"length": "frames", "frames": 17}
SIZE = {"size": {"size": "own", "width": graphs.WIDTH, "height": graphs.HEIGHT}}


def film(count: int, own_lora: bool = False) -> dict[str, Any]:
    """Stages in a row, each of them with a LoRA node of its own where asked."""
    graph: dict[str, Any] = {"model": graphs.load("t2v"), "sampling": graphs.sampling()}
    none = {"high_noise_lora": "none", "low_noise_lora": "none", "strength_high": 1.0, "strength_low": 1.0}
    for number in range(count):
        model = "model"
        if own_lora:
            model = f"lora {number}"
            graph[model] = {"class_type": "LongtakeApplyLora", "inputs": {**none, "model": ["model", 0]}}
        before = f"stage {number - 1}" if number else None
        graph[f"stage {number}"] = graphs.stage(model, before, transition="cut")
    return graph | graphs.delivered(f"stage {count - 1}")


@pytest.fixture
def ahead(pack: Path) -> Any:
    """The module under test."""
    from longtake.host import ahead

    return ahead


def look_from_each(graph: dict[str, Any], count: int, ahead: Any) -> list[int]:
    """How many stages follow each stage, as each of them is told when it is its turn."""
    from longtake.host.choosing import Choices
    from longtake.host.graph import Graph, Run
    from longtake.host.stage_inputs import stages_of
    from longtake.pipelines.stage.check import check_stage

    read, kept, chain, told = Graph(graph, outputs=["encode"]), {}, None, []
    model, sampling = (Choices(read, {}).get((name, 0)) for name in ("model", "sampling"))
    for number in range(count):
        [stage] = stages_of(model, chain, length=LENGTH, transition={"transition": "cut"}, **SIZE, sampling=sampling)
        ready = check_stage(stage, model, chain)
        run = Run(read, f"stage {number}", kept)
        told.append(ahead.check_later_stages(run, chain, [ready], model))
        chain = ready.behind(chain, model)
    return told


def test_a_thousand_stages_are_looked_over_in_a_moment(ahead: Any) -> None:
    from longtake.host.choosing import Choices
    from longtake.host.graph import Graph, Run
    from longtake.host.stage_inputs import stages_of
    from longtake.pipelines.stage.check import check_stage

    graph = Graph(film(COUNT), outputs=["encode"])
    model, sampling = (Choices(graph, {}).get((name, 0)) for name in ("model", "sampling"))
    [stage] = stages_of(model, None, length=LENGTH, **SIZE, sampling=sampling)
    ready = check_stage(stage, model, None)
    started = time.monotonic()
    assert ahead.check_later_stages(Run(graph, "stage 0"), None, [ready], model) == COUNT - 1
    assert time.monotonic() - started < 5  # a second on an idle core


def test_the_stages_of_a_run_are_planned_once_and_counted_by_each(ahead: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = []
    check_stages = ahead.check_stages
    monkeypatch.setattr(ahead, "check_stages", lambda *told: planned.append(told) or check_stages(*told))
    assert look_from_each(film(60), 60, ahead) == list(range(59, -1, -1))
    assert len(planned) == 59


def test_each_later_bundle_is_derived_once_in_a_run(ahead: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.host import choosing

    derived: list[str] = []
    outputs_of = choosing.outputs_of
    monkeypatch.setattr(choosing, "outputs_of", lambda kind, inputs: derived.append(kind) or outputs_of(kind, inputs))
    look_from_each(film(30, own_lora=True), 30, ahead)
    assert derived.count("LongtakeApplyLora") == 29
