"""Storyboards for LTX-2 on a real server: what they name is used as if it were wired by hand, and what cannot be is
refused."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from typing import Any

import pytest

from tests.host import graphs, stock_ltx2
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_film_with_sound import sound_of
from tests.host.test_given_ltx2 import followed, keyframe, sampling
from tests.host.test_routes import ask

PLANNED = ("model", "sampling", "board")
SIZE = {"width": stock_ltx2.WIDTH, "height": stock_ltx2.HEIGHT}


def board(photo: str, **changes: Any) -> dict[str, Any]:
    """Three stages: from text, past a keyframe while it looks at an anchor, and a cut to a picture.

    25 frames, 16 more and 25 more.
    """
    return {
        "schema": "longtake.storyboard.v1",
        "defaults": {"frames": 25, "seed": 7, "overlap": 9, "soundtrack": "example.wav", **SIZE} | changes,
        "stages": [
            {"prompt": "a red fox"},
            {
                "prompt": "it runs",
                "anchor_image": photo,
                "anchor_strength": 0.25,
                "keyframes": [{"image": photo, "frame": 16, "strength": 0.5}, {"image": photo, "frame": -1}],
            },
            {"prompt": "a lake", "transition": "cut", "start_image": photo},
        ],
    }


def queued(document: dict[str, Any], **changes: Any) -> Graph:
    storyboard = graphs.storyboard(document, **changes)
    del storyboard["inputs"]["sampling"]
    return {"model": graphs.load_ltx2(), "board": storyboard, **graphs.delivered("board")}


def by_hand(photo: str) -> Graph:
    """The same film as Chain Stages."""

    def stage(chain: str | None, number: int, prompt: str, **changes: Any) -> dict[str, Any]:
        usual = {"prompt": prompt, "negative_prompt": "", "seed": 6 + number}
        guides = ["track", *changes.pop("guides", ())]
        return graphs.ltx2_stage(chain, **(usual | changes), guides=guides)

    return {
        "model": graphs.load_ltx2(),
        "sound": node("LoadAudio", audio="example.wav"),
        "photo": node("LoadImage", image=photo),
        "key1": keyframe(16, 0.5),
        "key2": keyframe(-1),
        "track": followed("sound"),
        "anchor": node("LongtakeAnchor", image=["photo", 0], counts="own", **{"counts.strength": 0.25}),
        "one": stage(None, 1, "a red fox"),
        "two": stage("one", 2, "it runs", guides=["key1", "key2", "anchor"]),
        "three": stage("two", 3, "a lake", transition="cut", start_image=["photo", 0]),
        **graphs.delivered("three"),
    }


def test_a_storyboard_delivers_its_film_and_is_the_chain_wired_by_hand(server: Server, photos: dict[str, str]) -> None:
    result = server.run(queued(board(photos["rocket"])))
    assert result.ok, result.why()
    file = server.files(result)[0]
    film = look_into(file)
    assert (film.frames, film.fps) == (25 + 16 + 25, 24)
    rate, length, heard = sound_of(file)
    assert length == round(Fraction(66, 24) * rate)
    assert abs(heard).max() > 0.01
    planned = json.loads(result.outputs["board"]["text"][0])["stages"]
    assert [stage["soundtrack"] for stage in planned] == ["example.wav"] * 3
    rendered = [data["take"] for data in result.of("longtake.stage_done")]
    assert len(rendered) == 3

    wired = server.run(by_hand(photos["rocket"]))
    assert wired.ok, wired.why()
    assert [data["take"] for data in wired.of("longtake.stored_hit")] == rendered
    assert look_into(server.files(wired)[0]).frames == film.frames


def test_the_plan_over_http_knows_what_a_storyboard_names_and_ltx2_sampling(server: Server) -> None:
    graph = queued(board("example.png"))
    graph["sampling"] = sampling(schedule="sigmas", **{"schedule.sigmas": "1, 0.5, 0"})
    graph["board"]["inputs"]["sampling"] = ["sampling", 0]
    status, plan = ask(server, "POST", "/longtake/plan", {"prompt": {name: graph[name] for name in PLANNED}})
    assert status == 200, plan
    assert (plan["frames"], [take["status"] for take in plan["takes"]]) == (66, ["new"] * 3)
    assert plan["stages"][1]["keyframes"][1] == {"image": "example.png", "frame": -1, "strength": 1.0}


def test_each_thing_that_is_named_makes_another_take(server: Server, photos: dict[str, str]) -> None:
    def second_take(document: dict[str, Any]) -> str:
        answer = server.run(queued(document, validate_only=True))
        assert answer.ok, answer.why()
        return json.loads(answer.outputs["board"]["text"][0])["takes"][1]["take"]

    keys = {second_take(board(photos["rocket"]))}
    for field, value in (
        ("anchor_strength", 0.75),
        ("keyframes", [{"image": photos["rocket"], "frame": 16}]),
        ("soundtrack", "example.mp4"),
    ):
        document = board(photos["rocket"])
        document["stages"][1][field] = value
        keys.add(second_take(document))
    assert len(keys) == 4


def test_a_file_exchanged_for_another_of_its_name_is_read_again(server: Server, photos: dict[str, str]) -> None:
    name = "exchanged.png"
    document = board(name)
    shutil.copyfile(server.input / photos["coffee"], server.input / name)
    first = server.run(queued(document, validate_only=True))
    shutil.copyfile(server.input / photos["chelsea"], server.input / name)
    second = server.run(queued(document, validate_only=True))
    takes = [json.loads(answer.outputs["board"]["text"][0])["takes"] for answer in (first, second)]
    same = [one["take"] == other["take"] for one, other in zip(*takes, strict=True)]
    assert same == [True, False, False]


REFUSED: dict[str, tuple[int, dict[str, Any], str]] = {
    "a keyframe outside the clip": (
        1,
        {"keyframes": [{"image": "example.png", "frame": 25}]},
        "stage 2, keyframes: frame 25 given; the stage has frames 0 to 24 (or -1, the last, to -25).",
    ),
    "an image that is not there": (
        1,
        {"keyframes": [{"image": "missing.png", "frame": 20}]},
        "stage 2, keyframes: there is no image 'missing.png' in ComfyUI's input folder.",
    ),
    "a sound that is not there": (
        0,
        {"soundtrack": "missing.wav"},
        "stage 1, soundtrack: there is no sound 'missing.wav' in ComfyUI's input folder.",
    ),
    "a picture as soundtrack": (
        2,
        {"soundtrack": "example.png"},
        "stage 3, soundtrack: 'example.png' cannot be read as sound (No audio stream found in the file.).",
    ),
    "a soundtrack that ends before the film": (
        2,
        {"soundtrack": "example.mp4"},
        "stage 3, soundtrack: the soundtrack lasts 2.03 s and this stage ends at 2.75 s of the film; give a longer "
        "one, or a shorter stage.",
    ),
    "an anchor where Wan has no use for it": (
        0,
        {"anchor_image": "example.png"},
        "stage 1, anchor_image: Wan 2.2 uses an anchor image only with a smooth transition and carry-over svi (and "
        "an SVI LoRA).",
    ),
}


@pytest.mark.parametrize(("stage", "changes", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_before_anything_is_rendered(
    server: Server, stage: int, changes: dict[str, Any], expected: str
) -> None:
    document = board("example.png")
    document["stages"][stage] |= changes
    graph = queued(document)
    if "Wan" in expected:
        del document["defaults"]["soundtrack"], document["stages"][1]["keyframes"]
        graph = queued(document) | {"model": graphs.load("ti2v")}
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == expected
    assert not result.of("longtake.stage_started")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"soundtrack": "example.wav"}, "stage 1, soundtrack: ti2v-5b cannot follow a soundtrack; LTX-2 can."),
        (
            {"keyframes": [{"image": "example.png", "frame": 8}]},
            "stage 1, keyframes: ti2v-5b cannot pass through keyframes; LTX-2 can.",
        ),
    ],
    ids=["soundtrack", "keyframes"],
)
def test_wan_refuses_by_name_what_ltx2_can_be_given(server: Server, given: dict[str, Any], expected: str) -> None:
    document = {"defaults": SIZE, "stages": [{"prompt": "a fox", "frames": 17, **given}]}
    graph = queued(document) | {"model": graphs.load("ti2v")}
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == f"{expected} Leave it out, or use such a bundle."
