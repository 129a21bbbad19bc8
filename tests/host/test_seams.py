"""Seams on a real server: the report of a chain, and films with and without their colours matched."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.host import graphs
from tests.host.prompt import Result
from tests.host.server import Server
from tests.host.stock import Graph, node

REPORT = {"seams": node("LongtakeSeamReport", chain=["third", 0])}


@pytest.fixture
def chain() -> Graph:
    """Two smooth seams and a cut."""
    return {
        "model": graphs.load("ti2v"),
        "sampling": graphs.sampling(expert_split="single model"),
        "first": graphs.stage(frames=17),
        "second": graphs.stage(chain="first"),
        "third": graphs.stage(chain="second", transition="cut"),
    }


def frames_of(server: Server, graph: Graph, match_colour: bool) -> np.ndarray:
    """All frames of the film `[T, H, W, 3]` in 0..255."""
    from PIL import Image

    images = {
        "images": node(
            "LongtakeChainToImages", chain=["third", 0], first_frame=0, frame_count=0, match_colour=match_colour
        ),
        "png": node("SaveImage", images=["images", 0], filename_prefix="seams/f"),
    }
    result = server.run({**graph, **images})
    assert result.ok, result.why()
    return np.stack([np.asarray(Image.open(file)) for file in server.files(result)]).astype(float)


def test_a_report_has_a_verdict_for_each_seam_and_a_plot(server: Server, chain: Graph) -> None:
    result: Result = server.run({**chain, **REPORT})
    assert result.ok, result.why()
    [report] = result.outputs["seams"]["text"]
    summary, smooth, cut = report.splitlines()
    assert re.match(r"(The seam is good|Seam 1 is (visible|broken): .*)\.$", summary)
    assert re.match(r"Seam 1, 0:00\.7: (good|visible, .*|broken, .*)$", smooth)
    assert cut == "Seam 2, 0:01.2: cut, as asked for"
    assert [image["type"] for image in result.outputs["seams"]["images"]] == ["temp"]


def test_matching_changes_nothing_before_a_smooth_seam_or_after_a_cut(server: Server, chain: Graph) -> None:
    matched, rendered = frames_of(server, chain, True), frames_of(server, chain, False)
    assert np.array_equal(matched[:17], rendered[:17])
    assert np.array_equal(matched[29:], rendered[29:])
    # In between it is one gain and offset for each channel; the rest is rounding to 8 bits, and clipping.
    for channel in range(3):
        x, y = rendered[17:29, ..., channel].ravel(), matched[17:29, ..., channel].ravel()
        inside = (y > 0) & (y < 255)
        gain, offset = np.polyfit(x[inside], y[inside], 1)
        assert np.abs(gain * x[inside] + offset - y[inside]).max() < 1.5
