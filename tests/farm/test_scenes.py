"""A plan becomes scenes, and a scene a prompt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longtake.pipelines.storyboard.selection import stages_chosen

from farm.scenes import (
    NotAFilm,
    Scene,
    board_of,
    content_name,
    document_with_files,
    files_named,
    makespan,
    scene_graph,
    scenes_of,
    with_files,
    with_seed,
)

TRANSITIONS = ("smooth", "cut", "fade")


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """What `/longtake/plan` answers, as far as scenes are made of it."""
    stages, takes = [], []
    for number in range(1, draw(st.integers(1, 30)) + 1):
        frames = draw(st.integers(1, 200))
        stages.append({"stage": number, "transition": draw(st.sampled_from(TRANSITIONS)), "rendered_frames": frames})
        status = draw(st.sampled_from(("new", "stored", "left")))
        takes.append({"stage": number, "status": status, "take": f"key{number}", "rendering_seconds": float(frames)})
    return {"stages": stages, "takes": takes, "notes": []}


@given(plans())
def test_every_new_stage_is_in_one_scene_and_no_other_is(plan: dict[str, Any]) -> None:
    numbers = [number for scene in scenes_of(plan) for number in scene.numbers]
    assert sorted(numbers) == [take["stage"] for take in plan["takes"] if take["status"] == "new"]


@given(plans())
def test_a_scene_lies_between_two_cuts(plan: dict[str, Any]) -> None:
    for scene in scenes_of(plan):
        inside = range(scene.numbers[0] + 1, scene.numbers[-1] + 1)
        assert all(plan["stages"][number - 1]["transition"] == "smooth" for number in inside)


@given(plans())
def test_what_a_stage_goes_on_from_is_rendered_with_it_or_stored_or_left(plan: dict[str, Any]) -> None:
    """So that two scenes never wait for each other."""
    scene_of = {number: scene for scene in scenes_of(plan) for number in scene.numbers}
    for number, scene in scene_of.items():
        if number > 1 and plan["stages"][number - 1]["transition"] == "smooth" and number - 1 in scene_of:
            assert scene_of[number - 1] is scene


@given(plans())
def test_scenes_come_the_longest_first(plan: dict[str, Any]) -> None:
    seconds = [scene.seconds or 0 for scene in scenes_of(plan)]
    assert seconds == sorted(seconds, reverse=True)


@given(st.lists(st.integers(1, 60), min_size=1, unique=True).map(sorted))
def test_the_stages_of_a_scene_are_read_back_as_they_were(numbers: list[int]) -> None:
    assert stages_chosen(Scene(tuple(numbers), (), 1).stages, 60) == frozenset(numbers)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=50), st.integers(1, 9))
def test_a_farm_takes_no_longer_than_it_has_to(lengths: list[float], servers: int) -> None:
    """Longest first is at most a third longer than the best there is (Graham 1969)."""
    bound = max(max(lengths), sum(lengths) / servers)
    assert bound <= makespan(lengths, servers) + 1e-9
    assert makespan(lengths, servers) <= sum(lengths) / servers + max(lengths)
    assert makespan(lengths, 1) == pytest.approx(sum(lengths))


def graph(storyboard: Any = "a fox", **more: Any) -> dict[str, Any]:
    return {
        "1": {"class_type": "LongtakeLoadWan22", "inputs": {"vae": "vae.safetensors"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "fox.png"}},
        "3": {
            "class_type": "LongtakeRenderStoryboard",
            "inputs": {"model": ["1", 0], "start_image": ["2", 0], "storyboard": storyboard, **more},
        },
        "4": {"class_type": "LongtakeStitchChain", "inputs": {"chain": ["3", 0]}},
    }


def test_a_scene_is_the_storyboard_and_what_it_is_made_from() -> None:
    whole = graph()
    made = scene_graph(whole, "3", Scene((5, 6, 8), (), 1).stages)
    assert set(made) == {"1", "2", "3"}
    assert made["3"]["inputs"]["stages"] == "5-6, 8"
    assert "stages" not in whole["3"]["inputs"]


def test_what_is_no_film_is_refused_in_a_sentence() -> None:
    for document, said in (
        ({"nodes": [], "links": []}, "Export (API)"),
        ([], "Export (API)"),
        ({"1": 5}, "Export (API)"),
        ({"1": {"class_type": "KSampler", "inputs": {}}}, "0 Render Storyboard nodes"),
        ({**graph(), "9": graph()["3"]}, "--node"),
        (graph(storyboard=["5", 0]), "another node"),
        (graph(approve=True), "turn its input approve off"),
    ):
        with pytest.raises(NotAFilm, match=said.replace("(", r"\(").replace(")", r"\)")):
            board_of(document)
    assert board_of({**graph(), "9": graph()["3"]}, "9") == "9"


def test_a_stage_that_would_not_be_found_again_is_refused() -> None:
    take = {
        "stage": 1,
        "status": "new",
        "take": None,
        "unidentified": "a node hands on a model",
        "rendering_seconds": 1,
    }
    plan = {"stages": [{"stage": 1, "transition": "cut", "rendered_frames": 5}], "takes": [take]}
    with pytest.raises(NotAFilm, match="a node hands on a model"):
        scenes_of(plan)
    with pytest.raises(NotAFilm, match="connect Load Image"):
        scenes_of({**plan, "takes": None, "notes": ["connect Load Image"]})


def test_files_are_named_by_what_is_in_them_and_words_are_left_alone() -> None:
    document = {
        "stages": [
            {"prompt": "fox.png", "start_image": "fox.png", "soundtrack": "sea.wav", "anchor": "start_image"},
            {"prompt": "b", "keyframes": [{"image": "owl.png", "frame": 3}]},
        ]
    }
    assert files_named(graph(), document) == {"fox.png", "sea.wav", "owl.png"}
    renamed = document_with_files(document, lambda name: "new/" + name)
    assert renamed["stages"][0] == {
        "prompt": "fox.png",
        "start_image": "new/fox.png",
        "soundtrack": "new/sea.wav",
        "anchor": "start_image",
    }
    assert renamed["stages"][1]["keyframes"] == [{"image": "new/owl.png", "frame": 3}]
    assert with_files(graph(), lambda name: "new/" + name)["2"]["inputs"]["image"] == "new/fox.png"
    assert content_name("a.PNG", b"1") == content_name("b.png", b"1") != content_name("a.png", b"2")
    assert ".." not in content_name("x/../../etc.p/q", b"")


def test_another_seed_moves_every_stage() -> None:
    document = {"stages": [{"prompt": "a", "seed": 5}, {"prompt": "b", "seed": 9}]}
    moved = json.loads(with_seed(graph(), "3", document, 2)["3"]["inputs"]["storyboard"])
    assert [stage["seed"] for stage in moved["stages"]] == [7, 11]
