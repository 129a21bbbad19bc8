"""Every LoRA format lands on the weights it means, with the values it means."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.pipelines.lora import formats  # noqa: E402
from tests.pipelines.lora.files import FILES, Base, load_base, patched_weights  # noqa: E402

STRENGTHS = [0.5, 1.0, 3.0]


@pytest.fixture(scope="module", params=FILES)
def base(comfyui: Path, tiny_models: Path, request: pytest.FixtureRequest) -> Base:
    return load_base(tiny_models, request.param)


@pytest.fixture(scope="module")
def wan(comfyui: Path, tiny_models: Path) -> Base:
    return load_base(tiny_models, "Wan")


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", formats.PAIRS, ids=lambda kind: kind.title)
def test_pairs_land_on_their_weights(base: Base, tmp_path: Path, kind: formats.Format, strength: float) -> None:
    before, made = base.weights(), base.pairs()
    changed, found = patched_weights(base, kind.write(made, base.family.lora.diffusers_name), tmp_path, strength)

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


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", formats.CHANGES, ids=lambda kind: kind.title)
def test_other_changes_land_on_their_weights(base: Base, tmp_path: Path, kind: formats.Change, strength: float) -> None:
    module = {"Wan": "blocks.1.ffn.0"}.get(base.name, "transformer_blocks.1.audio_ff.net.0.proj")
    before = base.weights()
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
    "diff of a table without its name": {"blocks.0.diff_m": "blocks.0.modulation", "head.diff_m": "head.modulation"},
    "diff of the head": {
        "head.head.diff": "head.head.weight",
        "head.head.diff_b": "head.head.bias",
        "head.modulation.diff": "head.modulation",
    },
    "diff of the patch embedding": {"patch_embedding.diff": "patch_embedding.weight"},
}


@pytest.mark.parametrize("changes", DIFFS.values(), ids=DIFFS.keys())
def test_diffs_land_on_weights_biases_and_tables(wan: Base, tmp_path: Path, changes: dict[str, str]) -> None:
    before, generator = wan.weights(), torch.Generator().manual_seed(1)
    keys = {
        f"diffusion_model.{key}": torch.randn(before[weight].shape, generator=generator)
        for key, weight in changes.items()
    }
    changed, found = patched_weights(wan, keys, tmp_path, 0.5)
    assert found.missed == () and found.misfits == ()
    for key, weight in changes.items():
        expected = before[weight] + 0.5 * keys[f"diffusion_model.{key}"]
        assert torch.equal(changed.pop(weight), expected)
    assert all(torch.equal(weight, before[name]) for name, weight in changed.items())


def test_the_bias_of_a_peft_pair_is_added_at_the_scale_of_the_pair(wan: Base, tmp_path: Path) -> None:
    before, made = wan.weights(), wan.pairs()["blocks.0.self_attn.q"]
    name, bias = "base_model.model.blocks.0.attn1.to_q", torch.ones(24)
    keys = {f"{name}.lora_A.weight": made[0], f"{name}.lora_B.weight": made[1], f"{name}.lora_B.bias": bias}
    keys[f"{name}.alpha"] = torch.tensor(formats.ALPHA)
    changed, found = patched_weights(wan, keys, tmp_path, 3.0)
    assert found.missed == ()
    assert torch.equal(changed["blocks.0.self_attn.q.bias"], before["blocks.0.self_attn.q.bias"] + 1.5 * bias)


def test_tables_beside_children_are_given_back_as_they_were(wan: Base, tmp_path: Path) -> None:
    before = wan.weights()
    patched_weights(wan, {"diffusion_model.blocks.1.modulation.diff": torch.ones(1, 6, 24)}, tmp_path, 1.0)
    after = wan.weights()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
