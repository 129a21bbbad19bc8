"""Where the model files of the workflows are downloaded from: what ComfyUI's official templates say."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

# Input of a node -> the folder of `models` that its combo lists.
FOLDERS = {
    "files.checkpoint": "checkpoints",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "vae_name": "vae",
    "lora_name": "loras",
    "high_noise_model": "diffusion_models",
    "low_noise_model": "diffusion_models",
    "high_noise_lora": "loras",
    "low_noise_lora": "loras",
    "text_encoder": "text_encoders",
    "vae": "vae",
    "latent_upscaler": "latent_upscale_models",
}
ENDING = ".safetensors"
KINDS = re.compile(r"wan2_2|ltx2")


def templates() -> list[Path]:
    """The Wan 2.2 and LTX-2 templates that come with this host, from the package that its Python has installed."""
    package = distribution("comfyui-workflow-templates-json")
    return [Path(str(package.locate_file(file))) for file in package.files or () if KINDS.search(file.name)]


def offered(part: Any) -> Iterator[dict[str, str]]:
    """Every {name, url, directory} inside a template, subgraphs included."""
    if isinstance(part, dict):
        if part.keys() >= {"name", "url", "directory"}:
            yield part
        part = list(part.values())
    for inner in part if isinstance(part, list) else ():
        yield from offered(inner)


@cache
def addresses() -> dict[tuple[str, str], str]:
    """(folder, file name) -> the address that most templates give it."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for template in templates():
        if template.suffix == ".json":
            for one in offered(json.loads(template.read_text(encoding="utf-8"))):
                counts[one["directory"], one["name"]][one["url"].removesuffix("?download=true")] += 1
    return {key: sorted(count, key=lambda url: (-count[url], url))[0] for key, count in counts.items()}


def models_of(inputs: dict[str, Any]) -> list[dict[str, str]]:
    """The `properties.models` entry of a node, by its inputs in the API prompt; empty where it names no file.

    Raises:
        LookupError: no official template offers the file.
    """
    named = []
    for entry, folder in FOLDERS.items():
        name = inputs.get(entry)
        if not (isinstance(name, str) and name.endswith(ENDING)):
            continue
        if (folder, name) not in addresses():
            raise LookupError(f"no official template offers {folder}/{name}")
        named.append({"name": name, "url": addresses()[folder, name], "directory": folder})
    return named
