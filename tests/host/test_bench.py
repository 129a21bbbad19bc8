"""The bench itself: the stock graphs run on the tiny models, in a server and in this process."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from tests.host import stock
from tests.host.film import look_into
from tests.host.server import Server
from tests.tiny.models import recipes


def test_the_pack_is_loaded(server: Server) -> None:
    assert "comfyui-longtake" in server.log.read_text()
    assert server.object_info()["SaveVideo"]["output_node"]


@pytest.mark.parametrize("kind", ["t2v", "i2v", "ti2v"])
def test_a_stock_graph_delivers_a_playable_film(server: Server, photos: dict[str, str], kind: str) -> None:
    image = {} if kind == "t2v" else {"image": photos["astronaut"]}
    graph = getattr(stock, kind)(frames=17, **image)

    result = server.run(graph)

    assert result.ok, result.why()
    film = look_into(server.files(result)[0])
    assert (film.frames, film.width, film.height, film.codec) == (17, 96, 64, "h264")
    assert film.fps == Fraction(24 if kind == "ti2v" else 16)
    embedded = json.loads(film.metadata["prompt"])
    assert {name: node["inputs"] for name, node in embedded.items()} == {n: node["inputs"] for n, node in graph.items()}


def test_progress_and_finished_nodes_are_reported(server: Server) -> None:
    server.free()
    result = server.run(stock.t2v(frames=5))
    assert [data["value"] for data in result.of("progress") if data["node"] == "first"][-1] == stock.SPLIT
    assert result.ran[-1] == "save"
    assert result.of("preview") == [] or result.of("preview")[0]["image"]


def test_a_refused_prompt_says_which_node_and_why(server: Server) -> None:
    graph = stock.t2v(frames=5)
    graph["vae"]["inputs"]["vae_name"] = "missing.safetensors"
    result = server.run(graph)
    assert not result.ok and result.refused is not None
    assert "vae" in result.refused["node_errors"]
    assert "VAELoader" in result.why() and "missing.safetensors" in result.why()


def test_a_failing_node_is_named(server: Server) -> None:
    graph = stock.t2v(frames=5)
    graph["high_file"]["inputs"]["unet_name"] = "no_model.safetensors"
    result = server.run(graph)
    assert result.error is not None and result.error["node_id"] == "high_file"
    assert "UNETLoader" in result.why()


def test_an_interrupted_prompt_leaves_the_server_usable(server: Server) -> None:
    graph = stock.t2v(frames=81)
    graph["first"]["inputs"].update(steps=2000, end_at_step=2000)

    def stop_when_under_way(event: dict) -> None:
        # ComfyUI skips progress events that follow too closely.
        if event["type"] == "progress" and event["data"]["value"] > 1:
            server.interrupt()

    result = server.run(graph, on_event=stop_when_under_way)

    assert result.interrupted and not result.ok
    assert "first" in result.ran and "second" not in result.ran
    assert server.run(stock.t2v(frames=5)).ok


def test_every_recipe_made_its_file(tiny_models: Path, comfyui: Path) -> None:
    folders = {path.parent for path in tiny_models.rglob("model_index.json")}
    files = {path for path in tiny_models.rglob("*") if path.is_file() and not folders & set(path.parents)}
    assert {path.relative_to(tiny_models).as_posix() for path in files | folders} == set(recipes())


def test_comfyui_loads_the_tiny_models_in_this_process(comfyui: Path) -> None:
    import nodes

    (high,) = nodes.UNETLoader().load_unet(stock.MODELS["i2v"][0], "default")
    (clip,) = nodes.CLIPLoader().load_clip(stock.TEXT_ENCODER, "wan")
    (small,) = nodes.VAELoader().load_vae("wan_2.1_vae.safetensors")
    (large,) = nodes.VAELoader().load_vae("wan2.2_vae.safetensors")

    assert high.model.diffusion_model.patch_embedding.weight.shape[1] == 36
    assert clip.encode_from_tokens_scheduled(clip.tokenize("a fox"))[0][0].shape == (1, 16, 32)
    assert (small.latent_channels, large.latent_channels) == (16, 48)


@pytest.mark.parametrize("high", [True, False])
def test_a_lora_changes_the_weights_of_its_model(comfyui: Path, high: bool) -> None:
    import nodes

    name = f"wan2.2_i2v_lightx2v_4steps_lora_v1_{'high' if high else 'low'}_noise.safetensors"
    (model,) = nodes.UNETLoader().load_unet(stock.MODELS["i2v"][0 if high else 1], "default")
    (patched,) = nodes.LoraLoaderModelOnly().load_lora_model_only(model, name, 1.0)
    assert len(patched.patches) == 12 and not model.patches
