"""What edits of a twelve-stage film cost: stages rendered and seconds, beside the same edits in a stock graph.

    python benchmarks/twelve_stages.py

Both graphs run on a real ComfyUI with the tiny Wan 2.2 i2v models, 96x64, twelve stages of 17 frames, four steps over
both experts, and save the film as mp4. The stock graph hands the last frame of a stage to the next one's
WanImageToVideo, which is what ComfyUI can do by itself. Stages are counted by what the server says it ran; the tiny
models make the seconds those of everything around the sampling. Writes benchmarks/results/twelve_stages.md.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "twelve_stages.md"
STAGES, MIDDLE = 12, 6
Graph = dict[str, Any]


def longtake(photo: str, seeds: list[int], bridged: int | None = None) -> Graph:
    from tests.host import graphs
    from tests.host.stock import node

    graph: Graph = {**graphs.photo(photo), "model": graphs.load("i2v"), "sampling": graphs.sampling()}
    for number, seed in enumerate(seeds, start=1):
        if number == 1:
            graph["s1"] = graphs.stage(start_image=["photo", 0], seed=seed)
        else:
            graph[f"s{number}"] = graphs.stage(chain=f"s{number - 1}", seed=seed)
    last = f"s{len(seeds)}"
    if bridged is not None:
        graph["bridge"] = node(
            "LongtakeBridgeStage",
            model=["model", 0],
            chain=[last, 0],
            stage=bridged,
            prompt=graphs.PROMPT,
            negative_prompt=graphs.NEGATIVE,
            seed=9000,
            sampling=["sampling", 0],
        )
        last = "bridge"
    return {**graph, **graphs.delivered(last)}


def stock(photo: str, seeds: list[int]) -> Graph:
    from tests.host import graphs
    from tests.host import stock as core
    from tests.host.stock import node

    graph: Graph = {**graphs.photo(photo), **core.loaders("i2v", "wan_2.1_vae.safetensors")}
    start, film = ["photo", 0], None
    for number, seed in enumerate(seeds, start=1):
        condition = f"condition{number}"
        graph[condition] = node(
            "WanImageToVideo",
            positive=["positive", 0],
            negative=["negative", 0],
            vae=["vae", 0],
            start_image=start,
            **core.SIZE,
            length=17,
        )
        halves = core.both_experts([condition, 0], [condition, 1], [condition, 2])
        halves["first"]["inputs"]["noise_seed"] = seed
        halves["second"]["inputs"]["latent_image"] = [f"first{number}", 0]
        graph |= {f"{name}{number}": half for name, half in halves.items()}
        graph[f"decode{number}"] = node("VAEDecode", samples=[f"second{number}", 0], vae=["vae", 0])
        graph[f"last{number}"] = node("ImageFromBatch", image=[f"decode{number}", 0], batch_index=16, length=1)
        start = [f"last{number}", 0]
        if film is None:
            film = [f"decode{number}", 0]
        else:
            graph[f"film{number}"] = node("ImageBatch", image1=film, image2=[f"decode{number}", 0])
            film = [f"film{number}", 0]
    graph["video"] = node("CreateVideo", images=film, fps=16)
    graph["save"] = node("SaveVideo", video=["video", 0], filename_prefix="stock/film", format="auto", codec="auto")
    return graph


def measure(name: str, of: Callable[..., Graph], count: Callable[[Any], int]) -> list[tuple[int, float]]:
    """Stages rendered and seconds of each edit, in the order of the table, on a server of its own."""
    from tests.host.place import Place
    from tests.host.server import Server
    from tests.tiny.models import tiny_models
    from tests.tiny.photos import put_photos

    place = Place.here()
    seeds = list(range(100, 100 + STAGES))
    rows = []
    with tempfile.TemporaryDirectory() as folder, Server(place, Path(folder), tiny_models(place)) as server:
        photo = put_photos(server.input)["astronaut"].name

        def run(graph: Graph) -> None:
            result = server.run(graph, timeout=600)
            if not result.ok:
                raise RuntimeError(f"{name}: {result.why()}")
            rows.append((count(result), result.seconds))
            print(name, rows[-1], flush=True)

        run(of(photo, seeds))
        server.restart()
        run(of(photo, seeds))
        run(of(photo, [*seeds[:-1], 9000]))
        if of is longtake:
            run(longtake(photo, seeds, MIDDLE))
        else:
            run(of(photo, [*seeds[: MIDDLE - 1], 9000, *seeds[MIDDLE:]]))
    return rows


def main() -> None:
    ours = measure("Longtake", longtake, lambda result: len(result.of("longtake.stage_done")))
    theirs = measure("stock", stock, lambda result: sum(node.startswith("second") for node in result.ran))
    edits = (
        "full render",
        "the same again, after a restart",
        "the last stage with another seed",
        f"stage {MIDDLE} with another seed (Longtake: Bridge Stage)",
    )
    lines = [
        "# Edits of a twelve-stage film",
        "",
        "Written by benchmarks/twelve_stages.py: tiny models, 96x64, stages of 17 frames, on a CPU. Rendering a stage",
        "of the real models takes minutes, so there the number of stages is what counts.",
        "",
        "| | Longtake: stages | seconds | stock graph: stages | seconds |",
        "|---|---|---|---|---|",
    ]
    for edit, (stages, seconds), (stock_stages, stock_seconds) in zip(edits, ours, theirs, strict=True):
        lines.append(f"| {edit} | {stages} | {seconds:.1f} | {stock_stages} | {stock_seconds:.1f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    RESULT.write_text(text)


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    main()
