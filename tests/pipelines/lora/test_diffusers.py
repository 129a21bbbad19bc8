"""Numbers: what diffusers fuses into a model is, to the last bit, what is patched into it here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import save_file  # noqa: E402

from tests.pipelines.lora.files import Base, patched_weights  # noqa: E402
from tests.pipelines.lora.formats import ALPHA, PAIRS, RANK  # noqa: E402

STRENGTHS = [0.5, 1.0, 3.0]
# diffusers refuses its own names with an alpha among the keys, and those of trainers it does not know.
BOTH_KNOW = [
    kind
    for kind in PAIRS
    if kind.title.startswith(("`diffusion_model.*`", "`lora_unet_*`", "diffusers `transformer.*`"))
    and not kind.title.endswith("with alpha")
]


@pytest.fixture(scope="module")
def theirs(comfyui: Path) -> Any:
    """A tiny Wan transformer of diffusers."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=32,
        ffn_dim=48,
        num_layers=2,
    ).eval()


@pytest.fixture(scope="module")
def ours(theirs: Any) -> Base:
    """The same weights in ComfyUI's model."""
    from comfy.sd import load_diffusion_model_state_dict
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.load.diffusers.wan import transformer_weights

    shape = {"num_heads": 2, "text_dim": 32, "freq_dim": 32}
    weights = {key: tensor.clone() for key, tensor in transformer_weights(theirs.state_dict()).items()}
    metadata = {"config": json.dumps({"transformer": shape})}
    model = load_diffusion_model_state_dict(weights, model_options={"dtype": torch.float32}, metadata=metadata)
    return Base("Wan", model, WAN22)


def fused(theirs: Any, folder: Path, loras: list[tuple[dict[str, Any], float]], metadata: dict | None = None) -> Any:
    """diffusers' weights by ComfyUI's names after `fuse_lora`, file after file; the model is left as it was."""
    from diffusers import WanPipeline
    from longtake.pipelines.load.diffusers.wan import transformer_weights

    before = {key: tensor.clone() for key, tensor in theirs.state_dict().items()}
    pipe = WanPipeline(tokenizer=None, text_encoder=None, vae=None, scheduler=None, transformer=theirs)
    try:
        for number, (keys, strength) in enumerate(loras):
            save_file(
                {key: tensor.contiguous() for key, tensor in keys.items()}, folder / "theirs.safetensors", metadata
            )
            pipe.load_lora_weights(str(folder), weight_name="theirs.safetensors", adapter_name=f"lora{number}")
            pipe.fuse_lora(components=["transformer"], lora_scale=strength, adapter_names=[f"lora{number}"])
            pipe.unload_lora_weights()
        return transformer_weights({key: tensor.clone() for key, tensor in theirs.state_dict().items()})
    finally:
        theirs.load_state_dict(before)


def largest_difference(first: dict[str, Any], second: dict[str, Any]) -> float:
    assert first.keys() == second.keys()
    return max((first[key] - second[key]).abs().max().item() for key in first)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", BOTH_KNOW, ids=lambda kind: kind.title)
def test_fused_weights_are_equal(theirs: Any, ours: Base, tmp_path: Path, kind: Any, strength: float) -> None:
    keys = kind.write(ours.pairs(), ours.family.lora.diffusers_name)
    expected = fused(theirs, tmp_path, [(keys, strength)])
    changed, _ = patched_weights(ours, keys, tmp_path, strength)
    assert largest_difference(changed, ours.weights()) > 0.01
    assert largest_difference(changed, expected) == 0.0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_fused_after_one_another_are_equal(theirs: Any, ours: Base, tmp_path: Path, order: tuple[int, int]) -> None:
    from longtake.pipelines.lora.patch import patch

    from tests.pipelines.lora.files import match_with, weights_of, write

    pairs = ours.pairs()
    turned = {module: (down.flip(0) * 0.7, up.flip(0)) for module, (down, up) in pairs.items()}
    files = [BOTH_KNOW[0].write(pairs, str), BOTH_KNOW[1].write(turned, str)]
    stacked = [(files[index], (3.0, 0.5)[index]) for index in order]
    model = ours.patcher
    for number, (keys, strength) in enumerate(stacked):
        file = write(tmp_path / f"ours{number}.safetensors", keys)
        model = patch(model, file, match_with(ours, file), strength)
    model.patch_model()
    changed = weights_of(model)
    model.unpatch_model()
    assert largest_difference(changed, fused(theirs, tmp_path, stacked)) == 0.0


@pytest.mark.parametrize("strength", STRENGTHS)
def test_alphas_in_metadata_count_as_they_do_for_diffusers(
    theirs: Any, ours: Base, tmp_path: Path, strength: float
) -> None:
    from longtake.pipelines.lora.file import open_lora
    from longtake.pipelines.lora.patch import patch

    from tests.pipelines.lora.files import match_with, weights_of

    kind = next(one for one in BOTH_KNOW if one.title == "diffusers `transformer.*`")
    keys = kind.write(ours.pairs(), ours.family.lora.diffusers_name)
    modules = sorted({key.removeprefix("transformer.").rpartition(".lora_")[0] for key in keys})
    facts = {"r": RANK, "lora_alpha": ALPHA, "target_modules": modules}
    metadata = {"lora_adapter_metadata": json.dumps({f"transformer.{name}": fact for name, fact in facts.items()})}
    expected = fused(theirs, tmp_path, [(keys, strength)], metadata)
    file = open_lora("theirs.safetensors", tmp_path / "theirs.safetensors")
    model = patch(ours.patcher, file, match_with(ours, file), strength)
    model.patch_model()
    changed = weights_of(model)
    model.unpatch_model()
    assert largest_difference(changed, expected) == 0.0


@pytest.mark.parametrize("strength", STRENGTHS)
def test_dora_as_peft_writes_it_is_merged_as_peft_merges_it(
    theirs: Any, ours: Base, tmp_path: Path, strength: float
) -> None:
    kind = next(one for one in BOTH_KNOW if one.title == "diffusers `transformer.*`")
    pairs = {module: pair for module, pair in ours.pairs().items() if "attn" in module}
    keys = kind.write(pairs, ours.family.lora.diffusers_name)
    for module, (_, up) in pairs.items():
        name = f"transformer.{ours.family.lora.diffusers_name(module)}.lora_magnitude_vector"
        keys[name] = 0.5 + torch.rand(up.shape[0], generator=torch.Generator().manual_seed(3))
    changed, found = patched_weights(ours, keys, tmp_path, strength)
    assert found.missed == ()
    assert largest_difference(changed, fused(theirs, tmp_path, [(keys, strength)])) <= 2e-7
