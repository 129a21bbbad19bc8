"""Stages by MLX on a real server: in a chain with others, refused, and cancelled."""

from __future__ import annotations

import json
from collections.abc import Callable

import psutil
import pytest

from tests.host import graphs
from tests.host.prompt import Event
from tests.host.server import Server
from tests.host.stock import Graph, node

I2V = "Wan2.2-I2V-A14B-Diffusers"


pytestmark = pytest.mark.usefixtures("mlx_python")


def load(rendered_by: str, name: str = I2V) -> Graph:
    chosen = {"folder": name, "variant": "default", "weight_dtype": "default", "family": "automatic"}
    return node("LongtakeLoadDiffusersFolder", **chosen, rendered_by=rendered_by)


def chain(middle: str, prompt: str, steps: int = 4) -> Graph:
    """Three stages, those at its ends by ComfyUI in four steps."""
    return {
        **graphs.photo("astronaut.png"),
        "model": load("ComfyUI"),
        "other": load(middle),
        "sampling": graphs.sampling(),
        "steps": graphs.sampling(steps=steps),
        "first": graphs.stage(start_image=["photo", 0], prompt=prompt),
        "second": graphs.stage("other", "first", prompt=prompt, sampling=["steps", 0]),
        "third": graphs.stage(chain="second", prompt=prompt),
        "seams": node("LongtakeSeamReport", chain=["third", 0]),
    }


def runners(server: Server) -> list[psutil.Process]:
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if any("runner.py" in argument for argument in child.cmdline())]


class Watch:
    """Runners that were seen at work while a prompt ran; each is told of once."""

    def __init__(self, server: Server, on_runner: Callable[[], None] = lambda: None):
        self.server, self.on_runner, self.seen = server, on_runner, list[psutil.Process]()

    def __call__(self, event: Event) -> None:
        if not self.seen and event["type"] in ("longtake.step", "longtake.stage_started"):
            self.seen += runners(self.server)
            if self.seen:
                self.on_runner()


def report(server: Server, graph: Graph, watch: Watch | None = None) -> str:
    """What Seam Report says."""
    result = server.run(graph, on_event=watch)
    assert result.ok, result.why()
    [text] = result.outputs["seams"]["text"]
    return text


def test_a_stage_by_mlx_joins_those_before_and_after_it_as_one_by_comfyui(server: Server) -> None:
    by_one, by_both = chain("ComfyUI", "by one"), chain("MLX, fp32", "by one")
    watch = Watch(server)
    assert report(server, by_both, watch) == report(server, by_one)
    assert len(watch.seen) == 1
    server.free()
    again = server.run(by_both)
    assert [event["stage"] for event in again.of("longtake.stored_hit")] == [1, 2, 3]
    assert not again.of("longtake.stage_started")
    keys = [event["take"] for event in again.of("longtake.stored_hit")]
    facts = [json.loads(next(server.output.glob(f"longtake/**/{key}/take.json")).read_text()) for key in keys]
    assert [made["facts"]["renderer"] for made in facts] == ["ComfyUI", "mlx-gen 0.38.0, fp32", "ComfyUI"]


def test_a_sampler_that_mlx_has_not_is_refused_before_the_first_stage(server: Server) -> None:
    graph = chain("MLX", "not at all")
    graph["steps"] = graphs.sampling(sampler="dpmpp_2m")
    result = server.run(graph)
    assert result.error is not None
    assert "stage 2, sampler: dpmpp_2m given; MLX has euler and uni_pc" in result.error["exception_message"]
    assert not result.of("progress")


def test_a_cancel_ends_a_stage_by_mlx_and_the_server_goes_on(server: Server) -> None:
    watch = Watch(server, server.interrupt)
    result = server.run(chain("MLX", "cancelled", steps=500), on_event=watch)
    assert result.interrupted and result.of("longtake.step")[-1]["stage"] == 2
    assert watch.seen and not runners(server)
    shown = server.run(chain("MLX", "cancelled"), extra_data={"preview_method": "latent2rgb"})
    assert shown.ok, shown.why()
    assert [data["node"] for data in shown.of("preview")].count("second") == 4
