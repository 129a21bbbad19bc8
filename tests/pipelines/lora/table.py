"""The table of LoRA formats in docs/lora-formats.md, measured: each is put on tiny models with and without this pack.

`python tests/run.py pipelines.lora.table` writes it anew, with the Python that ComfyUI runs on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.host.place import ROOT, Place
from tests.pipelines.lora.files import BLOCKS, Base, load_base, match_with, weights_of, write
from tests.pipelines.lora.formats import ALPHA, CHANGES, PAIRS, RANK, Change, Format, Keys

TABLE = ROOT / "docs" / "lora-formats.md"
MODELS = ("Wan", "LTX-2.3")
STRENGTH = 0.5
TOLERANCE = 2e-6  # of sums of products in fp32 that are added up in another order

HEAD = """# LoRA formats

Each row is a way to write a LoRA, put on a small Wan 2.2 and a small LTX-2.3 model once by ComfyUI {version} alone
(`load_lora_for_models`, what its LoRA nodes call) and once by Apply LoRA. **yes**: every weight has the value that the
file means. **no**: the weights stay as they were. **not as meant**: they have other values. The table is measured by
`tests/pipelines/lora/table.py`, and a test fails where it is out of date.

| | Wan, ComfyUI alone | Wan, Apply LoRA | LTX-2, ComfyUI alone | LTX-2, Apply LoRA |
|---|---|---|---|---|
"""
TAIL = """
A file of which no key fits, or whose shapes are another model's, is loaded by ComfyUI alone with a line in the log for
each key, and the film is rendered without it. Apply LoRA refuses it before anything is loaded.

LTX-2 files may change the projection of the text encoder (`text_embedding_projection.*`). Apply LoRA hands these keys
to the bundle's text encoder; ComfyUI's LoRA nodes do not know them.
"""


@dataclass(frozen=True)
class Case:
    """A file and the weights it is meant to make of a model's at `STRENGTH`."""

    keys: Keys
    expected: Mapping[str, torch.Tensor]
    metadata: dict[str, str] | None = None


@dataclass(frozen=True)
class Row:
    title: str
    case: Callable[[Base], Case]
    families: tuple[str, ...] = MODELS


def pair_row(kind: Format) -> Row:
    def case(base: Base) -> Case:
        pairs = base.pairs()
        return Case(kind.write(pairs, base.family.lora.diffusers_name), summed(base, pairs, kind.scale))

    return Row(kind.title, case)


def summed(base: Base, pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]], scale: float) -> dict[str, torch.Tensor]:
    weights = base.weights()
    for module, (down, up) in pairs.items():
        weights[f"{module}.weight"] += STRENGTH * scale * (up @ down)
    return weights


def metadata_case(base: Base) -> Case:
    kind = next(one for one in PAIRS if one.title == "diffusers `transformer.*`")
    pairs = base.pairs()
    facts = {"transformer.r": RANK, "transformer.lora_alpha": ALPHA}
    keys = kind.write(pairs, base.family.lora.diffusers_name)
    return Case(keys, summed(base, pairs, ALPHA / RANK), {"lora_adapter_metadata": json.dumps(facts)})


def change_row(kind: Change) -> Row:
    def case(base: Base) -> Case:
        module = {"Wan": "blocks.1.ffn.0"}.get(base.name, "transformer_blocks.1.audio_ff.net.0.proj")
        weights = base.weights()
        keys = kind.keys(module, weights[f"{module}.weight"])
        weights[f"{module}.weight"] = kind.result(keys, weights[f"{module}.weight"], STRENGTH)
        return Case(keys, weights)

    return Row(kind.title, case)


def diff_row(title: str, changes: Mapping[str, tuple[str, str]]) -> Row:
    """`changes`: first block module of each family -> key, weight."""

    def case(base: Base) -> Case:
        weights, generator = base.weights(), torch.Generator().manual_seed(1)
        key, weight = (f"{BLOCKS[base.name]}.1.{end}" for end in changes[base.name])
        change = torch.randn(weights[weight].shape, generator=generator)
        weights[weight] += STRENGTH * change
        return Case({f"diffusion_model.{key}": change}, weights)

    return Row(title, case, tuple(changes))


def peft_bias_case(base: Base) -> Case:
    module, pair = next(iter(base.pairs().items()))
    weights = summed(base, {module: pair}, ALPHA / RANK)
    bias = torch.ones(pair[1].shape[0])
    weights[f"{module}.bias"] += STRENGTH * ALPHA / RANK * bias
    name = f"diffusion_model.{module}"
    keys = {f"{name}.lora_A.weight": pair[0], f"{name}.lora_B.weight": pair[1], f"{name}.lora_B.bias": bias}
    return Case(keys | {f"{name}.alpha": torch.tensor(ALPHA)}, weights)


ROWS = (
    *map(pair_row, PAIRS),
    Row("diffusers `transformer.*`, alpha in the file's metadata", metadata_case),
    *map(change_row, CHANGES),
    diff_row(
        "`.diff` of a norm",
        {"Wan": ("norm3.diff", "norm3.weight"), "LTX-2.3": ("attn1.q_norm.diff", "attn1.q_norm.weight")},
    ),
    diff_row(
        "`.diff_b` of a bias", {"Wan": ("ffn.0.diff_b", "ffn.0.bias"), "LTX-2.3": ("ff.net.2.diff_b", "ff.net.2.bias")}
    ),
    diff_row(
        "`.diff` of a modulation table",
        {"Wan": ("modulation.diff", "modulation"), "LTX-2.3": ("scale_shift_table.diff", "scale_shift_table")},
    ),
    diff_row(
        "`.diff_m` of a modulation table, LightX2V (Wan only)",
        {"Wan": ("diff_m", "modulation")},
    ),
    Row("PEFT `lora_B.bias`", peft_bias_case),
)


def verdict(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], case: Case) -> str:
    if all((after[name] - weight).abs().max() <= TOLERANCE for name, weight in case.expected.items()):
        return "yes"
    return "no" if all(torch.equal(after[name], weight) for name, weight in before.items()) else "not as meant"


def alone(base: Base, case: Case) -> str:
    """What ComfyUI makes of a file by itself."""
    from comfy.sd import load_lora_for_models

    patched, _ = load_lora_for_models(base.patcher, None, dict(case.keys), STRENGTH, 0.0)
    return verdict(base.weights(), as_patched(patched), case)


def with_pack(base: Base, case: Case, folder: Path) -> str:
    from longtake.pipelines.lora.patch import patch

    file = write(folder / "lora.safetensors", case.keys, case.metadata)
    return verdict(base.weights(), as_patched(patch(base.patcher, file, match_with(base, file), STRENGTH)), case)


def as_patched(patcher: object) -> dict[str, torch.Tensor]:
    patcher.patch_model()  # type: ignore[attr-defined]
    weights = weights_of(patcher)
    patcher.unpatch_model()  # type: ignore[attr-defined]
    return weights


def table(models: Path) -> str:
    """The whole page, measured on the tiny models."""
    import comfyui_version

    bases = [load_base(models, name) for name in MODELS]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            cells = [row.title]
            for base in bases:
                if base.name not in row.families:
                    cells += ["", ""]
                    continue
                case = row.case(base)
                cells += [alone(base, case), with_pack(base, case, Path(folder))]
            lines.append("| " + " | ".join(cells) + " |")
    return HEAD.format(version=comfyui_version.__version__) + "\n".join(lines) + "\n" + TAIL


def main() -> None:
    from tests.host.inprocess import enter_comfyui, use_models
    from tests.tiny.models import tiny_models

    place = Place.here()
    models = tiny_models(place)
    enter_comfyui(place.comfyui)
    use_models(models)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(models), encoding="utf-8")
    print(TABLE)


if __name__ == "__main__":
    main()
