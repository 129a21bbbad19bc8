"""Every LoRA format lands on the weights it means, with the values it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests import lora_formats  # noqa: E402

HIGH = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
LAYERS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2")


@pytest.fixture(scope="module")
def base(comfyui: Path, tiny_models: Path) -> Any:
    """A tiny Wan model in fp32, as ComfyUI holds it."""
    from comfy.sd import load_diffusion_model

    return load_diffusion_model(str(tiny_models / "diffusion_models" / HIGH), model_options={"dtype": torch.float32})


def weights_of(patcher: Any) -> dict[str, Any]:
    prefix = "diffusion_model."
    state = patcher.model.state_dict()
    return {key[len(prefix) :]: value.clone() for key, value in state.items() if key.startswith(prefix)}


def patched_weights(base: Any, keys: dict[str, Any], folder: Path, strength: float) -> tuple[dict[str, Any], Any]:
    """Weights of the model with a file applied, and the match; the model is left as it was."""
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.lora_file import open_lora
    from longtake.pipelines.lora_match import match
    from longtake.pipelines.lora_patch import patch
    from longtake.pipelines.skeleton import skeleton_of_model
    from safetensors.torch import save_file

    path = folder / "lora.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in keys.items()}, path)
    file = open_lora(path.name, path)
    found = match(file, skeleton_of_model(base.model), WAN22.lora)
    clone = patch(base, file, found, strength)
    clone.patch_model()
    changed = weights_of(clone)
    clone.unpatch_model()
    return changed, found


def pairs(base: Any) -> dict[str, Any]:
    """A random pair for every matrix of every block."""
    weights, generator = weights_of(base), torch.Generator().manual_seed(1)
    found = {}
    for block in range(2):
        for layer in LAYERS:
            out, into = weights[f"blocks.{block}.{layer}.weight"].shape
            found[f"blocks.{block}.{layer}"] = (
                0.1 * torch.randn(lora_formats.RANK, into, generator=generator),
                0.1 * torch.randn(out, lora_formats.RANK, generator=generator),
            )
    return found


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", lora_formats.PAIRS, ids=lambda kind: kind.title)
def test_pairs_land_on_their_weights(base: Any, tmp_path: Path, kind: lora_formats.Format, strength: float) -> None:
    from longtake.pipelines.families.wan22 import WAN22

    before, made = weights_of(base), pairs(base)
    changed, found = patched_weights(base, kind.write(made, WAN22.lora.diffusers_name), tmp_path, strength)

    assert found.missed == () and found.misfits == ()
    assert found.scales == (kind.scale,)
    for name, weight in changed.items():
        module = name.removesuffix(".weight")
        if module in made:
            down, up = made[module]
            expected = before[name] + (strength * kind.scale) * (up @ down)
            assert (weight - expected).abs().max().item() == 0.0
        else:
            assert torch.equal(weight, before[name])


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", lora_formats.CHANGES, ids=lambda kind: kind.title)
def test_other_changes_land_on_their_weights(
    base: Any, tmp_path: Path, kind: lora_formats.Change, strength: float
) -> None:
    module = "blocks.1.ffn.0"
    before = weights_of(base)
    keys = kind.keys(module, before[f"{module}.weight"])
    changed, found = patched_weights(base, keys, tmp_path, strength)

    assert found.missed == () and found.misfits == ()
    expected = kind.result(keys, before[f"{module}.weight"], strength)
    assert (changed.pop(f"{module}.weight") - expected).abs().max().item() <= 2e-7
    assert all(torch.equal(weight, before[name]) for name, weight in changed.items())


# Changes that are no matrix's: keys of a file -> weights they change, each by the tensor itself.
DIFFS = {
    "diff of a norm": {"blocks.0.norm3.diff": "blocks.0.norm3.weight", "blocks.0.norm3.diff_b": "blocks.0.norm3.bias"},
    "diff of a bias": {"blocks.1.ffn.0.diff_b": "blocks.1.ffn.0.bias"},
    "diff of a modulation table": {"blocks.1.modulation.diff": "blocks.1.modulation"},
    "diff of the head": {
        "head.head.diff": "head.head.weight",
        "head.head.diff_b": "head.head.bias",
        "head.modulation.diff": "head.modulation",
    },
    "diff of the patch embedding": {"patch_embedding.diff": "patch_embedding.weight"},
}


@pytest.mark.parametrize("changes", DIFFS.values(), ids=DIFFS.keys())
def test_diffs_land_on_weights_biases_and_tables(base: Any, tmp_path: Path, changes: dict[str, str]) -> None:
    before, generator = weights_of(base), torch.Generator().manual_seed(1)
    keys = {
        f"diffusion_model.{key}": torch.randn(before[weight].shape, generator=generator)
        for key, weight in changes.items()
    }
    changed, found = patched_weights(base, keys, tmp_path, 0.5)
    assert found.missed == () and found.misfits == ()
    for key, weight in changes.items():
        expected = before[weight] + 0.5 * keys[f"diffusion_model.{key}"]
        assert torch.equal(changed.pop(weight), expected)
    assert all(torch.equal(weight, before[name]) for name, weight in changed.items())


def test_the_bias_of_a_peft_pair_is_added_at_the_scale_of_the_pair(base: Any, tmp_path: Path) -> None:
    before, made = weights_of(base), pairs(base)["blocks.0.self_attn.q"]
    name, bias = "base_model.model.blocks.0.attn1.to_q", torch.ones(24)
    keys = {f"{name}.lora_A.weight": made[0], f"{name}.lora_B.weight": made[1], f"{name}.lora_B.bias": bias}
    keys[f"{name}.alpha"] = torch.tensor(lora_formats.ALPHA)
    changed, found = patched_weights(base, keys, tmp_path, 3.0)
    assert found.missed == ()
    assert torch.equal(changed["blocks.0.self_attn.q.bias"], before["blocks.0.self_attn.q.bias"] + 1.5 * bias)


def test_tables_beside_children_are_given_back_as_they_were(base: Any, tmp_path: Path) -> None:
    before = weights_of(base)
    patched_weights(base, {"diffusion_model.blocks.1.modulation.diff": torch.ones(1, 6, 24)}, tmp_path, 1.0)
    after = weights_of(base)
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
