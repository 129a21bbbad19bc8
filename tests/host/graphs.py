"""API prompts of the pack's own nodes, on the tiny models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import stock, stock_ltx2
from .stock import Graph, node

VAES = {"t2v": "wan_2.1_vae.safetensors", "i2v": "wan_2.1_vae.safetensors", "ti2v": "wan2.2_vae.safetensors"}
WIDTH, HEIGHT = stock.SIZE["width"], stock.SIZE["height"]
PROMPT, NEGATIVE = "a red fox runs over the snow", "blurry"


def load(kind: str, **changes: Any) -> dict[str, Any]:
    files = stock.MODELS[kind]
    inputs = {
        "high_noise_model": files[0],
        "low_noise_model": files[1] if len(files) == 2 else "none",
        "text_encoder": stock.TEXT_ENCODER,
        "vae": VAES[kind],
        "weight_dtype": "default",
    }
    return node("LongtakeLoadWan22", **(inputs | changes))


def load_ltx2(checkpoint: str = stock_ltx2.DISTILLED, **changes: Any) -> dict[str, Any]:
    inputs = {
        "files": "checkpoint",
        "files.checkpoint": checkpoint,
        "text_encoder": stock_ltx2.TEXT_ENCODER,
        "sampled_as": "distilled",
        "latent_upscaler": "none",
        "frame_rate": "24",
    }
    return node("LongtakeLoadLtx2", **(inputs | changes))


def ltx2_stage(chain: str | None = None, frames: int = 25, **changes: Any) -> dict[str, Any]:
    """A stage of an LTX-2 film on the published settings; a later one is smooth over 9 frames unless told otherwise."""
    usual = {
        "prompt": stock_ltx2.PROMPT,
        "negative_prompt": stock_ltx2.NEGATIVE,
        "width": stock_ltx2.WIDTH,
        "height": stock_ltx2.HEIGHT,
        "seed": stock_ltx2.SEED,
    }
    if changes.get("transition", "smooth") == "smooth":
        usual["transition.overlap"] = 9
    made = stage(chain=chain, frames=frames, **(usual | changes))
    if "sampling" not in changes:
        del made["inputs"]["sampling"]
    return made


def sampling(**changes: Any) -> dict[str, Any]:
    """The settings of the stock graphs: both experts, changing over after two of four steps."""
    inputs = {
        "steps": stock.STEPS,
        "cfg_high": stock.CFG,
        "cfg_low": stock.CFG,
        "shift": stock.SHIFT,
        "sampler": "euler",
        "scheduler": "simple",
        "expert_split": "step",
        "expert_split.split_step": stock.SPLIT,
    }
    inputs |= changes
    if isinstance(shift := inputs["shift"], float):
        inputs |= {"shift": "own", "shift.value": shift} if shift else {"shift": "automatic"}
    return node("LongtakeWanSampling", **inputs)


def stage(model: str = "model", chain: str | None = None, frames: int = 17, **changes: Any) -> dict[str, Any]:
    """A stage named by its node; a later one is smooth unless `transition` says otherwise."""
    inputs: dict[str, Any] = {
        "model": [model, 0],
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "length": "frames",
        "length.frames": frames,
        "seed": stock.SEED,
        "transition": "smooth",
        "sampling": ["sampling", 0],
    }
    smooth = changes.get("transition", "smooth") == "smooth"
    joined = {"transition.overlap": 5, "transition.carry_over": "pixels"} if smooth else {}
    if "seconds" in changes:
        del inputs["length.frames"]
        inputs |= {"length": "seconds", "length.seconds": changes.pop("seconds")}
    if chain is not None:
        inputs["chain"] = [chain, 0]
    return node("LongtakeChainStage", **written({**inputs, "width": WIDTH, "height": HEIGHT, **joined, **changes}))


def written(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of a stage as the API has them: size, overlap and take by their numbers, guides by their nodes."""
    inputs = dict(changes)
    width, height = inputs.pop("width", 0), inputs.pop("height", 0)
    if "size" not in inputs:
        inputs |= {"size": "own", "size.width": width, "size.height": height} if width else {"size": "automatic"}
    if isinstance(overlap := inputs.pop("transition.overlap", None), int):
        inputs |= {"transition.overlap": "frames", "transition.overlap.overlap_frames": overlap}
    if "anchor_image" in inputs:
        inputs["transition.carry_over.anchor_image"] = inputs.pop("anchor_image")
    if "take" in inputs:
        inputs |= {"take": "stored", "take.number": inputs.pop("take")}
    for number, guide in enumerate(inputs.pop("guides", ())):
        inputs[f"guides.guide{number}"] = [guide, 0]
    return inputs


def without(made: dict[str, Any], group: str) -> dict[str, Any]:
    """A node without an input and those that belong to it, "length.frames" to "length"."""
    inputs = {name: value for name, value in made["inputs"].items() if name.partition(".")[0] != group}
    return {**made, "inputs": inputs}


def photo(name: str) -> Graph:
    """Node `photo`: a photograph brought to the stage's size beforehand, so that nobody scales it."""
    return {
        "file": node("LoadImage", image=name),
        "photo": node(
            "ImageScale", image=["file", 0], upscale_method="lanczos", width=WIDTH, height=HEIGHT, crop="center"
        ),
    }


def delivered(chain: str, prefix: str = "test/film") -> Graph:
    return {
        "stitch": node("LongtakeStitchChain", chain=[chain, 0]),
        "encode": node(
            "LongtakeEncodeVideo",
            **{"video": ["stitch", 0], "filename_prefix": prefix, "crf": 18, "preset": "ultrafast", "fps": 16.0},
            format="mp4",
        ),
    }


def storyboard(document: dict[str, Any] | str, **changes: Any) -> dict[str, Any]:
    text = document if isinstance(document, str) else json.dumps(document)
    return node(
        "LongtakeRenderStoryboard",
        **({"model": ["model", 0], "storyboard": text, "validate_only": False, "sampling": ["sampling", 0]} | changes),
    )
