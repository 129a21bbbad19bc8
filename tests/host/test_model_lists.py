"""Loaders list the files they can use, and a file that is named all the same is told what is wrong with it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.host import graphs, stock, stock_ltx2
from tests.host.server import Server


def options(server: Server, node: str, name: str) -> list[str]:
    """The choices of an input as the canvas gets them."""
    return server.object_info()[node]["input"]["required"][name][1]["options"]


@pytest.fixture(scope="module")
def read(server: Server) -> Server:
    """A server that has looked into its model files."""
    for _ in range(100):
        if not any("ltx" in name for name in options(server, "LongtakeLoadWan22", "high_noise_model")):
            return server
        time.sleep(0.1)
    raise AssertionError("the lists of Load Wan 2.2 still name files of LTX-2")


def test_load_wan_lists_what_it_can_load(read: Server) -> None:
    models = options(read, "LongtakeLoadWan22", "high_noise_model")
    assert stock.MODELS["i2v"][0] in models
    assert options(read, "LongtakeLoadWan22", "low_noise_model") == ["none", *models]
    encoders = options(read, "LongtakeLoadWan22", "text_encoder")
    assert stock.TEXT_ENCODER in encoders and not any("gemma" in name for name in encoders)
    vaes = options(read, "LongtakeLoadWan22", "vae")
    assert {"wan_2.1_vae.safetensors", "wan2.2_vae.safetensors"} <= set(vaes)
    assert not any("LTX" in name or "ltx" in name for name in vaes)


def test_load_ltx2_lists_what_it_can_load(read: Server) -> None:
    encoders = options(read, "LongtakeLoadLtx2", "text_encoder")
    assert stock_ltx2.TEXT_ENCODER in encoders and stock.TEXT_ENCODER not in encoders
    upscalers = options(read, "LongtakeLoadLtx2", "latent_upscaler")
    assert upscalers[0] == "none" and stock_ltx2.UPSCALER in upscalers


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (graphs.load("i2v", text_encoder=stock_ltx2.TEXT_ENCODER), "text_encoder: "),
        (graphs.load_ltx2(text_encoder=stock.TEXT_ENCODER), "text_encoder: "),
        (graphs.load("i2v", vae="none.safetensors"), "vae: 'none.safetensors' not in"),
        (graphs.load_ltx2("none.safetensors"), "files.checkpoint: 'none.safetensors' not in"),
    ],
    ids=["a file of LTX-2 for Wan", "a file of Wan for LTX-2", "no file for Wan", "no file for LTX-2"],
)
def test_a_file_off_the_list_is_told_why(read: Server, loader: dict[str, Any], expected: str) -> None:
    result = read.run(
        {"model": loader, "sampling": graphs.sampling(), "film": graphs.stage(), **graphs.delivered("film")}
    )
    assert not result.ok and expected in result.why()


def test_automatic_goes_by_the_name_and_says_so(read: Server) -> None:
    loader = graphs.load_ltx2(stock_ltx2.DEV, sampled_as="automatic")
    result = read.run({"model": loader, "film": graphs.ltx2_stage(frames=9), **graphs.delivered("film")})
    # Two blocks are too few for the guidance that dev models were published with.
    assert "stg_block: 29 given" in result.why()
    assert any("Sampled as dev, as the name of the file suggests." in text for text in result.texts)
