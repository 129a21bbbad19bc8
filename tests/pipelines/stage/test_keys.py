"""A stage's key: it changes with each ingredient of the take, and with nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from longtake.pipelines.model.variant import Training
from longtake.pipelines.weights.pairs import Noise

pytestmark = pytest.mark.usefixtures("comfyui")

HIGH, LOW = "wan2.2_i2v_high_noise_14B_fp8_scaled", "wan2.2_i2v_low_noise_14B_fp8_scaled"
FILES = {
    "high": f"diffusion_models/{HIGH}.safetensors",
    "low": f"diffusion_models/{LOW}.safetensors",
    "text_encoder": "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    "vae": "vae/wan_2.1_vae.safetensors",
}
IMAGE = torch.linspace(0, 1, 64 * 96 * 3).reshape(1, 64, 96, 3)


def bundle(models: Path, weight_dtype: str = "default", **paths: str) -> Any:
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.load.files import ModelFile, bundle_from_files

    files = {part: ModelFile(Path(name).name, paths.get(part, str(models / name))) for part, name in FILES.items()}
    return bundle_from_files(WAN22, **files, weight_dtype=weight_dtype)


def ltx2(models: Path) -> Any:
    from longtake.pipelines.load.files import ModelFile
    from longtake.pipelines.load.ltx2 import Ltx2Files, ltx2_bundle

    def file(name: str) -> ModelFile:
        return ModelFile(Path(name).name, str(models / name))

    checkpoint = file("checkpoints/ltx-2-19b-distilled.safetensors")
    encoder = file("text_encoders/gemma_3_12B_it_fp4_mixed.safetensors")
    return ltx2_bundle(Ltx2Files.of_checkpoint(checkpoint), encoder, Training.DISTILLED, None, Fraction(24))


def stage(**changes: Any) -> Any:
    from longtake.pipelines.stage.stage import Stage
    from longtake.pipelines.timeline.clips import Join, Length

    asked: dict[str, Any] = {
        "prompt": "a fox",
        "negative_prompt": "blurry",
        "length": Length(frames=17),
        "seed": 7,
        "join": Join(),
        "width": 96,
        "height": 64,
        "start_image": IMAGE,
    }
    return Stage(**(asked | changes))


def key_of(model: Any, asked: Any, before: Any = None) -> str:
    return identity_of(model, asked, before).key


def identity_of(model: Any, asked: Any, before: Any = None) -> Any:
    from longtake.pipelines.chain.chain import Chain, Link
    from longtake.pipelines.stage.check import check_stage
    from longtake.pipelines.stage.keys import stage_identity
    from longtake.pipelines.timeline.clips import Clip, Join

    chain = None
    if before is not None:
        chain = Chain("wan22", 96, 64, model.fps, (Link(Clip(17, Join(), 17), None, model),))
    return stage_identity(check_stage(asked, model, chain), model, before)


def smooth(**changes: Any) -> Any:
    from longtake.pipelines.timeline.clips import Carry, Join, Transition

    overlap, carry = changes.pop("overlap", 5), changes.pop("carry", Carry.PIXELS)
    return stage(start_image=None, join=Join(Transition.SMOOTH, overlap, carry=carry), **changes)


def before(model: Any, key: str = "a" * 64) -> Any:
    from longtake.pipelines.stage.keys import Before

    return Before(key, model.vae, None)


def test_the_same_stage_has_the_same_key_in_every_bundle_of_the_same_files(tiny_models: Path, tmp_path: Path) -> None:
    copy = tmp_path / "another name.safetensors"
    shutil.copyfile(tiny_models / FILES["high"], copy)
    first = identity_of(bundle(tiny_models), stage())
    assert first.unidentified == ""
    assert first == identity_of(bundle(tiny_models), stage())
    assert first == identity_of(bundle(tiny_models, high=str(copy)), stage())


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "a wolf"},
        {"negative_prompt": ""},
        {"seed": 8},
        {"width": 112},
        {"height": 80},
        {"start_image": IMAGE + 1e-6},
        {"end_image": IMAGE},
        {"prompt": "blurry", "negative_prompt": "a fox"},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_what_is_asked_of_a_stage_changes_its_key(tiny_models: Path, changes: dict[str, Any]) -> None:
    model = bundle(tiny_models)
    assert key_of(model, stage(**changes)) != key_of(model, stage())


def test_the_length_changes_the_key_and_how_it_is_said_does_not(tiny_models: Path) -> None:
    from longtake.pipelines.timeline.clips import Length

    model = bundle(tiny_models)
    assert key_of(model, stage(length=Length(frames=21))) != key_of(model, stage())
    assert key_of(model, stage(length=Length(seconds=17 / 16))) == key_of(model, stage())


def test_every_sampling_setting_changes_the_key(tiny_models: Path) -> None:
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, Split

    model = bundle(tiny_models)
    plain = SamplingSettings(steps=4, cfg_high=3.0, cfg_low=3.0, shift=5.0, boundary=0.9)
    changes: list[dict[str, Any]] = [
        {"steps": 5},
        {"cfg_high": 3.1},
        {"cfg_low": 3.1},
        {"shift": 5.1},
        {"sampler": "uni_pc"},
        {"scheduler": "normal"},
        {"split": Split.SINGLE},
        {"split": Split.STEP, "split_step": 2},
        {"boundary": 0.8},
    ]
    keys = {key_of(model, stage(sampling=replace(plain, **change))) for change in changes}
    assert len(keys | {key_of(model, stage(sampling=plain))}) == len(changes) + 1


def test_settings_left_open_are_those_the_model_was_published_with(tiny_models: Path) -> None:
    model = bundle(tiny_models)
    assert key_of(model, stage()) == key_of(model, stage(sampling=model.variant.sampling))


@pytest.mark.parametrize("part", FILES)
def test_one_changed_byte_of_any_model_file_changes_the_key(tiny_models: Path, tmp_path: Path, part: str) -> None:
    data = bytearray((tiny_models / FILES[part]).read_bytes())
    data[-5] ^= 1
    changed = tmp_path / Path(FILES[part]).name
    changed.write_bytes(data)
    assert key_of(bundle(tiny_models, **{part: str(changed)}), stage()) != key_of(bundle(tiny_models), stage())


def test_swapped_experts_a_missing_one_and_another_precision_change_the_key(tiny_models: Path) -> None:
    plain = bundle(tiny_models)
    swapped = bundle(tiny_models, high=str(tiny_models / FILES["low"]), low=str(tiny_models / FILES["high"]))
    keys = {key_of(model, stage()) for model in (plain, swapped, bundle(tiny_models, weight_dtype="fp8_e5m2"))}
    assert len(keys) == 3


def test_loras_change_the_key_by_content_strength_and_expert(tiny_models: Path, tmp_path: Path) -> None:
    from longtake.pipelines.lora.file import open_lora
    from longtake.pipelines.model.lora import patched

    name = "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"
    path = tiny_models / "loras" / name
    changed = tmp_path / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    changed.write_bytes(data)
    renamed = tmp_path / "renamed.safetensors"
    shutil.copyfile(path, renamed)
    model = bundle(tiny_models)

    def key(file: Path, expert: Noise, strength: float) -> str:
        return key_of(patched(model, open_lora(file.name, str(file)), expert, strength)[0], stage())

    plain = key(path, Noise.HIGH, 1.0)
    others = {
        key(path, Noise.HIGH, 0.9),
        key(path, Noise.LOW, 1.0),
        key(changed, Noise.HIGH, 1.0),
        key_of(model, stage()),
    }
    assert len(others | {plain}) == 5
    assert key(renamed, Noise.HIGH, 1.0) == plain


def test_a_smooth_stage_depends_on_the_take_before_it_and_how_its_tail_is_carried(tiny_models: Path) -> None:
    from longtake.pipelines.timeline.clips import Carry

    model = bundle(tiny_models)
    wan22 = bundle(tiny_models, vae=str(tiny_models / "vae" / "wan_2.1_vae.safetensors"))
    keys = {
        key_of(model, smooth(), before(model)),
        key_of(model, smooth(), before(model, "b" * 64)),
        key_of(model, smooth(overlap=9), before(model)),
        key_of(model, smooth(carry=Carry.LATENTS), before(model)),
        key_of(model, stage()),
    }
    assert len(keys) == 5
    assert key_of(wan22, smooth(), before(wan22)) in keys


def test_a_cut_and_a_fade_show_the_same_take_whatever_is_before_them(tiny_models: Path) -> None:
    from longtake.pipelines.timeline.clips import Join, Transition

    model = bundle(tiny_models)
    fade = stage(join=Join(Transition.FADE, fade_frames=4))
    keys = {key_of(model, stage()), key_of(model, fade, before(model)), key_of(model, stage(), before(model, "b" * 64))}
    assert len(keys) == 1


def test_takes_of_one_stage_share_a_place_and_those_of_another_stage_do_not(tiny_models: Path) -> None:
    model = bundle(tiny_models)
    here = identity_of(model, smooth(), before(model))
    again = identity_of(bundle(tiny_models, weight_dtype="fp8_e5m2"), smooth(prompt="other", seed=1), before(model))
    assert again.place == here.place
    assert again.key != here.key
    assert identity_of(model, smooth(), before(model, "b" * 64)).place != here.place


def test_a_model_that_nothing_identifies_gets_keys_that_are_used_once(tiny_models: Path) -> None:
    from longtake.pipelines.model.part import Part

    model = replace(bundle(tiny_models), high=Part.of("connected model", object()))
    first, second = identity_of(model, stage()), identity_of(model, stage())
    assert first.key != second.key
    assert "connected model" in first.unidentified


def test_a_file_replaced_under_loaded_weights_does_not_rename_them(tiny_models: Path, tmp_path: Path) -> None:
    from longtake.pipelines.identity import Source
    from longtake.pipelines.model.part import Part

    path = tmp_path / "vae"
    path.write_bytes(b"old")
    part = Part("vae", object, Source((str(path),)))
    part.get()
    path.write_bytes(b"brand new")
    assert part.identity != Part("vae", object, part.source).identity


def test_files_that_prompts_name_count(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    monkeypatch.setitem(folder_paths.folder_names_and_paths, "embeddings", ([str(tmp_path)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    model, asked = bundle(tiny_models), stage(prompt="a fox, embedding:style")
    without = key_of(model, asked)
    (tmp_path / "style.safetensors").write_bytes(b"1")
    folder_paths.filename_list_cache.clear()
    assert key_of(model, asked) != without


def song(seconds: float, pitch: float = 440.0) -> dict[str, Any]:
    """A soundtrack that is at every moment another; longer ones go on where shorter ones end."""
    time = torch.arange(round(seconds * 24000)) / 24000
    return {"waveform": torch.sin(pitch * time + time**2)[None, None], "sample_rate": 24000}


def soundtrack_keys(model: Any, music: dict[str, Any], count: int) -> list[str]:
    """Keys of cut stages of 17 frames that share a soundtrack."""
    from longtake.pipelines.stage.check import check_stages
    from longtake.pipelines.stage.keys import stage_identity
    from longtake.pipelines.timeline.clips import Length

    asked = [stage(soundtrack=music, length=Length(frames=17), width=64, height=64, start_image=None)] * count
    return [stage_identity(ready, model, None).key for ready in check_stages(asked, [model] * count)]


def test_of_a_soundtrack_a_stage_is_called_by_what_it_hears_of_it(tiny_models: Path) -> None:
    model = ltx2(tiny_models)
    # At 24 frames a second the fourth begins at 2.13 s; each hears 1.08 s from before it begins, and its own 0.71 s.
    # Cut from one, as torch's sine of a sample may differ by a bit with how many are computed at once.
    longer = song(60)
    short = longer | {"waveform": longer["waveform"][..., : round(3.5 * 24000)]}
    plain = soundtrack_keys(model, short, 4)
    assert len(set(plain)) == 4
    assert soundtrack_keys(model, longer, 4) == plain
    changed = short | {"waveform": short["waveform"].clone()}
    changed["waveform"][..., round(1.0 * 24000)] += 0.5
    later = soundtrack_keys(model, changed, 4)
    assert [key == before for key, before in zip(later, plain, strict=True)] == [True, False, False, True]
    assert soundtrack_keys(model, short | {"sample_rate": 22050}, 4)[0] != plain[0]


def test_a_soundtrack_of_ten_minutes_costs_a_stage_no_more_than_one_of_a_minute(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.pipelines import identity as ids

    read = 0
    real = ids._heavy

    def counted(value: Any) -> Any:
        nonlocal read
        read += value.numel()
        return real(value)

    monkeypatch.setattr(ids, "_heavy", counted)
    soundtrack_keys(ltx2(tiny_models), song(600), 3)
    assert read < 3 * 24000 * (17 / 24 + 1.08 + 0.01)


def test_an_image_that_names_key_and_place_is_read_once(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.pipelines import identity as ids

    read = []
    real = ids._heavy
    monkeypatch.setattr(ids, "_heavy", lambda value: read.append(value) or real(value))
    identity_of(bundle(tiny_models), stage(end_image=IMAGE / 2))
    assert len(read) == 2


def test_where_the_files_of_a_part_lie_does_not_change_the_key(tmp_path: Path) -> None:
    from longtake.pipelines.identity import Source, digest

    for names in (("a", "b"), ("y", "x")):
        for name, content in zip(names, (b"one", b"two"), strict=True):
            (tmp_path / name).write_bytes(content)
    here, there = ("a", "b"), ("x", "y")
    first, second = (digest(Source(tuple(str(tmp_path / name) for name in names))) for names in (here, there))
    assert first == second


# Of stages that people have stored: what is written here never changes while `STAGE_FORMAT` does not.
RECORDED = {
    "no LoRA": "49503d07d97f9f1d753b815ee1eea0e9b23c0990fbaffbb854708edc5c8ca132",
    "two pairs, put on one after the other": "ba02cc64d809948b57a64f9b9155ed1275d0eb5f3a1c408d0e02ce6b974dfa79",
    "the same LoRAs, one expert after the other": "23d6d8b6b454f9acf1b79a5748e69202800f17baaf108774ccfd0986868ac341",
}


def put_on(model: Any, *loras: tuple[Path, str]) -> Any:
    """The bundle with LoRA files on its experts, in this order."""
    from longtake.pipelines.lora.applied import AppliedLora
    from longtake.pipelines.lora.file import LoraFile
    from longtake.pipelines.weights.pairs import Noise

    for path, expert in loras:
        file = LoraFile(path.name, str(path), {}, {}, (path.stat().st_size, path.stat().st_mtime_ns))
        applied = AppliedLora(file, Noise(expert), 0.5, order=len(model.loras))
        part = getattr(model, expert).patched(applied, lambda base: base)
        model = replace(model, **{expert: part})
    return model


@pytest.mark.parametrize("name", RECORDED)
def test_takes_that_are_stored_are_found_under_the_keys_they_were_stored_under(tmp_path: Path, name: str) -> None:
    from longtake.pipelines.families.wan22 import WAN22
    from longtake.pipelines.identity import Source
    from longtake.pipelines.model.bundle import VideoModel
    from longtake.pipelines.model.part import Part

    high, low, text, vae = (Part(name, lambda: None, Source(upstream=name)) for name in ("high", "low", "text", "vae"))
    variant = next(variant for variant in WAN22.variants if variant.name == "i2v-14b")
    model = VideoModel(WAN22, variant, high, low, text, vae)
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    orders = {
        "no LoRA": (),
        "two pairs, put on one after the other": ((one, "high"), (one, "low"), (two, "high"), (two, "low")),
        "the same LoRAs, one expert after the other": ((one, "high"), (two, "high"), (one, "low"), (two, "low")),
    }
    model = put_on(model, *orders[name])
    assert [(lora.file.name, lora.expert.value) for lora in model.loras] == [(p.name, e) for p, e in orders[name]]
    assert key_of(model, stage(start_image=torch.full((1, 64, 96, 3), 0.5))) == RECORDED[name]
