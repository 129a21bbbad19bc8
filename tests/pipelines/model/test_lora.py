"""LoRAs on a bundle: pairs, reports, refusals, and that the base model is shared and given back as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longtake.pipelines.weights.pairs import Noise

torch = pytest.importorskip("torch")

WIDTH = 24  # of the tiny models
HIGH, LOW = "style_high_noise.safetensors", "style_low_noise.safetensors"
Keys = dict[str, Any]


def pair_keys(module: str = "blocks.0.self_attn.q", into: int = WIDTH, out: int = WIDTH, seed: int = 1) -> Keys:
    generator = torch.Generator().manual_seed(seed)
    name = f"diffusion_model.{module}"
    return {
        f"{name}.lora_A.weight": torch.randn(2, into, generator=generator),
        f"{name}.lora_B.weight": torch.randn(out, 2, generator=generator),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def bundle_of(comfyui: Path, tiny_models: Path) -> Callable[[str], Any]:
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.load.files import ModelFile, bundle_from_files

    def make(kind: str) -> Any:
        def file(folder: str, name: str) -> ModelFile:
            return ModelFile(name, str(tiny_models / folder / f"{name}.safetensors"))

        one = kind == "ti2v"
        high = "wan2.2_ti2v_5B_fp16" if one else f"wan2.2_{kind}_high_noise_14B_fp8_scaled"
        low = None if one else file("diffusion_models", f"wan2.2_{kind}_low_noise_14B_fp8_scaled")
        text_encoder = file("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled")
        vae = file("vae", "wan2.2_vae" if one else "wan_2.1_vae")
        return bundle_from_files(WAN22, file("diffusion_models", high), low, text_encoder, vae)

    return make


def write(folder: Path, name: str, keys: Keys, metadata: dict[str, str] | None = None) -> None:
    from safetensors.torch import save_file

    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save_file(keys, folder / name, metadata)


def apply(model: Any, folder: Path, *files: Any) -> tuple[Any, list[Any], list[str]]:
    from longtake.pipelines.lora.choice import LoraChoice
    from longtake.pipelines.model.lora import apply_lora

    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    return apply_lora(model, LoraChoice(*files), names, lambda name: str(folder / name))


def refusal(model: Any, folder: Path, *files: Any) -> str:
    from longtake.pipelines.errors import Refusal

    with pytest.raises(Refusal) as refused:
        apply(model, folder, *files)
    return str(refused.value)


def state(part: Any) -> Keys:
    """A model's weights as they are while it is patched; it is unpatched again."""
    patcher = part.get()
    patcher.patch_model()
    weights = {key: tensor.clone() for key, tensor in patcher.model.state_dict().items()}
    patcher.unpatch_model()
    return weights


def test_one_half_of_a_pair_brings_the_other(bundle_of: Any, folder: Path) -> None:
    write(folder, HIGH, pair_keys(seed=1))
    write(folder, LOW, pair_keys(seed=2))
    _, reports, remarks = apply(bundle_of("i2v"), folder, HIGH)
    assert [(report.place, report.file) for report in reports] == [("high noise", HIGH), ("low noise", LOW)]
    assert remarks == [f"Low-noise half found by name: {LOW}"]
    _, reports, remarks = apply(bundle_of("i2v"), folder, "auto", LOW)
    assert [report.file for report in reports] == [HIGH, LOW]
    assert remarks == [f"High-noise half found by name: {HIGH}"]


def test_one_file_goes_on_both_experts_at_strengths_of_their_own(bundle_of: Any, folder: Path) -> None:
    write(folder, "lightx2v_rank128.safetensors", pair_keys())
    model, reports, _ = apply(bundle_of("t2v"), folder, *["lightx2v_rank128.safetensors"] * 2, 3.0, 1.0)
    assert [(lora.expert, lora.strength) for lora in model.loras] == [(Noise.HIGH, 3.0), (Noise.LOW, 1.0)]
    assert model.loras[0].content == model.loras[1].content
    assert all(report.percent == 100 for report in reports)


def test_a_lora_on_the_high_noise_expert_alone_leaves_the_other(bundle_of: Any, folder: Path) -> None:
    write(folder, HIGH, pair_keys())
    base = bundle_of("i2v")
    model, _, _ = apply(base, folder, HIGH, "none")
    assert model.low is base.low
    assert model.high is not base.high


def test_a_file_of_both_transformers_is_its_own_other_half(bundle_of: Any, folder: Path) -> None:
    """diffusers saves Wan 2.2's experts as `transformer` and `transformer_2` of one file."""
    keys = {}
    for part, seed in (("transformer", 1), ("transformer_2", 2)):
        for key, tensor in pair_keys(seed=seed).items():
            keys[key.replace("diffusion_model.blocks.0.self_attn.q", f"{part}.blocks.0.attn1.to_q")] = tensor
    write(folder, "both.safetensors", keys)
    model, reports, _ = apply(bundle_of("i2v"), folder, "both.safetensors")
    assert [(report.used, report.total) for report in reports] == [(2, 2), (2, 2)]
    weight = "diffusion_model.blocks.0.self_attn.q.weight"
    for expert, part in (("transformer", model.high), ("transformer_2", model.low)):
        before = state(part.base)[weight]
        change = (
            keys[f"{expert}.blocks.0.attn1.to_q.lora_B.weight"] @ keys[f"{expert}.blocks.0.attn1.to_q.lora_A.weight"]
        )
        assert torch.allclose(state(part)[weight], before + change, atol=1e-6)


def test_the_other_half_must_be_found_or_chosen(bundle_of: Any, folder: Path) -> None:
    write(folder, HIGH, pair_keys())
    assert refusal(bundle_of("i2v"), folder, HIGH) == (
        f"low_noise_lora: no low-noise half of {HIGH} was found in the loras folder. Choose it yourself, or none for "
        "the high-noise expert alone."
    )
    write(folder, "style.safetensors", pair_keys())
    assert refusal(bundle_of("i2v"), folder, "style.safetensors") == (
        "low_noise_lora: style.safetensors does not say in its name that it is one half of a pair. Choose the "
        "low-noise file yourself: the same file for both experts, or none for the high-noise expert alone."
    )


def test_one_model_takes_one_file(bundle_of: Any, folder: Path) -> None:
    write(folder, HIGH, pair_keys())
    model, [report], remarks = apply(bundle_of("ti2v"), folder, HIGH)
    assert (report.place, report.warning is None, remarks) == ("model", False, [])
    assert model.low is None
    assert refusal(bundle_of("ti2v"), folder, HIGH, HIGH) == (
        "low_noise_lora: this bundle has one diffusion model (ti2v-5b); choose its LoRA as high_noise_lora."
    )


def test_a_file_in_the_other_experts_place_is_remarked_on(bundle_of: Any, folder: Path) -> None:
    write(folder, HIGH, pair_keys())
    write(folder, LOW, pair_keys())
    _, [first, second], _ = apply(bundle_of("i2v"), folder, LOW, HIGH)
    assert first.remarks == (
        f"WARNING: {LOW} is a low-noise file by its name or metadata, and this is the high noise place.",
    )
    assert second.remarks[0].startswith(f"WARNING: {HIGH} is a high-noise file")
    write(folder, "trained.safetensors", pair_keys(), {"ss_min_timestep": "875", "ss_max_timestep": "1000"})
    _, [report], _ = apply(bundle_of("i2v"), folder, "none", "trained.safetensors")
    assert report.remarks[0].startswith("WARNING: trained.safetensors is a high-noise file")


def test_nothing_is_loaded_to_judge_a_file(bundle_of: Any, folder: Path) -> None:
    write(folder, HIGH, pair_keys())
    model, _, _ = apply(bundle_of("i2v"), folder, HIGH, "none")
    assert not model.high.loaded and not model.high.base.loaded


def test_the_report_says_what_the_file_shows(bundle_of: Any, folder: Path) -> None:
    keys = pair_keys() | {"diffusion_model.blocks.0.self_attn.q.alpha": torch.tensor(1.0)}
    keys |= pair_keys("blocks.0.cross_attn.k_img") | pair_keys("blocks.7.self_attn.q")
    write(folder, "a.safetensors", keys, {"ss_base_model_version": "wan2.1"})
    _, [report], _ = apply(bundle_of("t2v"), folder, "a.safetensors", "none", 0.5)
    assert report.lines() == [
        "high noise: a.safetensors at 0.5",
        "  format: diffusion_model.*, lora_A/B",
        "  trained for: Wan 2.1 24 wide, image-to-video; its metadata says wan2.1",
        "  rank 2, alpha / rank 0.5",
        "  keys: 3 of 7 used (60 %)",
        "  weights changed: 1 of 69",
        "  left out, which does no harm: 2 keys, image attention of Wan 2.1 i2v",
        "  WARNING: only 60 % of a.safetensors fits; 2 keys find no weight: "
        "diffusion_model.blocks.7.self_attn.q.lora_A.weight, diffusion_model.blocks.7.self_attn.q.lora_B.weight",
    ]


def test_a_lora_of_another_model_is_refused(bundle_of: Any, folder: Path) -> None:
    write(folder, "flux.safetensors", pair_keys("double_blocks.0.img_attn.qkv"))
    assert refusal(bundle_of("i2v"), folder, "flux.safetensors", "none") == (
        "high_noise_lora: not one of the 2 keys of flux.safetensors fits the high noise model (format: "
        "diffusion_model.*, lora_A/B). First keys: diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight, "
        "diffusion_model.double_blocks.0.img_attn.qkv.lora_B.weight. The likely reason: it was trained for Flux or "
        "HunyuanVideo, and this bundle is Wan 2.2."
    )


def test_a_change_of_another_shape_is_refused(bundle_of: Any, folder: Path) -> None:
    write(folder, LOW, pair_keys(into=40, out=40) | pair_keys("blocks.1.self_attn.k"))
    assert refusal(bundle_of("i2v"), folder, LOW, "none") == (
        f"high_noise_lora: 1 of the 2 weights that {LOW} changes has another shape in the high noise model (format: "
        "diffusion_model.*, lora_A/B): diffusion_model.blocks.0.self_attn.q.weight is 24x24, the file has 40x40. The "
        "likely reason: it was trained for Wan 40 wide; it is also a low-noise file in the high noise place."
    )


def test_a_text_to_video_lora_is_refused_for_image_to_video(bundle_of: Any, folder: Path) -> None:
    write(folder, "t2v.safetensors", {"diffusion_model.patch_embedding.diff": torch.zeros(24, 16, 1, 2, 2)})
    said = refusal(bundle_of("i2v"), folder, "t2v.safetensors", "none")
    assert "diffusion_model.patch_embedding.weight is 24x36x1x2x2, the file has 24x16x1x2x2" in said
    assert "this file was trained for the other kind" in said


def test_files_that_are_no_lora_are_refused(bundle_of: Any, folder: Path, tiny_models: Path) -> None:
    write(folder, "whole.safetensors", pair_keys())
    whole = (folder / "whole.safetensors").read_bytes()
    (folder / "torn.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.safetensors").write_bytes(b"")
    torch.save(pair_keys(), folder / "pickle.pt")
    write(folder, "none.safetensors", {"weight": torch.zeros(4)})
    write(folder, "half.safetensors", dict(list(pair_keys().items())[1:]))
    model = bundle_of("i2v")
    names = [f"{name}.safetensors" for name in ("torn", "empty", "none", "half")]
    said = {name: refusal(model, folder, name, "none") for name in names}
    assert said["torn.safetensors"].startswith(
        "high_noise_lora: torn.safetensors cannot be read as a safetensors file ("
    )
    assert said["empty.safetensors"] == (
        "high_noise_lora: empty.safetensors is empty (0 bytes). Download or copy it again."
    )
    assert said["none.safetensors"] == (
        "high_noise_lora: none.safetensors holds no LoRA: its 1 tensors look like something else (the first keys: "
        "weight)."
    )
    assert said["half.safetensors"] == (
        "high_noise_lora: the file lacks diffusion_model.blocks.0.self_attn.q.lora_A.weight, the other half of a pair. "
        "Download or copy it again."
    )
    assert refusal(model, folder, "pickle.pt", "none") == (
        "high_noise_lora: pickle.pt is not a safetensors file. Formats that can run code when opened are not read; "
        "convert it to .safetensors."
    )


def test_removing_a_lora_restores_the_weights_bit_for_bit(bundle_of: Any, folder: Path) -> None:
    write(folder, HIGH, pair_keys())
    base = bundle_of("i2v")
    before = state(base.high)
    model, _, _ = apply(base, folder, HIGH, "none", 3.0)
    weight = "diffusion_model.blocks.0.self_attn.q.weight"
    assert not torch.equal(state(model.high)[weight], before[weight])
    after = state(base.high)
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


def test_stacked_loras_add_up_in_either_order(bundle_of: Any, folder: Path) -> None:
    write(folder, "a.safetensors", pair_keys(seed=1))
    write(folder, "b.safetensors", pair_keys(seed=2))
    base, weight = bundle_of("i2v"), "diffusion_model.blocks.0.self_attn.q.weight"

    def stacked(*files: str) -> Any:
        model = base
        for file in files:
            model, _, _ = apply(model, folder, file, "none", 0.5)
        assert len(model.loras) == 2
        return state(model.high)[weight]

    deltas = [0.5 * keys[1] @ keys[0] for keys in (list(pair_keys(seed=seed).values()) for seed in (1, 2))]
    before = state(base.high)[weight]
    assert torch.equal(stacked("a.safetensors", "b.safetensors"), before + deltas[0] + deltas[1])
    assert torch.equal(stacked("b.safetensors", "a.safetensors"), before + deltas[1] + deltas[0])


def test_stages_with_the_same_loras_share_one_patched_model(bundle_of: Any, folder: Path) -> None:
    write(folder, HIGH, pair_keys())
    base = bundle_of("i2v")
    first, _, _ = apply(base, folder, HIGH, "none", 0.5)
    second, _, _ = apply(base, folder, HIGH, "none", 0.5)
    other, _, _ = apply(base, folder, HIGH, "none", 0.6)
    assert first.high is second.high and first.high is not other.high
    assert first.high.get().model is base.high.get().model is other.high.get().model
    assert first.high.get().patches_uuid == second.high.get().patches_uuid


def test_alphas_that_diffusers_keeps_in_metadata_are_honoured(bundle_of: Any, folder: Path) -> None:
    keys = {
        key.replace("diffusion_model.blocks.0.self_attn.q", "transformer.blocks.0.attn1.to_q"): tensor
        for key, tensor in pair_keys().items()
    }
    metadata = {"lora_adapter_metadata": '{"transformer.r": 2, "transformer.lora_alpha": 1}'}
    write(folder, "a.safetensors", keys, metadata)
    _, [report], _ = apply(bundle_of("i2v"), folder, "a.safetensors", "none")
    assert report.scales == (0.5,)


def test_switching_between_stages_leaves_the_base_weights_where_they_are(bundle_of: Any, folder: Path) -> None:
    from comfy.model_management import load_models_gpu

    write(folder, "a.safetensors", pair_keys(seed=1))
    write(folder, "b.safetensors", pair_keys(seed=2))
    base = bundle_of("i2v")
    first, _, _ = apply(base, folder, "a.safetensors", "none")
    second, _, _ = apply(base, folder, "b.safetensors", "none")
    patched, untouched = "diffusion_model.blocks.0.self_attn.q.weight", "diffusion_model.blocks.0.self_attn.k.weight"

    def weights(model: Any) -> tuple[Any, int]:
        load_models_gpu([model.high.get()])
        state = model.high.get().model.state_dict()
        return state[patched].clone(), state[untouched].data_ptr()

    with torch.inference_mode():
        seen = [weights(model) for model in (first, second, first, base)]
    assert len({place for _, place in seen}) == 1, "weights that no LoRA changes are neither copied nor read again"
    assert torch.equal(seen[0][0], seen[2][0]) and not torch.equal(seen[0][0], seen[1][0])
    assert not torch.equal(seen[0][0], seen[3][0])


def test_what_a_model_offers_is_read_once_for_all_its_loras(
    bundle_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.pipelines.model import lora as applying

    read = []
    skeleton_of_file = applying.skeleton_of_file
    monkeypatch.setattr(applying, "skeleton_of_file", lambda header: read.append(1) or skeleton_of_file(header))
    model = bundle_of("ti2v")
    patched = model.high.patched("a LoRA", lambda base: base)
    skeletons = [applying.skeleton_of(part) for part in (model.high, model.high, patched)]
    assert len(read) == 1
    assert skeletons[0] is skeletons[2]
