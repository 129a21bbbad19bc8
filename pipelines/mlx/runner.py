"""Denoises a stage by MLX. Run by a Python that has MLX-Gen, as a program of its own: it imports nothing of this pack.

    PYTHON runner.py --versions    what is installed there, as a line of JSON
    PYTHON runner.py               one job

The job is the first line of standard input, as JSON; `process.py` says what is in it. Tensors come and go in files of
safetensors. What it tells of itself are lines of JSON on standard output:

    {"step": NUMBER, "seen": PATH}
                       steps that are done, and what the last of them took the picture for, of one slot of the clip
    {"refused": TEXT}  it cannot do this job, in words for the person who asked
    {"finished": PATH} the latent is written there

It ends when standard input ends, which it does with the program that started it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from typing import Any

BLOCKS = "blocks."  # modules that are quantised; embeddings and the output stay as they are
GROUP = 64  # weights that share a scale


class Refused(Exception):
    """A job that cannot be done; the message is for the person who asked."""


def versions() -> dict[str, str | None]:
    """What is installed of what a job needs, without importing it."""
    return {name: _version(name) for name in ("mlx", "mlx-gen")}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def tell(**entry: Any) -> None:
    """A line for the program that started this one."""
    os.write(_said_to, (json.dumps(entry) + "\n").encode())


def denoise(job: dict[str, Any]) -> Any:
    """The denoised latent `[1, C, T, h, w]`, normalised as the model sees it."""
    import mlx.core as mx

    tensors = mx.load(job["tensors"])
    x, kept, mask = tensors["latent"], tensors.get("kept"), tensors.get("mask")
    dtype = getattr(mx, job["dtype"])
    texts = [tensors[name].astype(dtype) for name in ("positive", "negative") if name in tensors]
    concat = [tensors["concat"]] if "concat" in tensors else []
    step_of = _solver(job["solver"], job["sigmas"], job["timesteps"])
    done = 0
    for expert in job["experts"]:
        model = load(expert, job["bits"], dtype)
        for _ in range(expert["steps"]):
            sigma, timestep = job["sigmas"][done], job["timesteps"][done]
            noisy = x if mask is None else x * mask + kept * (1 - mask)
            model_input = mx.concatenate([noisy, *concat], axis=1).astype(dtype)
            velocity = _guided(model, model_input, _per_token(timestep, mask, model), texts, expert["guidance"])
            if mask is not None:
                velocity = velocity * mask + (x - kept) / sigma * (1 - mask)
            picture = (x - sigma * velocity)[:, :, job["shown"] : job["shown"] + 1]
            x = step_of(velocity, done, x)
            mx.eval(x)
            done += 1
            seen_at = f"{job['seen']}-{done}.safetensors"
            mx.save_safetensors(seen_at, {"seen": picture})
            tell(step=done, seen=seen_at)
        del model
        gc.collect()
        mx.clear_cache()
    return x


def _guided(model: Any, model_input: Any, timestep: Any, texts: list[Any], guidance: float) -> Any:
    import mlx.core as mx

    def predicted(text: Any) -> Any:
        velocity = model(hidden_states=model_input, timestep=timestep, encoder_hidden_states=text).astype(mx.float32)
        mx.eval(velocity)  # one after the other, so that both need not be held half done
        return velocity

    if guidance == 1:
        return predicted(texts[0])
    positive, negative = map(predicted, texts)
    return negative + guidance * (positive - negative)


def _per_token(timestep: float, mask: Any | None, model: Any) -> Any:
    """The timestep of the clip, or where a mask keeps some of its slots, that of each token."""
    import mlx.core as mx

    if mask is None:
        return mx.array([timestep])
    _, height, width = model.patch_size
    return (mask[:, 0, :, ::height, ::width] * timestep).reshape(1, -1)


def _solver(name: str, sigmas: list[float], timesteps: list[float]) -> Any:
    """What takes a step: velocity, number of the step and latent -> latent."""
    import mlx.core as mx

    if name == "euler":
        return lambda velocity, step, x: x + (sigmas[step + 1] - sigmas[step]) * velocity
    from mflux.models.wan.scheduler import WanUniPCMultistepScheduler

    scheduler = WanUniPCMultistepScheduler()
    scheduler.set_timesteps(len(sigmas) - 1)
    # Its steps are taken at the sigmas of the job. The logarithm of 1 - sigma must be finite.
    scheduler.sigmas = mx.array([min(sigma, 1 - 1e-6) for sigma in sigmas])
    scheduler.set_begin_index(0)
    return lambda velocity, step, x: scheduler.step(velocity, int(timesteps[step]), x, return_dict=False)[0]


def load(expert: dict[str, Any], bits: int | None, dtype: Any) -> Any:
    """A transformer with its weights, changed by LoRAs and quantised as the job says.

    Raises:
        Refused: MLX-Gen's class has weights that the files lack.
    """
    import mlx.core as mx
    import mlx.nn as nn
    from mflux.models.common.weights.mapping.weight_mapper import WeightMapper
    from mflux.models.wan.model.wan_transformer import WanTransformer
    from mflux.models.wan.weights.wan_weight_mapping import WanWeightMapping
    from mlx.utils import tree_flatten

    config = {**expert["config"], "patch_size": tuple(expert["config"]["patch_size"])}
    model = WanTransformer(**config)
    weights = _changed(_read(expert["files"]), expert["changes"])
    weights = {name: weight.astype(dtype) for name, weight in weights.items()}
    layers = config["num_layers"]
    mapped = WeightMapper.apply_mapping(weights, WanWeightMapping.get_transformer_mapping(layers), num_layers=layers)
    del weights
    there = {name for name, _ in tree_flatten(mapped)}
    lacking = sorted(n for n, _ in tree_flatten(model.parameters()) if n not in there and not n.startswith("rope."))
    if lacking:
        raise Refused(
            f"{expert['name']}: MLX-Gen's transformer has {lacking[0]}, which is not in the folder's weights."
        )
    model.update(mapped)
    del mapped
    if bits is not None:
        nn.quantize(model, GROUP, bits, class_predicate=_is_quantised)
    for _, parameter in tree_flatten(model.parameters()):
        mx.eval(parameter)  # one after the other: together, all would be held as they are read
    mx.clear_cache()
    return model


def _is_quantised(path: str, module: Any) -> bool:
    import mlx.nn as nn

    return path.startswith(BLOCKS) and isinstance(module, nn.Linear) and module.weight.shape[-1] % GROUP == 0


def _read(files: list[str]) -> dict[str, Any]:
    import mlx.core as mx

    return {name: weight for file in files for name, weight in mx.load(file).items()}


def _changed(weights: dict[str, Any], changes: str | None) -> dict[str, Any]:
    """Weights with what LoRAs add to them, added in fp32.

    Args:
        changes: a file of `up/NAME` `[out, rank]` and `down/NAME` `[rank, in]`, or `added/NAME`, for a weight NAME.
    """
    import mlx.core as mx

    if changes is None:
        return weights
    additions = mx.load(changes)
    changed = dict(weights)
    for key, value in additions.items():
        kind, name = key.split("/", 1)
        if kind == "down":
            continue
        added = value @ additions[f"down/{name}"] if kind == "up" else value
        weight = changed[name]
        changed[name] = weight.astype(mx.float32) + added.reshape(weight.shape)
    return changed


def do(job: dict[str, Any]) -> None:
    """Do a job and tell how it went.

    Raises:
        Refused: another MLX-Gen is installed than the job asks for.
    """
    installed = versions()["mlx-gen"]
    if installed != job["mlx_gen"]:
        raise Refused(f"MLX-Gen {installed} is installed there now, and {job['mlx_gen']} is what this pack works with.")
    import mlx.core as mx
    from mflux.utils.runtime_memory import RuntimeMemory

    # What MLX keeps of freed memory is limited by MLX-Gen to a share of the machine's, as in its own runs.
    RuntimeMemory.apply_default_cache_limit_once()
    mx.save_safetensors(job["latent"], {"latent": denoise(job)})
    tell(finished=job["latent"])


def _lines(source: int) -> Iterator[bytes]:
    """Lines of a file descriptor, and nothing more once it ends."""
    rest = b""
    while block := os.read(source, 1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


def _end_with(lines: Iterator[bytes]) -> None:
    for _ in lines:
        pass
    os._exit(1)


def main() -> None:
    if "--versions" in sys.argv[1:]:
        tell(**versions())
        return
    lines = _lines(0)
    job = json.loads(next(lines))
    threading.Thread(target=_end_with, args=(lines,), daemon=True).start()
    try:
        do(job)
    except Refused as refused:
        tell(refused=str(refused))
    sys.stderr.flush()
    os._exit(0)  # the thread waits for a line; nothing is left to be put in order


# Packages write to standard output too; theirs goes to standard error.
_said_to = os.dup(1)

if __name__ == "__main__":
    os.dup2(2, 1)
    # This folder is no place to import from.
    sys.path.pop(0)
    main()
