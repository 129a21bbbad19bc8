"""What a film would take, told from takes that are stored; and where a run stops that is approved stage by stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipelines.stage.test_keys import bundle
from tests.pipelines.stage.test_kill import ready_stages

pytestmark = pytest.mark.usefixtures("comfyui")
LATENT = {"latent": torch.zeros(1, 16, 3, 8, 12)}


@pytest.fixture
def ready(tiny_models: Path) -> list[Any]:
    """Three stages of 9 frames 96x64 in 2 steps, smoothly joined."""
    return ready_stages(bundle(tiny_models))


@pytest.fixture
def store(tmp_path: Path) -> Any:
    from longtake.pipelines.takes.store import Store

    return Store(tmp_path / "longtake")


def keep(store: Any, ready: list[Any], count: int, seconds: float = 6.0, **changes: Any) -> None:
    """Store takes of the first stages, as renderings of `seconds` each."""
    from longtake.pipelines.stage.keys import look_up

    for number in range(count):
        planned = look_up(store, ready)[number]
        clip, of = planned.ready.clip, planned.ready
        facts = {
            "place": planned.identity.place,
            "take": 1,
            "variant": of.model.variant.name,
            "steps": of.sampling.steps,
        }
        size = {"width": of.width, "height": of.height, "frames": clip.frames, "rendering_seconds": seconds}
        store.write(planned.identity.key, LATENT, {**facts, **size, **changes})


def told(store: Any, ready: list[Any], *args: Any) -> list[tuple[str, Any]]:
    """Status of each stage, and whether a run waits for it."""
    from longtake.pipelines.stage.forecast import forecast

    return [(stage["status"], stage.get("waits")) for stage in forecast(store, ready, *args)["takes"]]


def approve(store: Any, ready: list[Any], number: int) -> None:
    from longtake.pipelines.stage.keys import look_up

    look_up(store, ready)[number - 1].take.note(approved=True)


def test_an_empty_store_has_nothing_to_learn_from(ready, store):
    from longtake.pipelines.stage.forecast import forecast

    plan = forecast(store, ready)
    assert (plan["stages_to_render"], plan["rendering_seconds"], plan["disk_bytes"]) == (3, None, None)


def test_times_and_sizes_are_those_of_stored_takes_scaled_to_the_clip(ready, store):
    from longtake.pipelines.stage.forecast import forecast
    from longtake.pipelines.stage.keys import look_up

    keep(store, ready, 1, seconds=6.0)
    plan = forecast(store, ready)
    stored, *new = plan["takes"]
    frames = [stage.clip.frames for stage in ready]
    assert (stored["status"], stored["rendering_seconds"], stored["disk_bytes"]) == ("stored", 0, 0)
    assert [stage["rendering_seconds"] for stage in new] == [round(6.0 * n / frames[0], 1) for n in frames[1:]]
    files = look_up(store, ready)[0].take.record()["files"].values()
    size = sum(file["size"] for file in files)
    assert plan["disk_bytes"] == sum(round(size * n / frames[0]) for n in frames[1:])
    assert plan["rendering_seconds"] == sum(stage["rendering_seconds"] for stage in new)


def test_takes_of_another_variant_teach_nothing(ready, store):
    from longtake.pipelines.stage.forecast import forecast

    keep(store, ready, 1, variant="another")
    assert forecast(store, ready)["rendering_seconds"] is None


def test_a_stage_that_is_not_chosen_and_not_stored_is_left(ready, store):
    keep(store, ready, 1)
    assert told(store, ready, {2}) == [("stored", None), ("new", None), ("left", None)]


def test_a_run_stops_at_the_first_stage_nobody_has_approved(ready, store):
    assert told(store, ready, None, True) == [("new", False), ("held", None), ("held", None)]
    keep(store, ready, 1)
    assert told(store, ready, None, True) == [("stored", True), ("held", None), ("held", None)]
    approve(store, ready, 1)
    assert told(store, ready, None, True) == [("stored", False), ("new", False), ("held", None)]
    keep(store, ready, 3)
    approve(store, ready, 2)
    approve(store, ready, 3)
    assert told(store, ready, None, True) == [("stored", False)] * 3


def test_only_chosen_stages_stop_a_run(ready, store):
    from longtake.pipelines.stage.approval import stops_at
    from longtake.pipelines.stage.keys import look_up

    planned = look_up(store, ready)
    assert [stops_at(planned, chosen) for chosen in ({1, 2, 3}, {2, 3}, {3}, set())] == [1, 2, 3, None]


def test_a_take_that_would_not_be_found_again_cannot_be_approved(ready, store):
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.stage.approval import stops_at
    from longtake.pipelines.stage.keys import look_up

    first, *rest = look_up(store, ready)
    lost = replace(first, identity=replace(first.identity, unidentified="a patch has no name"))
    with pytest.raises(Refusal, match="a patch has no name") as refusal:
        stops_at([lost, *rest], {1, 2})
    assert (refusal.value.stage, refusal.value.field) == (1, "approve")
    assert stops_at([lost, *rest], {2}) == 2
