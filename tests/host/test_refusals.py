"""What cannot be done is refused by a real server in words that name the stage and the field, before weights load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.host import graphs
from tests.host.server import Server
from tests.host.stock import Graph, node

LATER = "This is of node {} (Chain Stage), which runs later; nothing is rendered before it is put right."
LOADING = "Requested to load"  # what ComfyUI logs before it brings weights to their device


def film(kind: str = "i2v", **second: Any) -> Graph:
    """Two stages and the file they would make."""
    return {
        **graphs.photo("astronaut.png"),
        "model": graphs.load(kind),
        "sampling": graphs.sampling(),
        "first": graphs.stage(start_image=["photo", 0]),
        "second": graphs.stage(chain="first", **second),
        **graphs.delivered("second"),
    }


def changed(graph: Graph, place: str, **inputs: Any) -> Graph:
    return {**graph, place: {**graph[place], "inputs": {**graph[place]["inputs"], **inputs}}}


def message(server: Server, graph: Graph) -> str:
    """What a person reads when `graph` fails."""
    result = server.run(graph)
    assert result.error is not None, result.why()
    return result.error["exception_message"].strip()


STAGES = {
    "frames off the grid": (
        {"frames": 18},
        "stage 2, frames: 18 frames are given, and the model takes 4n+1; use 17 or 21",
    ),
    "overlap off the grid": (
        {"transition.overlap": 6},
        "stage 2, overlap: 6 frames are given, and the model takes 4n+1; use 5 or 9",
    ),
    "overlap as long as the clip": (
        {"transition.overlap": 17},
        "stage 2, overlap: an overlap of 17 frames leaves nothing new of a clip of 17; use at most 13, or more frames",
    ),
    "overlap longer than the stage before": (
        {"transition.overlap": 21, "frames": 33},
        "stage 2, overlap: an overlap of 21 frames is longer than the stage before it, which renders 17; use at "
        "most 17",
    ),
    "fade longer than the clip": (
        {"transition": "fade", "transition.fade_frames": 9, "frames": 5, "start_image": ["photo", 0]},
        "stage 2, fade_frames: a fade of 9 frames is longer than the stage itself, which has 5; use at most 5",
    ),
    "another size than the chain": (
        {"width": 64},
        "stage 2, width: 64x64 given, but the chain is 96x64; all stages of a chain share one size (automatic "
        "follows the chain).",
    ),
    "a start image and a tail": (
        {"start_image": ["photo", 0]},
        "stage 2, start_image: a smooth stage starts from the end of the stage before it and cannot take a start image "
        "too. Choose transition cut or fade, or disconnect the image.",
    ),
}


@pytest.mark.parametrize(("second", "expected"), STAGES.values(), ids=STAGES.keys())
def test_a_later_stage_is_refused_before_the_first_one_renders(
    unloaded: Server, second: dict[str, Any], expected: str
) -> None:
    result = unloaded.run(film(**second))
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == f"{expected}\n{LATER.format('second')}"
    assert result.error["node_id"] == "first"
    assert [(event["node"], event["stage"]) for event in result.of("longtake.refused")] == [("second", 2)]


def test_two_fades_that_meet_are_refused(unloaded: Server) -> None:
    fade = {"transition": "fade", "transition.fade_frames": 12, "start_image": ["photo", 0]}
    graph = {**film(**fade), "third": graphs.stage(chain="second", **fade), **graphs.delivered("third")}
    assert message(unloaded, graph) == (
        "stage 3, fade_frames: two fades meet: the stage before shows 17 frames, 12 of them fade in and 12 would fade "
        "out; fade at most 5, or make that stage longer\n" + LATER.format("third")
    )


FIRST = {
    "width off the grid": (
        {"size.width": 100},
        "stage 1, width: 100 is not a multiple of 16, as i2v-14b needs; the nearest are 96 or 112.",
    ),
    "no image": (
        {"start_image": None},
        "stage 1, start_image: i2v-14b cannot render from text alone. Connect a start image, or use a bundle of "
        "t2v-14b or ti2v-5b.",
    ),
    "an anchor without svi": (
        {"guides.guide0": ["anchor", 0]},
        "stage 1, anchor_image: Wan 2.2 uses an anchor image only with a smooth transition and carry-over svi "
        "(and an SVI LoRA).",
    ),
}


@pytest.mark.parametrize(("inputs", "expected"), FIRST.values(), ids=FIRST.keys())
def test_a_first_stage_is_refused(unloaded: Server, inputs: dict[str, Any], expected: str) -> None:
    graph = {**film(), "anchor": node("LongtakeAnchor", image=["photo", 0], counts="automatic")}
    for name, value in inputs.items():
        if value is None:
            del graph["first"]["inputs"][name]
        else:
            graph["first"]["inputs"][name] = value
    assert message(unloaded, graph) == expected


def test_a_batch_of_images_is_refused(unloaded: Server) -> None:
    graph = film()
    graph["batch"] = node("EmptyImage", width=96, height=64, batch_size=3, color=0)
    graph["first"]["inputs"]["start_image"] = ["batch", 0]
    assert message(unloaded, graph) == (
        "stage 1, start_image: a batch of 3 images is connected; one image is needed. Pick one with Get Image "
        "from Batch."
    )


def test_text_to_video_cannot_continue_and_says_what_can(unloaded: Server) -> None:
    graph = {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(),
        "first": graphs.stage(),
        "second": graphs.stage(chain="first"),
        **graphs.delivered("second"),
    }
    assert message(unloaded, graph) == (
        "stage 2, transition: t2v-14b cannot continue from the stage before. Give this stage a bundle of "
        "i2v-14b or ti2v-5b, or choose "
        "transition cut.\n" + LATER.format("second")
    )


def test_a_14b_model_without_its_low_noise_expert_is_refused(unloaded: Server) -> None:
    graph = changed(film(), "model", low_noise_model="none")
    assert message(unloaded, graph) == (
        "stage 1, low_noise_model: i2v-14b is two models and the low-noise one is not given. Choose it in the "
        "loader, or "
        "set the expert split of Wan Sampling to 'single model' for a checkpoint that does every step."
    )


LOADERS = {
    "experts of two kinds": (
        {"low_noise_model": "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"},
        "low_noise_model: the low-noise model is t2v-14b, the high-noise model i2v-14b; both must be of one variant.",
    ),
    "wrong VAE": (
        {"vae": "wan2.2_vae.safetensors"},
        "vae: wan2.2_vae.safetensors has 48 latent channels; i2v-14b needs 16 (wan_2.1_vae.safetensors).",
    ),
    "another kind of model": (
        {"high_noise_model": "ltx-video-2b-v0.9.5.safetensors"},
        "high_noise_model: ltx-video-2b-v0.9.5.safetensors is ltxv (128 input channels); a diffusion model of "
        "one of these "
        "kinds is needed (Wan 2.2: t2v-14b, i2v-14b, ti2v-5b).",
    ),
    "torn file": (
        {"high_noise_model": "torn_download.safetensors"},
        "high_noise_model: torn_download.safetensors cannot be read as a safetensors file (Error while "
        "deserializing header: "
        "header too large). Download or copy it again.",
    ),
    "a low-noise model for 5B": (
        {
            "high_noise_model": "wan2.2_ti2v_5B_fp16.safetensors",
            "vae": "wan2.2_vae.safetensors",
        },
        "low_noise_model: ti2v-5b is one model; leave the low-noise model empty.",
    ),
}


@pytest.mark.parametrize(("inputs", "expected"), LOADERS.values(), ids=LOADERS.keys())
def test_files_that_do_not_belong_together_are_refused(unloaded: Server, inputs: dict[str, Any], expected: str) -> None:
    assert message(unloaded, changed(film(), "model", **inputs)) == expected


def test_experts_in_each_others_place_are_remarked_on(unloaded: Server) -> None:
    files = graphs.load("i2v")["inputs"]
    swapped = graphs.load("i2v", high_noise_model=files["low_noise_model"], low_noise_model=files["high_noise_model"])
    board = graphs.storyboard(
        {"defaults": {"start_image": "astronaut.png"}, "stages": [{"prompt": "a"}]}, validate_only=True
    )
    result = unloaded.run({"model": swapped, "sampling": graphs.sampling(), "board": board})
    assert result.ok, result.why()
    assert "The names suggest that the experts are swapped" in result.texts[0]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (
            {"cfg_high": float("nan")},
            "cfg_high: nan given; a number from 0 to 100 is needed (1 switches guidance off).",
        ),
        ({"expert_split.split_step": 9}, "split_step: 9 given; with 4 steps it must be 0 to 4."),
        ({"shift.value": float("nan")}, "shift: nan given; a number above 0 is needed."),
    ],
    ids=["cfg", "split step", "shift"],
)
def test_sampling_settings_no_sampler_can_work_with_are_refused(
    unloaded: Server, inputs: dict[str, Any], expected: str
) -> None:
    assert message(unloaded, changed(film(), "sampling", **inputs)) == expected


@pytest.mark.parametrize(
    ("where", "inputs"),
    [
        ("first", {"seed": -1}),
        ("first", {"seed": 2**64}),
        ("sampling", {"cfg_low": -1.0}),
        ("sampling", {"steps": 0}),
        ("model", {"vae": "../../secret.safetensors"}),
        ("encode", {"crf": 99.0}),
    ],
    ids=lambda value: str(value),
)
def test_a_value_out_of_its_range_is_not_even_queued(unloaded: Server, where: str, inputs: dict[str, Any]) -> None:
    result = unloaded.run(changed(film(), where, **inputs))
    assert result.refused is not None
    assert where in result.refused["node_errors"]


BOARDS = {
    "unknown field": (
        {"stages": [{"prompt": "a", "promt": "b"}]},
        "stage 1, promt",
    ),
    "unknown schema": (
        {"schema": "longtake.storyboard.v9", "stages": [{"prompt": "a"}]},
        "schema: 'longtake.storyboard.v9'",
    ),
    "no stages": ({"stages": []}, "stages: there is none; give at least one stage"),
    "empty text": ("", "prompt"),
    "missing image": (
        {"stages": [{"prompt": "a", "start_image": "nowhere.png"}]},
        "stage 1, start_image: there is no image 'nowhere.png' in ComfyUI's input folder.",
    ),
    "image outside the input folder": (
        {"stages": [{"prompt": "a", "start_image": "../secret.png"}]},
        "stage 1, start_image",
    ),
    "frames off the grid": (
        {"defaults": {"start_image": "astronaut.png"}, "stages": [{"prompt": "a"}, {"prompt": "b", "frames": 80}]},
        "stage 2, frames: 80 frames are given, and the model takes 4n+1; use 77 or 81",
    ),
    "seed out of range": ({"stages": [{"prompt": "a", "seed": 2**64}]}, "stage 1, seed"),
    "no number": ('{"stages": [{"prompt": "a", "seconds": NaN}]}', "stage 1, seconds: nan is given"),
}


@pytest.mark.parametrize(("document", "expected"), BOARDS.values(), ids=BOARDS.keys())
def test_a_storyboard_that_cannot_be_rendered_is_refused(unloaded: Server, document: Any, expected: str) -> None:
    graph = {"model": graphs.load("i2v"), "sampling": graphs.sampling(), "board": graphs.storyboard(document)}
    assert expected in message(unloaded, graph)


def test_an_input_folder_link_that_leads_outside_is_refused(unloaded: Server, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (unloaded.input / "link.png").symlink_to(tmp_path / "secret.png")
    board = {"stages": [{"prompt": "a", "start_image": "link.png"}]}
    graph = {"model": graphs.load("i2v"), "sampling": graphs.sampling(), "board": graphs.storyboard(board)}
    assert message(unloaded, graph) == (
        "stage 1, start_image: 'link.png' lies outside ComfyUI's input folder; only files in it can be used."
    )


def test_stills_without_a_prompt_are_refused(unloaded: Server) -> None:
    inputs = {
        "prompts": " \n ",
        "negative_prompt": "",
        "size": "automatic",
        "seed": 0,
        "sampling": ["sampling", 0],
    }
    graph = {
        "model": graphs.load("t2v"),
        "sampling": graphs.sampling(),
        "stills": node("LongtakeRenderStills", model=["model", 0], **inputs),
        "png": node("SaveImage", images=["stills", 0], filename_prefix="stills/none"),
    }
    assert message(unloaded, graph) == "prompts: no prompt is given; write one a line, or a JSON list"


def test_a_refused_stage_leaves_the_stages_before_it_usable(server: Server, photos: dict[str, str]) -> None:
    good = film()
    assert server.run(good).ok
    refused = server.run(changed(good, "second", **{"length.frames": 18}))
    assert refused.error is not None
    again = server.run(changed(good, "second", prompt="another end"))
    assert again.ok, again.why()
    assert "first" in again.cached


def test_two_stages_of_a_checkpoint_that_does_every_step_are_not_refused(server: Server) -> None:
    """What the second stage is sampled with is not known when the first one looks ahead."""
    graph = film(seed=4)
    graph["model"] = graphs.load("i2v", low_noise_model="none")
    graph["sampling"]["inputs"] |= {"steps": 1, "expert_split": "single model"}
    del graph["sampling"]["inputs"]["expert_split.split_step"]
    result = server.run(graph)
    assert result.ok, result.why()


WRONG = {
    "model": "model: a str came over the link; what is needed: a model bundle of a Longtake loader.",
    "sampling": "sampling: a str came over the link; what is needed: what Wan Sampling or LTX-2 Sampling gives.",
    "start_image": "start_image: a str came over the link; what is needed: images [frames, height, width, channels].",
}


@pytest.mark.parametrize(("field", "says"), WRONG.items(), ids=WRONG.keys())
def test_what_a_link_of_any_type_brings_is_refused_where_it_does_not_fit(
    unloaded: Server, field: str, says: str
) -> None:
    graph = {
        **changed(film(), "first", **{field: ["any", 0]}),
        "text": node("PrimitiveString", value="a fox"),
        "any": node("ComfySwitchNode", switch=True, on_true=["text", 0], on_false=["text", 0]),
    }
    assert message(unloaded, graph) == says


IMPOSSIBLE = {
    "outside the output folder": ("../film", "leads out of ComfyUI's output folder"),
    "an absolute path": ("/etc/film", "leads out of ComfyUI's output folder"),
    "through a file": ("taken/film", "which is a file and no folder"),
    "too long": ("x" * 250, "is too long; a name has 200 bytes at most"),
    "a character that is none": ("fi\0lm", "holds a character that no file name may have"),
}


@pytest.mark.parametrize(("prefix", "expected"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_film_that_could_not_be_saved_is_not_even_queued(unloaded: Server, prefix: str, expected: str) -> None:
    (unloaded.output / "taken").write_bytes(b"a file")
    result = unloaded.run(changed(film(), "encode", filename_prefix=prefix))
    assert result.refused is not None
    [error] = result.refused["node_errors"]["encode"]["errors"]
    assert error["extra_info"]["input_name"] == "filename_prefix"
    assert expected in error["details"]


@pytest.mark.parametrize("missing", ["prompt", "length.frames", "seed", "model"])
def test_a_second_stage_without_an_input_is_not_even_queued(unloaded: Server, missing: str) -> None:
    graph = film()
    graph["second"] = {**graph["second"], "inputs": {**graph["second"]["inputs"]}}
    del graph["second"]["inputs"][missing]
    result = unloaded.run(graph)
    assert result.refused is not None
    assert [error["type"] for error in result.refused["node_errors"]["second"]["errors"]] == ["required_input_missing"]
