"""Diffusers folders on a real server: a chain of two stages, and what a person reads when a folder is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.host import graphs
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import node


def load(name: str, variant: str = "default") -> dict:
    return node("LongtakeLoadDiffusersFolder", folder=name, variant=variant, weight_dtype="default", family="automatic")


def load_ltx2(name: str, **changes: str) -> dict:
    chosen = {"sampled_as": "as its scheduler says", "latent_upscaler": "none", "frame_rate": "24"} | changes
    inputs = load(name)["inputs"] | {"family": "LTX-2"} | {f"family.{key}": value for key, value in chosen.items()}
    return node("LongtakeLoadDiffusersFolder", **inputs)


def test_a_folder_made_by_save_pretrained_renders_a_chain(server: Server) -> None:
    graph = {
        "opening": load("Wan2.2-T2V-A14B-Diffusers"),
        "model": load("Wan2.2-I2V-A14B-Diffusers"),
        "sampling": graphs.sampling(),
        "first": graphs.stage("opening"),
        "second": graphs.stage(chain="first"),
        **graphs.delivered("second"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    assert look_into(server.files(result)[0]).frames == 17 + 12
    assert any("Wan 2.2 i2v-14b" in text for text in result.texts)


def test_wan_2_1_goes_on_from_an_image_and_to_a_last_frame(server: Server) -> None:
    graph = {
        "model": load("Wan2.1-I2V-14B-480P-Diffusers"),
        "closing": load("Wan2.1-FLF2V-14B-720P-diffusers"),
        **graphs.photo("astronaut.png"),
        "settings": node(
            "LongtakeWanSampling",
            **graphs.sampling(expert_split="single model")["inputs"],
        ),
        "first": graphs.stage(start_image=["photo", 0], sampling=["settings", 0]),
        "second": graphs.stage(chain="first", sampling=["settings", 0]),
        "third": graphs.stage("closing", "second", end_image=["photo", 0], sampling=["settings", 0]),
        **graphs.delivered("third"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    assert look_into(server.files(result)[0]).frames == 17 + 12 + 12


def test_wan_2_1_from_an_image_does_not_start_from_text(server: Server) -> None:
    graph = {
        "model": load("Wan2.1-I2V-14B-480P-Diffusers"),
        "sampling": graphs.sampling(),
        "first": graphs.stage(),
        **graphs.delivered("first"),
    }
    result = server.run(graph)
    assert result.error is not None
    assert "cannot render from text alone" in result.error["exception_message"]


@pytest.mark.parametrize(
    ("name", "changes", "rate"),
    [
        ("LTX-2", {"sampled_as": "distilled", "latent_upscaler": "from the folder"}, 24_000),
        ("LTX-2.3-Distilled", {"frame_rate": "25"}, 48_000),
    ],
    ids=["2.0 in two passes", "2.3"],
)
def test_an_ltx2_folder_renders_a_chain_with_sound(server: Server, name: str, changes: dict, rate: int) -> None:
    graph = {
        "model": load_ltx2(name, **changes),
        "first": graphs.ltx2_stage(),
        "second": graphs.ltx2_stage("first", prompt="it stops at a lake"),
        **graphs.delivered("second"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    film = look_into(server.files(result)[0])
    assert (film.frames, film.audio_rate) == (25 + 16, rate)
    exact = round(Fraction(film.frames) / int(changes.get("frame_rate", "24")) * rate)
    assert exact <= film.samples < exact + 3 * 1024  # AAC holds whole packets, and a decoder gives its priming back


def test_what_is_chosen_for_ltx2_is_refused_for_wan(server: Server) -> None:
    loader = load_ltx2("Wan2.2-T2V-A14B-Diffusers")
    result = server.run({"model": loader, "first": graphs.ltx2_stage(), **graphs.delivered("first")})
    assert result.error is not None
    assert "Wan2.2-T2V-A14B-Diffusers is Wan, which leaves nothing to choose" in result.error["exception_message"]


def test_automatic_finds_ltx2_in_a_folder(server: Server) -> None:
    result = server.run({"model": load("LTX-2"), "first": graphs.ltx2_stage(frames=9), **graphs.delivered("first")})
    assert result.texts[0].startswith("LTX-2 dev-2.0")
    # Two blocks are too few for the guidance that dev models were published with.
    assert "stg_block: 29 given" in result.why()


def test_an_absent_variant_is_refused_by_the_loader(server: Server) -> None:
    graph = {"model": load("Wan2.1-T2V-1.3B-Diffusers"), "first": graphs.stage(), **graphs.delivered("first")}
    del graph["first"]["inputs"]["sampling"]
    result = server.run(graph)
    assert result.error is not None
    assert "transformer has no default weights; it has fp16." in result.error["exception_message"]


def test_a_diffusers_scheduler_renders_stages_and_core_sampling(server: Server) -> None:
    graph = {
        "model": load("Wan2.2-T2V-A14B-Diffusers"),
        "solver": node(
            "LongtakeDiffusersScheduler",
            **{"solver": "UniPC", "solver.order": 2, "solver.integer_timesteps": True},
        ),
        "sampling": graphs.sampling(custom_sampler=["solver", 0]),
        "stage": graphs.stage(),
        **graphs.delivered("stage"),
        "parts": node("LongtakeSplitBundle", model=["model", 0]),
        "words": node("CLIPTextEncode", clip=["parts", 2], text="a fox"),
        "guider": node("BasicGuider", model=["parts", 0], conditioning=["words", 0]),
        "sigmas": node("BasicScheduler", model=["parts", 0], scheduler="simple", steps=3, denoise=1.0),
        "noise": node("RandomNoise", noise_seed=1),
        "empty": node("EmptyHunyuanLatentVideo", width=96, height=64, length=5, batch_size=1),
        "core": node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["solver", 0],
            sigmas=["sigmas", 0],
            latent_image=["empty", 0],
        ),
        "kept": node("SaveLatent", samples=["core", 0], filename_prefix="core"),
    }
    result = server.run(graph)
    assert result.ok, result.why()
    assert {"stage", "core"} <= set(result.ran)
