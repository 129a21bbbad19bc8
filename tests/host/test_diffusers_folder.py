"""Diffusers folders on a real server: a chain of two stages, and what a person reads when a folder is refused."""

from __future__ import annotations

from tests.host import graphs
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import node


def load(name: str, variant: str = "default") -> dict:
    return node("LongtakeLoadDiffusersFolder", folder=name, variant=variant, weight_dtype="default")


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
