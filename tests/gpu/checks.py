"""What is found out on a GPU, in a process of its own: an empty card, and ComfyUI started with options of its own.

    python tests/run.py gpu.checks stock chain --variant i2v-14b --weights fp8 --memory plain
    python tests/run.py gpu.checks stock chain --tiny          the same on the CPU, with tiny models

Prints a line of JSON for each check once it is done. Bytes are of the GPU; seconds include waiting for it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from . import device, models, rendering
from .device import Memory
from .rendering import Job, Watch

Facts = dict[str, Any]


def job_of(model: Any, tiny: bool) -> Job:
    """Few frames and steps: what is checked does not depend on how many there are. LTX-2 does its published steps."""
    frames = (9, 17) if model.family.name == "wan22" else (25, 49)
    if tiny:
        return Job(64, 64, frames[0], steps=2, split=1, cfg=3.5)
    return Job(832, 480, frames[1], steps=2, split=1, cfg=3.5)


def same_as_stock(model: Any, job: Job) -> Facts:
    """One stage beside two KSamplerAdvanced nodes, and those once more: a GPU need not repeat itself."""
    peaks = device.Peaks()
    with peaks:
        ours = rendering.our_chain(model, job).links[0].rendered.latent()
        peak = peaks.read()
    known = job.image() if rendering.with_image(model) else None
    stock, again = (rendering.stock_latent(model, job, known, job.seed)["samples"].cpu() for _ in range(2))
    return {
        "difference": difference(ours, stock),
        "differs_from_itself": difference(stock, again),
        "spread": ours.float().std().item(),
        "finite": bool(torch.isfinite(ours).all()),
        "peak": peak,
        **placed(model),
    }


def chain_of_three(model: Any, job: Job) -> Facts:
    """The peak of each stage and which weights were moved between the stages."""
    found: list[dict[str, int]] = []
    places: list[dict[str, int]] = []
    peaks = device.Peaks()

    def on_stage(number: int) -> None:
        device.finish_gpu_work()
        found.append(peaks.read())
        places.append(weight_places(model))
        peaks.restart()

    with peaks:
        chain = rendering.our_chain(model, replace(job, stages=3), Watch(on_stage=on_stage))
    return {
        "frames": chain.frames,
        "stage_peaks": found,
        "weights": len(places[0]),
        "moved": [sum(a[name] != b[name] for name in a) for a, b in pairwise(places)],
        **placed(model),
    }


def switch_loras(model: Any, job: Job) -> Facts:
    """A stage with no LoRA, with LoRA a, with a again, with b, and with none: seconds, and whose weights they use."""
    import psutil
    from longtake.pipelines.lora.file import open_lora
    from longtake.pipelines.model.lora import patched
    from longtake.pipelines.weights.pairs import Noise

    bundles = {"none": model}
    with tempfile.TemporaryDirectory() as folder:
        for index, name in enumerate("ab"):
            path = Path(folder) / f"{name}.safetensors"
            models.write_lora(path, model, seed=40 + index, rank=16)
            bundles[name], _ = patched(model, open_lora(path.name, path), Noise.HIGH, 1.0)
        resident, seconds, latents = [], [], []
        for name in ("none", "a", "a", "b", "none"):
            started = time.monotonic()
            latents.append(rendering.our_chain(bundles[name], job).links[0].rendered.latent())
            device.finish_gpu_work()
            seconds.append(round(time.monotonic() - started, 3))
            resident.append(psutil.Process().memory_info().rss)
    return {
        "seconds": seconds,
        "one_model": all(bundle.high.get().model is model.high.get().model for bundle in bundles.values()),
        "ram_growth": resident[-1] - resident[1],
        "model_bytes": model.high.get().model_size(),
        "repeats": difference(latents[1], latents[2]),
        "restored": difference(latents[0], latents[4]),
        "a_changes": difference(latents[0], latents[1]),
        "b_differs_from_a": difference(latents[2], latents[3]),
    }


def cancel(model: Any, job: Job) -> Facts:
    """A stage, then one that is cancelled after its first step, then a whole one again."""
    from comfy.model_management import InterruptProcessingException

    def stop(done: int) -> None:
        raise InterruptProcessingException

    before = rendering.our_chain(model, job).links[0].rendered.latent()
    device.finish_gpu_work()
    held = device.allocated()
    try:
        rendering.our_chain(model, job, Watch(on_step=stop))
        cancelled = False
    except InterruptProcessingException:
        cancelled = True
    device.finish_gpu_work()
    after = device.allocated()
    again = rendering.our_chain(model, job).links[0].rendered.latent()
    device.free_everything()
    return {
        "cancelled": cancelled,
        "held_before": held,
        "held_after": after,
        "held_when_freed": device.allocated(),
        "same_afterwards": difference(before, again),
    }


CHECKS: dict[str, Callable[[Any, Job], Facts]] = {
    "stock": same_as_stock,
    "chain": chain_of_three,
    "loras": switch_loras,
    "cancel": cancel,
}


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    return (first.float() - second.float()).abs().max().item()


def experts(model: Any) -> list[Any]:
    return [part.get() for part in (model.high, model.low) if part is not None]


def placed(model: Any) -> Facts:
    """Bytes of the experts' weights, and how many of them are on the GPU."""
    patchers = experts(model)
    return {
        "weight_bytes": sum(patcher.model_size() for patcher in patchers),
        "loaded_bytes": sum(patcher.loaded_size() for patcher in patchers) if device.on_gpu() else 0,
    }


def weight_places(model: Any) -> dict[str, int]:
    """Where each weight of the experts lies; what is placed by page has no address of its own and is left out."""
    if any(patcher.is_dynamic() for patcher in experts(model)):
        return {}
    return {
        f"{index} {name}": weight.data_ptr()
        for index, patcher in enumerate(experts(model))
        for name, weight in patcher.model.named_parameters()
    }


def run(names: Iterable[str], model: Any, job: Job) -> Iterator[tuple[str, Facts]]:
    """What each check found; one that breaks is told as its `error`, and the next one still runs."""
    for name in names:
        try:
            yield name, CHECKS[name](model, job)
        except Exception:
            yield name, {"error": traceback.format_exc()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checks", nargs="+", choices=CHECKS)
    parser.add_argument("--variant", choices=models.VARIANTS, default="i2v-14b")
    parser.add_argument("--weights", type=models.Weights, default=models.Weights.FP8)
    parser.add_argument("--memory", type=Memory, default=Memory.PLAIN)
    parser.add_argument("--tiny", action="store_true", help="tiny models on the CPU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        device.enter(Memory.CPU if options.tiny else options.memory, Path(folder))
        started = time.monotonic()
        model = models.bundle(models.TINY if options.tiny else models.PUBLISHED, options.variant, options.weights)
        made = {"device": device.describe(), "seconds": round(time.monotonic() - started, 1)}
        print(json.dumps({"models": made}), flush=True)
        for name, facts in run(options.checks, model, job_of(model, options.tiny)):
            print(json.dumps({name: facts}), flush=True)


if __name__ == "__main__":
    main()
