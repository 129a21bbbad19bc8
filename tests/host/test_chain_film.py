"""Chains on a real server: what they deliver, what runs again, what a person sees while they render."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.host import graphs, stock
from tests.host.film import look_into
from tests.host.prompt import Result
from tests.host.server import Server
from tests.host.stock import Graph, node

# What ComfyUI logs before it brings weights to their device.
LOADING = "Requested to load"


def two_stages(photo: str, **second: object) -> Graph:
    return {
        **graphs.photo(photo),
        "model": graphs.load("i2v"),
        "sampling": graphs.sampling(),
        "first": graphs.stage(start_image=["photo", 0]),
        "second": graphs.stage(chain="first", **second),
    }


def frames_of(server: Server, graph: Graph, chain: str) -> np.ndarray:
    """All frames of a chain as they were rendered `[T, H, W, 3]` in 0..255, by way of lossless PNGs."""
    from PIL import Image

    images = {
        "images": node("LongtakeChainToImages", chain=[chain, 0], first_frame=0, frame_count=0, match_colour=False),
        "png": node("SaveImage", images=["images", 0], filename_prefix="frames/f"),
    }
    result = server.run({**graph, **images})
    assert result.ok, result.why()
    return np.stack([np.asarray(Image.open(file)) for file in server.files(result)])


@pytest.mark.parametrize(
    ("second", "frames"),
    [
        ({"transition.overlap": 1}, 17 + 16),
        ({"transition.overlap": 5}, 17 + 12),
        ({"transition.overlap": 13, "transition.carry_over": "latents"}, 17 + 4),
        ({"transition": "cut", "start_image": ["photo", 0]}, 17 + 17),
        ({"transition": "fade", "transition.fade_frames": 6, "start_image": ["photo", 0]}, 17 + 11),
        ({"transition.carry_over": "svi", "anchor_image": ["photo", 0]}, 17 + 12),
        ({"seconds": 1.0}, 17 + 16),
    ],
    ids=["overlap 1", "overlap 5", "latents 13", "cut", "fade", "svi", "seconds"],
)
def test_a_transition_shows_each_frame_once(
    server: Server, photos: dict[str, str], second: dict[str, object], frames: int
) -> None:
    graph = two_stages(photos["astronaut"], **second)
    result = server.run({**graph, **graphs.delivered("second")})
    assert result.ok, result.why()
    assert look_into(server.files(result)[0]).frames == frames


def test_three_stages_of_a_second_make_a_film_of_three_seconds(server: Server, photos: dict[str, str]) -> None:
    graph = two_stages(photos["astronaut"], seconds=1.0)
    graph["first"] = graphs.stage(start_image=["photo", 0], seconds=1.0)
    graph["third"] = graphs.stage(chain="second", seconds=1.0)
    result = server.run({**graph, **graphs.delivered("third")})
    assert result.ok, result.why()
    assert look_into(server.files(result)[0]).frames == 48


def test_stages_of_different_bundles_share_a_chain(server: Server) -> None:
    graph = {
        "opening": graphs.load("t2v"),
        "model": graphs.load("i2v"),
        "sampling": graphs.sampling(),
        "first": graphs.stage("opening"),
        "second": graphs.stage(chain="first"),
        **graphs.delivered("second"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    assert look_into(server.files(result)[0]).frames == 29


def test_a_stage_of_one_frame_is_a_still_that_a_film_can_go_on_from(server: Server) -> None:
    graph = {
        "opening": graphs.load("t2v"),
        "model": graphs.load("i2v"),
        "sampling": graphs.sampling(),
        "still": graphs.stage("opening", frames=1),
        "second": graphs.stage(chain="still", **{"transition.overlap": 1}),
        **graphs.delivered("second"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    assert look_into(server.files(result)[0]).frames == 17


def test_core_save_video_takes_the_stitched_film(server: Server, photos: dict[str, str]) -> None:
    graph = two_stages(photos["astronaut"])
    graph["stitch"] = node("LongtakeStitchChain", chain=["second", 0])
    graph["save"] = node("SaveVideo", video=["stitch", 0], filename_prefix="core/film", format="auto", codec="auto")
    result = server.run(graph)
    assert result.ok, result.why()
    film = look_into(server.files(result)[0])
    assert (film.frames, film.fps, film.width) == (29, 16, 96)
    assert json.loads(film.metadata["prompt"]).keys() == graph.keys()


def test_the_film_shows_the_tail_once_and_goes_on_from_it(server: Server, photos: dict[str, str]) -> None:
    graph = two_stages(photos["astronaut"])
    alone, film = frames_of(server, graph, "first"), frames_of(server, graph, "second")
    assert len(film) == 29
    assert np.array_equal(film[:17], alone)


def test_a_changed_third_stage_alone_renders_again(server: Server, photos: dict[str, str]) -> None:
    graph = {**two_stages(photos["chelsea"]), "third": graphs.stage(chain="second")}
    assert server.run({**graph, **graphs.delivered("third")}).ok
    graph["third"] = graphs.stage(chain="second", prompt="something else")
    result = server.run({**graph, **graphs.delivered("third")})
    assert result.ok, result.why()
    assert {"first", "second"} <= result.cached
    assert "third" in result.ran


def test_progress_counts_stages_and_steps(server: Server, photos: dict[str, str]) -> None:
    server.free()
    result = server.run({**two_stages(photos["rocket"]), **graphs.delivered("second")})
    assert result.ok, result.why()
    steps = [text for text in result.texts if "step" in text]
    assert steps[0] == "Stage 1 of 2, step 1 of 4"
    assert steps[-1] == "Stage 2 of 2, step 4 of 4"
    assert [data["max"] for data in result.of("progress") if data["node"] == "second"][-1] == stock.STEPS


def test_a_storyboard_has_one_bar_over_all_its_stages(server: Server, photos: dict[str, str]) -> None:
    server.free()
    board = {
        "defaults": {"frames": 5, "overlap": 1, "width": 96, "height": 64},
        "stages": [{"prompt": "a"}, {"prompt": "b"}],
    }
    board["defaults"]["start_image"] = photos["rocket"]
    result = server.run({"model": graphs.load("i2v"), "sampling": graphs.sampling(), "board": graphs.storyboard(board)})
    assert result.ok, result.why()
    bar = [(data["value"], data["max"]) for data in result.of("progress") if data["node"] == "board"]
    assert bar[-1] == (8, 8)
    assert "Stage 2 of 2, step 1 of 4" in result.texts


def test_validate_only_answers_with_the_plan_and_loads_nothing(unloaded: Server) -> None:
    board = {"total_seconds": 20, "stages": [{"prompt": "a river"}]}
    graph = {
        "model": graphs.load("ti2v"),
        "board": graphs.storyboard(board, validate_only=True),
        **graphs.delivered("board"),
    }
    del graph["board"]["inputs"]["sampling"]
    result = unloaded.run(graph)
    assert result.ok, result.why()
    plan = json.loads(result.outputs["board"]["text"][0])
    assert plan["frames"] == 480
    assert plan["seconds"] == 20
    assert len(plan["stages"]) == 5
    assert "encode" not in result.outputs
    assert LOADING not in unloaded.log.read_text()


def test_an_interrupted_chain_leaves_the_server_usable(server: Server, photos: dict[str, str]) -> None:
    graph = two_stages(photos["coffee"])
    graph["sampling"] = graphs.sampling(steps=500)
    steps: list[str] = []

    def stop_in_the_second_step(event: dict) -> None:
        if event["type"] == "progress_text" and ", step " in event["data"]["text"]:
            steps.append(event["data"]["text"])
            if len(steps) == 2:
                server.interrupt()

    result = server.run({**graph, **graphs.delivered("second")}, on_event=stop_in_the_second_step)

    assert result.interrupted
    assert not result.error
    assert server.run({**two_stages(photos["coffee"]), **graphs.delivered("second")}).ok
    assert LOADING in server.log.read_text()


def test_stills_render_one_image_a_prompt(server: Server) -> None:
    stills = node(
        "LongtakeRenderStills",
        model=["model", 0],
        prompts="a fox\n\n# not this\na lake",
        negative_prompt="",
        seed=5,
        sampling=["sampling", 0],
        **{"size": "own", "size.width": 96, "size.height": 64},
    )
    graph = {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(),
        "stills": stills,
        "png": node("SaveImage", images=["stills", 0], filename_prefix="stills/s"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    assert len(server.files(result)) == 2
    report = result.outputs["stills"]["text"][0].splitlines()
    assert report[0] == "1. seed 5: rendered (a fox)"
    assert report[1] == "2. seed 6: rendered (a lake)"

    graph["stills"]["inputs"]["prompts"] = json.dumps(["a fox", 7, "a lake"])
    refused = server.run(graph)
    assert refused.error is not None
    assert refused.error["exception_message"].strip() == "prompt 2: 7 is given; a text is needed"


def test_best_size_keeps_the_shape_of_an_image(server: Server, photos: dict[str, str]) -> None:
    graph = {
        "model": graphs.load("i2v"),
        "file": node("LoadImage", image=photos["chelsea"]),
        "size": node("LongtakeBestSize", model=["model", 0], image=["file", 0], area="480p"),
        "empty": node("EmptyImage", width=["size", 0], height=["size", 1], batch_size=1, color=0),
        "png": node("SaveImage", images=["empty", 0], filename_prefix="size/s"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    from PIL import Image

    # 451 x 300 is 1.503 to 1; at 480p the heights around the ideal 515 give 768 x 512 (1.500) and 800 x 528 (1.515).
    assert Image.open(server.files(result)[0]).size == (768, 512)


def test_a_film_is_saved_in_the_form_that_a_prompt_names(server: Server) -> None:
    def saved_as(**form: Any) -> Result:
        graph = {
            "model": graphs.load("t2v"),
            "sampling": graphs.sampling(),
            "stage": graphs.stage(prompt="saved in many forms", frames=5),
            **graphs.delivered("stage"),
        }
        graph["encode"]["inputs"] |= form
        return server.run(graph)

    for form, suffix in (({"format": "mp4"}, ".mp4"), ({"format": "GIF"}, ".gif")):
        result = saved_as(**form)
        assert result.ok, result.why()
        assert [path.suffix for path in server.files(result)] == [suffix]
    result = saved_as(format="mp4", rate="motion", **{"rate.fps": 32.0})
    assert result.ok, result.why()
    assert look_into(server.files(result)[0]).frames == 10
    assert "'twice' is given; one of as rendered, motion, blended, by a model is needed" in saved_as(rate="twice").why()
    refused = saved_as(format="Betamax")
    assert refused.refused, "it is not even queued"
    assert "none that can be saved here; one of mp4, H.264, " in refused.why()
