"""LoRAs: what diffusers fuses into its weights and what Apply LoRA patches into a folder's bundle, weight by weight."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from longtake.pipelines.weights.pairs import Noise

from tests.pipelines.lora.files import weights_of, write

from .bench import Bench, difference
from .ltx2_components import LTX_2_0, LTX_2_3
from .table import row
from .wan_components import T2V

GROUP = "Weights under LoRAs on every linear layer, at strengths 0.5, 1 and 3"
STRENGTHS = (0.5, 1.0, 3.0)
RANK, ALPHA = 4, 2.0
PROJECTION = "text_embedding_projection."

Weights = dict[str, torch.Tensor]
Layers = Mapping[tuple[str, str], torch.Size]  # component and layer, as diffusers calls them -> shape
Names = Callable[[str, str], str]  # those two to the layer as a file calls it

# diffusers passes over blocks of connectors in Lightricks' names, and refuses alphas among the keys.
RESPELLED = "fuse_lora of LTX2Pipeline, in its own names, alpha in the metadata"


def diffusers_names(part: str, layer: str) -> str:
    return f"{part}.{layer}"


def wan_names(part: str, layer: str) -> str:
    """As Wan's own code calls them; each expert has a file of its own."""
    from longtake.pipelines.load.diffusers.keys import WAN_TRANSFORMER, rename

    return "diffusion_model." + rename(f"{layer}.", WAN_TRANSFORMER)[:-1]


def ltx2_names(part: str, layer: str) -> str:
    """As Lightricks' trainer and LoRAs call them."""
    from longtake.pipelines.load.diffusers.keys import LTX2_CONNECTORS, LTX2_PROJECTION, LTX2_TRANSFORMER, rename

    native = rename(f"{layer}.", *(LTX2_TRANSFORMER if part == "transformer" else LTX2_CONNECTORS))[:-1]
    return native if native.startswith(LTX2_PROJECTION) else f"diffusion_model.{native}"


def layers_of(pipeline: Any, *parts: str) -> Layers:
    return {
        (part, name): module.weight.shape
        for part in parts
        for name, module in getattr(pipeline, part).named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def lora(layers: Layers, names: Names, alpha: bool) -> Weights:
    """A file's tensors: for every layer a pair that depends on its place only, and an alpha."""
    keys = {}
    for seed, ((part, layer), (out, into)) in enumerate(layers.items()):
        generator, name = torch.Generator().manual_seed(seed), names(part, layer)
        keys[f"{name}.lora_A.weight"] = 0.1 * torch.randn(RANK, into, generator=generator)
        keys[f"{name}.lora_B.weight"] = 0.1 * torch.randn(out, RANK, generator=generator)
        if alpha:
            keys[f"{name}.alpha"] = torch.tensor(ALPHA)
    return keys


def alphas(layers: Layers) -> dict[str, str]:
    """The same alpha as metadata, the only place where diffusers takes one beside these names."""
    facts: dict[str, Any] = {}
    for part in {part for part, _ in layers}:
        facts |= {f"{part}.r": RANK, f"{part}.lora_alpha": ALPHA}
        facts[f"{part}.target_modules"] = sorted(layer for other, layer in layers if other == part)
    return {"lora_adapter_metadata": json.dumps(facts)}


@contextmanager
def fused(pipeline: Any, parts: tuple[str, ...], keys: Weights, metadata: dict[str, str], strength: float,
          **options: Any) -> Iterator[None]:  # fmt: skip
    """A file fused into components of a pipeline, which are left as they were."""
    before = {part: {k: v.clone() for k, v in getattr(pipeline, part).state_dict().items()} for part in parts}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "theirs.safetensors", keys, metadata)
        pipeline.load_lora_weights(folder, weight_name="theirs.safetensors", **options)
    pipeline.fuse_lora(components=list(parts), lora_scale=strength)
    pipeline.unload_lora_weights()
    try:
        yield
    finally:
        for part, weights in before.items():
            getattr(pipeline, part).load_state_dict(weights)


def patched(model: Any, expert: Noise, keys: Weights, strength: float) -> Weights:
    """Weights of an expert, and of the projection in the text encoder, with a file on the bundle."""
    from longtake.pipelines.model import lora

    with tempfile.TemporaryDirectory() as folder:
        model, report = lora.patched(model, write(Path(folder) / "ours.safetensors", keys), expert, strength)
        assert report.used == len(keys)
        part, clip = model.expert(expert).get(), model.text_encoder.get()
    for patcher in (part, clip.patcher):
        patcher.unpatch_model()  # other rows may have used it without
        patcher.patch_model()
    text = clip.cond_stage_model.state_dict()
    projection = {key: one.clone() for key, one in text.items() if key.startswith(PROJECTION)}
    if f"{PROJECTION}weight" in projection:  # of 2.0, which files call by one name more
        projection[f"{PROJECTION}aggregate_embed.weight"] = projection.pop(f"{PROJECTION}weight")
    changed = weights_of(part) | projection
    for patcher in (part, clip.patcher):
        patcher.unpatch_model()
    return changed


def _apart(theirs: Weights, ours: Weights, layers: Layers, plain: Weights) -> float:
    """Largest difference of a weight, once it is seen that every layer was changed."""
    changed = [key for key in plain if not torch.equal(plain[key], theirs[key])]
    assert theirs.keys() == ours.keys() and len(changed) == len(layers)
    return max(difference(theirs[key], ours[key]) for key in theirs)


def _wan(bench: Bench, names: Names) -> float:
    from longtake.pipelines.load.diffusers.wan import transformer_weights

    pipeline, model = bench.pipeline(T2V), bench.bundle(T2V)
    worst = 0.0
    for part, expert in (("transformer", Noise.HIGH), ("transformer_2", Noise.LOW)):
        layers = layers_of(pipeline, part)
        own = lora({("transformer", layer): shape for (_, layer), shape in layers.items()}, names, alpha=False)
        plain = transformer_weights(getattr(pipeline, part).state_dict())
        plain = {key: weight.clone() for key, weight in plain.items()}
        for strength in STRENGTHS:
            with fused(pipeline, (part,), own, {}, strength, load_into_transformer_2=expert is Noise.LOW):
                theirs = transformer_weights(getattr(pipeline, part).state_dict())
                worst = max(worst, _apart(theirs, patched(model, expert, own, strength), layers, plain))
    return worst


def _ltx2(bench: Bench, name: str, ours: Names, theirs: Names, blocks: bool = True, alpha: bool = False) -> float:
    """Largest difference in transformer, connectors and projection.

    Args:
        ours, theirs: the names that each side reads.
        blocks: whether blocks of the connectors are among the layers, or their projection alone.
    """
    from longtake.pipelines.load.diffusers.ltx2 import projection_weights, transformer_weights

    pipeline, model, parts = bench.pipeline(name, "LTX2Pipeline"), bench.bundle(name), ("transformer", "connectors")

    def weights() -> Weights:
        connectors = pipeline.connectors.state_dict()
        made = transformer_weights(pipeline.transformer.state_dict(), connectors) | projection_weights(connectors)
        return {key: weight.clone() for key, weight in made.items()}

    layers, plain = layers_of(pipeline, *parts), weights()
    if not blocks:
        layers = {key: shape for key, shape in layers.items() if "connector.transformer_blocks" not in key[1]}
    own, given = lora(layers, ours, alpha), lora(layers, theirs, alpha=False)
    worst = 0.0
    for strength in STRENGTHS:
        with fused(pipeline, parts, given, alphas(layers) if alpha else {}, strength):
            worst = max(worst, _apart(weights(), patched(model, Noise.HIGH, own, strength), layers, plain))
    return worst


@row(GROUP, "both experts of T2V-A14B, Wan's names", "fuse_lora of WanPipeline, the same files", bound=0.0)
def wan(bench: Bench) -> float:
    return _wan(bench, wan_names)


@row(GROUP, "both experts of T2V-A14B, diffusers' names", "fuse_lora of WanPipeline, the same files", bound=0.0)
def wan_diffusers(bench: Bench) -> float:
    return _wan(bench, diffusers_names)


def _ltx2_rows(name: str, release: str) -> None:
    read = "fuse_lora of LTX2Pipeline, the same file"

    @row(GROUP, f"{release} and its projection, Lightricks' names", read, bound=0.0)
    def published(bench: Bench) -> float:
        return _ltx2(bench, name, ltx2_names, ltx2_names, blocks=False)

    @row(GROUP, f"{release} with its connectors, diffusers' names", read, bound=0.0)
    def diffusers(bench: Bench) -> float:
        return _ltx2(bench, name, diffusers_names, diffusers_names)

    @row(GROUP, f"{release} with its connectors, Lightricks' names and alphas", RESPELLED, bound=0.0)
    def with_alphas(bench: Bench) -> float:
        return _ltx2(bench, name, ltx2_names, diffusers_names, alpha=True)


_ltx2_rows(LTX_2_0, "LTX-2.0")
_ltx2_rows(LTX_2_3, "LTX-2.3")
