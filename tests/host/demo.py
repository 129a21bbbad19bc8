"""A film on a real ComfyUI server, from the demo model or, for a shipped workflow, from random weights.

`python tests/run.py host.demo [NAME] [--picture FILE]`; NAME is a file of workflows/api/ without its ending. Without
one, the trained demo model renders a film of twenty seconds: twelve stages, seven prompts, one cut and one fade. It was
trained on clips of two seconds at most, so fewer stages would not fill twenty.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from longtake.pipelines.timeline.clips import Clip, Grid, Join, Length, Transition, starts
from longtake.pipelines.timeline.plan import plan_clip

from tests.host.film import look_into
from tests.host.place import ROOT, Place
from tests.host.server import Server, ServerDied
from tests.host.stock import Graph, node
from tests.host.workflows import api_prompt, put_inputs, shrink
from tests.tiny.models import tiny_models

FOLDER = ROOT / "build" / "demo"
# Far more than it takes on two slow cores; past it something hangs.
TIMEOUT = 900
# The demo model's folder and what it does from text alone, as they are called below models/diffusers.
IMAGE_TO_VIDEO, TEXT_TO_VIDEO = "longtake-demo-i2v", "longtake-demo-t2v"
SIDE, FRAMES, FPS, SEED = 64, 33, 16.0, 7
ENLARGED = 8  # times, by Lanczos: 512 pixels each way
PICTURE = 4  # times, for the small animated picture
PICTURE_EVERY = 2  # frames


@dataclass(frozen=True)
class Stage:
    """One stage of the demo film; one that is not smooth starts from its prompt alone."""

    prompt: str
    transition: str = "smooth"


# Every prompt but the last two for two stages, so that a seam is seen both where a motion turns and where it goes on.
STAGES = (
    Stage("a red circle moves right on black"),
    Stage("a red circle moves right on black"),
    Stage("a red circle moves down on black"),
    Stage("a red circle moves down on black"),
    Stage("a red circle moves left on black"),
    Stage("a red circle moves left on black"),
    Stage("a cyan triangle moves up on white", "cut"),
    Stage("a cyan triangle moves up on white"),
    Stage("a cyan triangle moves right on white"),
    Stage("a cyan triangle moves right on white"),
    Stage("a yellow square moves down on gray", "fade"),
    Stage("a yellow square moves left on gray"),
)
FADE = 8  # frames
OVERLAP = 5  # frames, Wan's own


class Narrator:
    """Prints each new progress text once."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "progress_text" and (text := event["data"]["text"].strip()) != self.last:
            self.last = text
            print(f"  {text}", flush=True)


def demo_models(folder: Path) -> Path:
    """Put the demo model below `folder` as ComfyUI's models folder has it; return `folder`."""
    from longtake.demo_model import folder as demo

    shutil.copytree(demo.FOLDER, folder / "diffusers" / IMAGE_TO_VIDEO, dirs_exist_ok=True)
    demo.write_text_to_video(folder / "diffusers" / TEXT_TO_VIDEO)
    return folder


def load(name: str) -> dict[str, Any]:
    return node(
        "LongtakeLoadDiffusersFolder", folder=name, variant="default", weight_dtype="default", family="automatic"
    )


def film_graph(stages: tuple[Stage, ...] = STAGES, frames: int = FRAMES) -> Graph:
    """Load twice, a Chain Stage for each stage, Stitch, Encode, and the seams in words."""
    graph: Graph = {
        "from_text": load(TEXT_TO_VIDEO),
        "from_frames": load(IMAGE_TO_VIDEO),
        "sampling": node(
            "LongtakeWanSampling",
            **{"steps": 10, "cfg_high": 1.0, "cfg_low": 1.0, "sampler": "euler", "scheduler": "simple"},
            **{"shift": "own", "shift.value": 5.0, "expert_split": "boundary", "expert_split.boundary": 0.9},
        ),
    }
    chain: str | None = None
    for number, stage in enumerate(stages, 1):
        goes_on = chain is not None and stage.transition == "smooth"
        inputs: dict[str, Any] = {
            "model": ["from_frames" if goes_on else "from_text", 0],
            "prompt": stage.prompt,
            "negative_prompt": "",
            "length": "frames",
            "length.frames": frames,
            "size": "own",
            "size.width": SIDE,
            "size.height": SIDE,
            "seed": SEED + number,
            "transition": stage.transition,
            "sampling": ["sampling", 0],
        }
        if stage.transition == "smooth":
            inputs |= {"transition.overlap": "automatic", "transition.carry_over": "pixels"}
        if stage.transition == "fade":
            inputs["transition.fade_frames"] = FADE
        if chain is not None:
            inputs["chain"] = [chain, 0]
        chain = f"stage_{number}"
        graph[chain] = node("LongtakeChainStage", **inputs)
    return graph | {
        "stitch": node("LongtakeStitchChain", chain=[chain, 0]),
        "encode": node(
            "LongtakeEncodeVideo",
            **{"video": ["stitch", 0], "filename_prefix": "demo/film", "crf": 10.0, "preset": "medium", "fps": FPS},
            format="mp4",
        ),
        "seams": node("LongtakeSeamReport", chain=[chain, 0]),
        "report": node("PreviewAny", source=["seams", 0]),
    }


@dataclass(frozen=True)
class Delivered:
    film: Path
    report: str | None


def deliver(prompt: Graph, models: Path, shim: bool) -> Delivered:
    """Run a prompt on a server of its own; raises SystemExit with what went wrong."""
    server = Server(Place.here(), FOLDER / "server", models, shim=shim)
    put_inputs(server.input)
    print("starting ComfyUI", flush=True)
    try:
        with server:
            result = server.run(prompt, TIMEOUT, Narrator())
            if not result.ok:
                raise SystemExit(f"the workflow did not finish: {result.why()}\n\n{server.log_tail()}")
            films = [p for p in server.files(result) if p.suffix == ".mp4" and p.is_relative_to(server.output)]
            if not films:
                raise SystemExit(f"the workflow delivered no mp4: {json.dumps(result.outputs)}\n\n{server.log_tail()}")
            report = result.outputs.get("report", {}).get("text")
            return Delivered(films[-1], "\n".join(report) if report else None)
    except (ServerDied, TimeoutError) as error:
        raise SystemExit(str(error)) from error


def frames_of(path: Path) -> Iterator[Any]:
    import av

    with av.open(str(path)) as container:
        yield from container.decode(container.streams.video[0])


def enlarge(source: Path, target: Path, times: int = ENLARGED) -> Path:
    """Write `source` larger by Lanczos, frame by frame."""
    import av

    with av.open(str(source)) as small, av.open(str(target), "w") as large:
        given = small.streams.video[0]
        stream = large.add_stream("libx264", rate=given.average_rate, options={"crf": "16", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = times * given.width, times * given.height, "yuv420p"
        for number, frame in enumerate(small.decode(given)):
            frame = frame.reformat(stream.width, stream.height, "yuv420p", interpolation="LANCZOS")
            frame.pts, frame.time_base = number, 1 / given.average_rate
            large.mux(stream.encode(frame))
        large.mux(stream.encode(None))
    return target


def animate(source: Path, target: Path, times: int = PICTURE, every: int = PICTURE_EVERY) -> Path:
    """Write `source` as a small animated WebP, every other frame."""
    from PIL import Image

    pictures = [frame.to_image() for index, frame in enumerate(frames_of(source)) if index % every == 0]
    pictures = [p.resize((times * p.width, times * p.height), Image.Resampling.LANCZOS) for p in pictures]
    pictures[0].save(
        target, save_all=True, append_images=pictures[1:], duration=round(1000 * every / FPS), loop=0, quality=60,
        method=6,
    )  # fmt: skip
    return target


def begins() -> list[float]:
    """Second of the film with which each stage begins to be seen."""
    clips: list[Clip] = []
    for stage in STAGES:
        transition = Transition(stage.transition)
        overlap = OVERLAP if clips and transition is Transition.SMOOTH else 0
        join = Join.of(transition if clips else Transition.CUT, overlap, FADE)
        clips.append(plan_clip(clips, Length(frames=FRAMES), join, Grid(4), Fraction(FPS)))
    return [(start + clip.join.hidden) / FPS for start, clip in zip(starts(clips), clips, strict=True)]


def render_demo(picture: Path | None) -> Path:
    began = time.monotonic()
    print(f"the demo model renders {len(STAGES)} stages at {SIDE} x {SIDE}; the film shows", flush=True)
    shown = list(zip(begins(), STAGES, strict=True))
    for number, (second, stage) in enumerate(shown, 1):
        joined = f" ({stage.transition})" if number > 1 else ""
        print(f"  {second:4.1f} s  {stage.prompt}{joined}", flush=True)
    delivered = deliver(film_graph(), demo_models(FOLDER / "models"), shim=False)
    if picture is not None:
        print(f"animated picture: {animate(delivered.film, picture)}")
    film = enlarge(delivered.film, FOLDER / "film.mp4")
    print(f"\nthe seams, after {time.monotonic() - began:.0f} s:")
    print("\n".join(f"  {line}" for line in (delivered.report or "").splitlines()))
    print(
        f"\nWatch the film, {ENLARGED} times as large (Lanczos). Each shape is the same one over all its stages: at a "
        "smooth seam\nit goes on, or turns as the next prompt says, with no jump, no flash and no change of colour. "
        f"Only the cut at {_second('cut'):.1f} s\nand the fade from {_second('fade'):.1f} s change what is seen.",
        flush=True,
    )
    return film


def _second(transition: str) -> float:
    return next(second for second, stage in zip(begins(), STAGES, strict=True) if stage.transition == transition)


def render_workflow(name: str) -> Path:
    prompt = shrink(api_prompt(name))
    print("making tiny models of Wan 2.2's architecture (random weights: the film will be abstract)", flush=True)
    models = tiny_models(Place.here())
    print(f"rendering workflows/api/{name}.json at a quarter of its size", flush=True)
    return deliver(prompt, models, shim=True).film


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.py demo", description=__doc__)
    parser.add_argument("name", nargs="?", help="a workflow of workflows/api/ to render with random weights")
    parser.add_argument("--picture", type=Path, help="also write the film as a small animated WebP")
    options = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    path = render_workflow(options.name) if options.name else render_demo(options.picture)
    film = look_into(path)
    rate = f"{float(film.fps):g} fps, {float(film.seconds):.2f} s"
    print(f"every frame decoded: {film.frames} frames, {film.width} x {film.height}, {rate}")
    print(path)


if __name__ == "__main__":
    main()
