"""What a chain costs on a GPU at the models' published sizes, beside the same work done by ComfyUI's own nodes.

    <a Python with torch and ComfyUI> benchmarks/gpu_stage.py --size 480p
    ... benchmarks/gpu_stage.py --tiny          tiny models on the CPU: shows that it runs, measures nothing

Weights are random (see tests/gpu/models.py), which neither time nor memory depends on. Both ways use the same loaded
models in the same process, one after the other, after a stage that is not counted. Core's nodes do what a graph would:
WanImageToVideo from the last frames of the stage before, two KSamplerAdvanced, VAEDecode, and one IMAGE batch of all.
LTX-2: LTXVImgToVideoInplace, SamplerCustomAdvanced over picture and sound at the published eight steps, VAEDecode.
Results are kept in benchmarks/results/gpu_stage.json, a row for each model and size, and written as a table beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"480p": (832, 480), "720p": (1280, 720)}
MULTIPLES_OF_32 = {"480p": (832, 480), "720p": (1280, 704)}
STAGES = 3
WAN_FRAMES, WAN_STEPS = 81, 4


def name_packages() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.run import name_packages

    sys.path.pop(0)  # the repository has a folder `nodes`, and so has ComfyUI
    name_packages()


class Clock:
    """Seconds that its block took, the GPU's work included."""

    def __enter__(self) -> Clock:
        self._start = self._now()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = self._now() - self._start

    @staticmethod
    def _now() -> float:
        from tests.gpu.device import finish_gpu_work

        finish_gpu_work()
        return time.perf_counter()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    with Clock() as clock:
        result = work()
    return clock.seconds, result


@contextmanager
def peak_in(row: dict[str, Any], name: str) -> Iterator[None]:
    """Put the peak of torch's tensors on the GPU while the block runs into a row, in GiB."""
    from tests.gpu.device import Peaks

    with Peaks() as peaks:
        yield
        row[name] = round(peaks.read()["tensors"] / 2**30, 2)


def measure(model: Any, job: Any, repeats: int) -> dict[str, Any]:
    """A row of the table. Seconds; GiB of GPU memory."""
    from tests.gpu import rendering

    warm = replace(job, stages=1, steps=2, split=1)
    first, chain = timed(lambda: rendering.our_chain(model, warm))
    rendering.decode_all(chain)
    for _ in rendering.stock_stages(model, warm):
        pass
    row: dict[str, Any] = {"first_two_steps": first}
    ours, stock, steps = [], [], []
    for _ in range(repeats):
        with peak_in(row, "our_peak"):
            seconds, (chain, between) = timed(lambda: our_film(model, job))
        ours.append(seconds)
        steps += between
        with peak_in(row, "stock_peak"):
            stock.append(timed(lambda: stock_film(model, job))[0])
    row |= {"ours": min(ours), "stock": min(stock), "step": statistics.median(steps)}
    return {**row, **measure_parts(model, job, chain)}


def our_film(model: Any, job: Any) -> tuple[Any, list[float]]:
    """The chain, every clip of it decoded, and the seconds between steps that one model did in a row."""
    from tests.gpu import rendering
    from tests.gpu.device import finish_gpu_work

    stages: list[list[float]] = [[]]

    def on_step(done: int) -> None:
        finish_gpu_work()
        stages[-1].append(time.perf_counter())

    watch = rendering.Watch(on_step, lambda number: stages.append([]))
    chain = rendering.our_chain(model, job, watch)
    rendering.decode_all(chain)
    change = job.split if model.low is not None else job.steps
    between = [b - a for times in stages for i, (a, b) in enumerate(pairwise(times)) if i + 1 != change]
    return chain, between


def stock_film(model: Any, job: Any) -> None:
    import torch

    from tests.gpu import rendering

    clips = [pixels for _, pixels in rendering.stock_stages(model, job)]
    torch.cat([clips[0], *(clip[model.variant.overlap :] for clip in clips[1:])])


def measure_parts(model: Any, job: Any, chain: Any) -> dict[str, float]:
    """The parts of a stage that are not steps, each on its own."""
    import torch
    from longtake.pipelines.chain.decode import decoded
    from longtake.pipelines.chain.tail import tail_of
    from longtake.pipelines.timeline.clips import Join, Transition

    link = chain.links[0]
    clip = torch.full((job.frames, job.height, job.width, 3), 0.5)
    encode, _ = timed(lambda: model.vae.get().encode(clip))
    decode, _ = timed(lambda: model.family.decode(model, link.rendered.latent()))
    link.rendered.frames_path.unlink()
    decode_and_keep, _ = timed(lambda: decoded(link))
    hand_over, _ = timed(lambda: tail_of(link, Join(Transition.SMOOTH, model.variant.overlap)))
    return {"encode": encode, "decode": decode, "keep": decode_and_keep - decode, "hand_over": hand_over}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# A chain on a GPU, beside the same work by ComfyUI's own nodes",
        "",
        "Written by benchmarks/gpu_stage.py: random weights at the published sizes, both ways in one process on the "
        "same loaded models.",
        "Seconds; ours / stock below 1 is faster. A stage is sampled, decoded, and the next one starts from its last "
        "frames (Wan 5, LTX-2 17).",
        "",
        "| model | size | stages, steps | a step | decode | encode | keep the clip | hand over | ours | stock "
        "| ours / stock | peak GPU, ours | stock |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['variant']} {row['weights']}, {row['memory']} | {row['width']}x{row['height']}x{row['frames']} "
            f"| {row['stages']}, {row['steps']} | {row['step']:.2f} | {row['decode']:.2f} | {row['encode']:.2f} "
            f"| {row['keep']:.2f} | {row['hand_over']:.3f} | {row['ours']:.1f} | {row['stock']:.1f} "
            f"| {row['ours'] / row['stock']:.3f} | {row['our_peak']:.1f} GiB | {row['stock_peak']:.1f} GiB |"
        )
    machines = dict.fromkeys(row["machine"] for row in rows)
    notes = [
        "",
        "- *keep the clip*: bringing a decoded clip to 16 bits and writing it to disk, from where the film is read.",
        "- *hand over*: reading the last frames back for the next stage. *encode*: of a whole clip, as image-to-video "
        "conditioning does in both ways.",
        "- *peak GPU* counts torch's tensors; weights that ComfyUI places by page (*dynamic*) are not among them.",
        "",
        *(f"Machine: {machine}." for machine in machines),
        "",
    ]
    return "\n".join([*lines, *notes])


def keep(row: dict[str, Any], folder: Path) -> None:
    """Put a row in the place of an earlier one of the same model and size, and write the table anew."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gpu_stage.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    same = ("variant", "weights", "memory", "width", "height")
    rows = [one for one in rows if any(one[name] != row[name] for name in same)] + [row]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (folder / "gpu_stage.md").write_text(table(rows), encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    from tests.gpu.device import Memory
    from tests.gpu.models import VARIANTS, Weights

    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--variant", choices=[name for name in VARIANTS if name != "t2v-14b"], default="i2v-14b")
    made.add_argument("--weights", type=Weights, default=Weights.FP8, help="fp8 (default) or bf16")
    made.add_argument("--memory", type=Memory, default=Memory.DYNAMIC, help="dynamic (default) or plain")
    made.add_argument("--size", choices=SIZES, action="append", help="480p, 720p; may be given twice; both by default")
    made.add_argument("--repeats", type=int, default=1, help="whole chains of each way; the fastest counts")
    made.add_argument("--results", type=Path, help="folder for the results; benchmarks/results, or build for --tiny")
    made.add_argument("--tiny", action="store_true", help="tiny models on the CPU")
    return made


def main(arguments: list[str] | None = None) -> int:
    from tests.gpu import device, models, rendering

    options = parser().parse_args(arguments)
    results = options.results or ROOT / ("build" if options.tiny else "benchmarks/results")
    import torch

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        device.enter(device.Memory.CPU if options.tiny else options.memory, Path(folder))
        model = models.bundle(models.TINY if options.tiny else models.PUBLISHED, options.variant, options.weights)
        for name in options.size or SIZES:
            width, height = (SIZES if model.variant.size_step == 16 else MULTIPLES_OF_32)[name]
            if model.family.name == "wan22":
                frames, steps = WAN_FRAMES, WAN_STEPS
            else:
                frames, steps = model.variant.clip_frames, model.variant.sampling.steps
            job = rendering.Job(width, height, frames, stages=STAGES, steps=steps)
            if options.tiny:
                frames = 9 if model.family.name == "wan22" else 25
                job = replace(job, width=width // 16 // 32 * 32, height=height // 16 // 32 * 32 or 32, frames=frames)
            row = {
                "variant": options.variant,
                "weights": options.weights.value,
                "memory": "cpu" if options.tiny else options.memory.value,
                "machine": device.describe(),
                **{field: getattr(job, field) for field in ("width", "height", "frames", "stages", "steps")},
                **measure(model, job, options.repeats),
            }
            print(json.dumps(row), flush=True)
            keep(row, results)
    print((results / "gpu_stage.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    name_packages()
    sys.exit(main())
