"""A stage is, bit for bit, what ComfyUI's own nodes render from the same inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.host import graphs, stock
from tests.host.server import Server
from tests.host.stock import Graph, node


def save(name: str, latent: list) -> Graph:
    return {f"save_{name}": node("SaveLatent", samples=latent, filename_prefix=f"parity/{name}")}


def both_latents(server: Server, graph: Graph, ours: list, theirs: list) -> tuple[torch.Tensor, torch.Tensor]:
    """Run one prompt that holds both ways and return the two latents as they were saved."""
    result = server.run({**graph, **save("ours", ours), **save("theirs", theirs)})
    assert result.ok, result.why()
    names = {name: result.outputs[f"save_{name}"]["latents"][0] for name in ("ours", "theirs")}
    first, second = (load_file(server.output / "parity" / names[name]["filename"]) for name in ("ours", "theirs"))
    return first["latent_tensor"], second["latent_tensor"]


def assert_same(server: Server, graph: Graph, ours: list, theirs: list) -> None:
    first, second = both_latents(server, graph, ours, theirs)
    assert first.shape == second.shape
    assert (first - second).abs().max().item() == 0.0
    assert first.std().item() > 0.01


def our_stage(kind: str, sampling: dict[str, Any] | None = None, **inputs: Any) -> Graph:
    return {
        "model": graphs.load(kind),
        "sampling": graphs.sampling(**(sampling or {})),
        "stage": graphs.stage(**inputs),
        "latent_of_stage": node("LongtakeChainToLatent", chain=["stage", 0], stage=0),
    }


def stock_samplers(positive: list, negative: list, latent: list, sampler: str = "euler") -> Graph:
    graph = stock.both_experts(positive, negative, latent)
    for one in graph.values():
        one["inputs"]["sampler_name"] = sampler
    return graph


def i2v_condition(kind: str = "WanImageToVideo", frames: int = 17, **images: Any) -> Graph:
    common = {"positive": ["positive", 0], "negative": ["negative", 0], "vae": ["vae", 0]}
    return {"condition": node(kind, **common, **stock.SIZE, length=frames, **images)}


@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "dpmpp_2m", "res_multistep", "lcm", "euler_ancestral"])
def test_text_to_video_equals_two_advanced_samplers(server: Server, sampler: str) -> None:
    graph = {
        **stock.loaders("t2v", graphs.VAES["t2v"]),
        "latent": node("EmptyHunyuanLatentVideo", **stock.SIZE, length=17),
        **stock_samplers(["positive", 0], ["negative", 0], ["latent", 0], sampler),
        **our_stage("t2v", {"sampler": sampler}),
    }
    assert_same(server, graph, ["latent_of_stage", 0], ["second", 0])


def test_image_to_video_equals_wan_image_to_video(server: Server, photos: dict[str, str]) -> None:
    graph = {
        **graphs.photo(photos["astronaut"]),
        **stock.loaders("i2v", graphs.VAES["i2v"]),
        **i2v_condition(start_image=["photo", 0]),
        **stock_samplers(["condition", 0], ["condition", 1], ["condition", 2]),
        **our_stage("i2v", start_image=["photo", 0]),
    }
    assert_same(server, graph, ["latent_of_stage", 0], ["second", 0])


def test_first_and_last_frame_equals_wan_first_last_frame(server: Server, photos: dict[str, str]) -> None:
    last = {"end_file": node("LoadImage", image=photos["chelsea"])}
    last["end_photo"] = {
        **graphs.photo("")["photo"],
        "inputs": {**graphs.photo("")["photo"]["inputs"], "image": ["end_file", 0]},
    }
    images = {"start_image": ["photo", 0], "end_image": ["end_photo", 0]}
    graph = {
        **graphs.photo(photos["astronaut"]),
        **last,
        **stock.loaders("i2v", graphs.VAES["i2v"]),
        **i2v_condition("WanFirstLastFrameToVideo", **images),
        **stock_samplers(["condition", 0], ["condition", 1], ["condition", 2]),
        **our_stage("i2v", **images),
    }
    assert_same(server, graph, ["latent_of_stage", 0], ["second", 0])


@pytest.mark.parametrize("with_image", [True, False])
def test_5b_equals_wan22_image_to_video_latent(server: Server, photos: dict[str, str], with_image: bool) -> None:
    image = {"start_image": ["photo", 0]} if with_image else {}
    one = {"sampler": "uni_pc", "cfg_high": 5.0, "expert_split": "single model"}
    graph = {
        **graphs.photo(photos["astronaut"]),
        **stock.ti2v(17, photos["astronaut"]),
        "latent": node("Wan22ImageToVideoLatent", vae=["vae", 0], **stock.SIZE, length=17, **image),
        **our_stage("ti2v", one, **image),
    }
    del graph["save"], graph["video"], graph["decode"]
    assert_same(server, graph, ["latent_of_stage", 0], ["sample", 0])


@pytest.mark.parametrize("end", [False, True], ids=["on", "to a last frame"])
def test_continuing_equals_the_stock_node_given_the_last_frames(
    server: Server, photos: dict[str, str], end: bool
) -> None:
    last = {"end_image": ["photo", 0]} if end else {}
    graph = {
        **graphs.photo(photos["astronaut"]),
        **our_stage("i2v", start_image=["photo", 0]),
        "on": graphs.stage(chain="stage", seed=stock.SEED, **last),
        "latent_of_on": node("LongtakeChainToLatent", chain=["on", 0], stage=2),
        "tail": node("LongtakeChainToImages", chain=["stage", 0], first_frame=12, frame_count=5),
        **stock.loaders("i2v", graphs.VAES["i2v"]),
        **i2v_condition("WanFirstLastFrameToVideo" if end else "WanImageToVideo", start_image=["tail", 0], **last),
        **stock_samplers(["condition", 0], ["condition", 1], ["condition", 2]),
    }
    assert_same(server, graph, ["latent_of_on", 0], ["second", 0])


def test_5b_continuing_equals_the_stock_node_given_the_last_frames(server: Server, photos: dict[str, str]) -> None:
    one = {"sampler": "uni_pc", "cfg_high": 5.0, "expert_split": "single model"}
    graph = {
        **graphs.photo(photos["astronaut"]),
        **stock.ti2v(17, photos["astronaut"]),
        **our_stage("ti2v", one, start_image=["photo", 0]),
        "on": graphs.stage(chain="stage"),
        "latent_of_on": node("LongtakeChainToLatent", chain=["on", 0], stage=0),
        "tail": node("LongtakeChainToImages", chain=["stage", 0], first_frame=12, frame_count=5),
        "latent": node("Wan22ImageToVideoLatent", vae=["vae", 0], **stock.SIZE, length=17, start_image=["tail", 0]),
    }
    del graph["save"], graph["video"], graph["decode"]
    assert_same(server, graph, ["latent_of_on", 0], ["sample", 0])


def test_models_of_other_loaders_render_the_same(server: Server, photos: dict[str, str]) -> None:
    """ModelSamplingSD3 patched by hand, and a stage that takes the shift as it finds it."""
    bundle = {"model": ["high", 0], "low_noise_model": ["low", 0], "clip": ["clip", 0], "vae": ["vae", 0]}
    graph = {
        **graphs.photo(photos["astronaut"]),
        **stock.loaders("i2v", graphs.VAES["i2v"]),
        "loaded": node("LongtakeUseLoadedModels", **bundle),
        **our_stage("i2v", start_image=["photo", 0]),
        "as_patched": graphs.sampling(shift="automatic"),
        "again": graphs.stage("loaded", start_image=["photo", 0], sampling=["as_patched", 0]),
        "latent_again": node("LongtakeChainToLatent", chain=["again", 0], stage=1),
    }
    assert_same(server, graph, ["latent_of_stage", 0], ["latent_again", 0])


def test_a_storyboard_renders_what_stages_by_hand_render(server: Server, photos: dict[str, str]) -> None:
    board = {
        "defaults": {"frames": 17, "width": graphs.WIDTH, "height": graphs.HEIGHT, "negative_prompt": graphs.NEGATIVE},
        "stages": [
            {"prompt": graphs.PROMPT, "seed": 3, "start_image": photos["astronaut"]},
            {"prompt": "it stops", "seed": 4, "overlap": 9, "carry_over": "latents"},
        ],
    }
    graph = {
        "file": node("LoadImage", image=photos["astronaut"]),
        **our_stage("i2v", start_image=["file", 0], seed=3),
        "on": graphs.stage(
            chain="stage", prompt="it stops", seed=4, **{"transition.overlap": 9, "transition.carry_over": "latents"}
        ),
        "latent_of_on": node("LongtakeChainToLatent", chain=["on", 0], stage=2),
        "board": graphs.storyboard(board),
        "latent_of_board": node("LongtakeChainToLatent", chain=["board", 0], stage=2),
    }
    assert_same(server, graph, ["latent_of_on", 0], ["latent_of_board", 0])
