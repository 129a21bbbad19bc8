"""Every shipped workflow, posted to a real server as an API client posts it, and the file it delivers."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from tests.host.film import look_into
from tests.host.server import Server
from tests.host.workflows import api_names, api_prompt

SECONDS = 1  # a stage, where the workflow says 4 or 5
SIZES = {"wan22": (96, 64), "ltx2": (128, 64)}


def rate_of(workflow: str) -> Fraction:
    if "8_steps" in workflow:
        return Fraction(32)  # with frames between the 16 that are rendered
    return Fraction(25 if "soundtrack" in workflow else 24 if "5b" in workflow or "ltx2" in workflow else 16)


def shrunk(workflow: str, photo: str) -> dict[str, Any]:
    """The workflow as shipped, but for what makes it large: sizes and lengths, and the name of its image."""
    graph = api_prompt(workflow)
    width, height = SIZES[workflow.split("_")[0]]
    for one in graph.values():
        inputs = one["inputs"]
        match one["class_type"]:
            case "LongtakeChainStage":
                if inputs["size"] == "own":
                    inputs["size.width"], inputs["size.height"] = width, height
                inputs["length.seconds"] = SECONDS
            case "LongtakeRenderStoryboard":
                board = json.loads(inputs["storyboard"])
                board["defaults"] |= {"width": width, "height": height, "seconds": SECONDS}
                inputs["storyboard"] = json.dumps(board)
            case "LongtakeExtendVideo" | "LongtakeRetake":
                inputs |= {"size": "own", "size.width": width, "size.height": height}
            case "LoadImage":
                inputs["image"] = photo
    return graph


def stages_in(graph: dict[str, Any]) -> int:
    boards = [one for one in graph.values() if one["class_type"] == "LongtakeRenderStoryboard"]
    by_hand = sum(one["class_type"] == "LongtakeChainStage" for one in graph.values())
    return by_hand + sum(len(json.loads(one["inputs"]["storyboard"])["stages"]) for one in boards)


@pytest.mark.parametrize("workflow", api_names())
def test_a_shipped_workflow_delivers_the_film_it_promises(
    server: Server, photos: dict[str, str], workflow: str
) -> None:
    graph = shrunk(workflow, photos["astronaut"])
    canvas = {"nodes": [], "version": 0.4}

    result = server.run(graph, extra_data={"extra_pnginfo": {"workflow": canvas}})

    assert result.ok, result.why()
    (file,) = (file for file in server.files(result) if file.suffix == ".mp4")
    film = look_into(file)
    fps = rate_of(workflow)
    before = 2 if "extend" in workflow or "retake" in workflow else 0  # seconds of the video that is given
    # Frames: Wan 14B ends on an image at the end of its grid alone.
    beyond = fps / 16 if "first_last" in workflow else 0
    assert (film.width, film.height, film.codec, film.fps) == (*SIZES[workflow.split("_")[0]], "h264", fps)
    assert film.frames == (before + stages_in(graph) * SECONDS) * fps + beyond
    if "ltx2" in workflow:
        exact = film.seconds * film.audio_rate
        assert exact <= film.samples < exact + 3 * 1024  # AAC holds whole packets
    embedded = json.loads(film.metadata["prompt"])
    for one in embedded.values():
        one.pop("is_changed", None)  # the executor's own note on what loads a file
    assert embedded == graph
    assert json.loads(film.metadata["workflow"]) == canvas


def test_there_is_a_workflow_for_each_way_to_begin() -> None:
    assert api_names() == [
        "ltx2_dev_two_pass_film",
        "ltx2_extend_video",
        "ltx2_film_with_sound",
        "ltx2_retake",
        "ltx2_soundtrack_to_film",
        "ltx2_storyboard",
        "ltx2_two_pass_film",
        "wan22_5b_long_film",
        "wan22_first_last_8_steps",
        "wan22_first_last_bridge",
        "wan22_i2v_long_film",
        "wan22_storyboard",
        "wan22_t2v_then_i2v",
    ]
