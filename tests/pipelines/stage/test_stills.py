"""Stills: takes like any other, kept one by one; a prompt that fails is reported, and the others are rendered."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from longtake.pipelines.families.wan22 import Wan22
from PIL import Image

PROMPTS = ["a fox", "a lake", "a boat"]


class Told:
    """Progress, written down."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.steps = 0

    def doing(self, text: str) -> None: ...

    def stage(self, number: int) -> None:
        self.events.append(("rendering", number))

    def step(self, done: int, steps: int, preview: Any) -> None:
        self.steps += 1

    def stored(self, number: int, steps: int, key: str) -> None:
        self.events.append(("stored", number))

    def finished(self, number: int, key: str) -> None:
        self.events.append(("rendered", number))


@dataclass(frozen=True)
class FailsOnce(Wan22):
    """Wan whose second picture cannot be decoded."""

    error: Exception | None = None
    decoded: tuple[list[int], ...] = ([],)

    def decode(self, model: Any, latent: Any) -> Any:
        self.decoded[0].append(1)
        if len(self.decoded[0]) == 2 and self.error is not None:
            raise self.error
        return super().decode(model, latent)


@pytest.fixture
def render(comfyui: Path, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Renders stills into a store of the test's own, as long as they are asked for."""
    import folder_paths
    from longtake.pipelines.families.wan22_sampling import SamplingSettings
    from longtake.pipelines.load.files import ModelFile, bundle_from_files
    from longtake.pipelines.stage.stills import plan_stills, render_stills
    from longtake.pipelines.takes import store

    for kind in ("output", "temp"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))

    def file(folder: str, name: str) -> ModelFile:
        return ModelFile(name, str(tiny_models / folder / f"{name}.safetensors"))

    def work(told: Told, prompts: list[str] = PROMPTS, error: Exception | None = None, steps: int = 1) -> Any:
        model = bundle_from_files(
            FailsOnce(error=error, decoded=([],)),
            file("diffusion_models", "wan2.2_ti2v_5B_fp16"),
            None,
            file("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled"),
            file("vae", "wan2.2_vae"),
        )
        quick = SamplingSettings(steps=steps, cfg_high=1.0, cfg_low=1.0)
        with torch.inference_mode():
            yield from render_stills(store.here(), plan_stills(prompts, model, "", 96, 64, 5, quick), told)

    return work


def test_a_prompt_that_fails_is_reported_and_the_others_are_rendered(render: Any) -> None:
    stills = list(render(Told(), error=RuntimeError("out of luck")))
    assert [(still.prompt, still.seed, still.error) for still in stills] == [
        ("a fox", 5, None),
        ("a lake", 6, "RuntimeError: out of luck"),
        ("a boat", 7, None),
    ]
    assert [None if still.image is None else tuple(still.image.shape) for still in stills] == [
        (1, 64, 96, 3),
        None,
        (1, 64, 96, 3),
    ]


def test_a_cancel_is_passed_on_and_what_has_landed_is_not_rendered_again(render: Any) -> None:
    from comfy.model_management import InterruptProcessingException

    told, landed = Told(), []
    with pytest.raises(InterruptProcessingException):
        landed += render(told, error=InterruptProcessingException())
    assert told.events == [("rendering", 1), ("rendered", 1), ("rendering", 2), ("rendered", 2)]

    again = Told()
    stills = list(render(again))
    assert again.events == [("stored", 1), ("stored", 2), ("rendering", 3), ("rendered", 3)]
    assert all(still.image is not None for still in stills)


def test_one_prompt_that_changes_is_rendered_and_the_others_come_from_the_store_to_the_bit(render: Any) -> None:
    first = list(render(Told()))
    told = Told()
    second = list(render(told, ["a fox", "a mountain lake", "a boat"]))
    assert told.events == [("stored", 1), ("rendering", 2), ("rendered", 2), ("stored", 3)]
    assert [torch.equal(a.image, b.image) for a, b in zip(first, second, strict=True)] == [True, False, True]


def test_a_still_that_was_stopped_in_its_midst_goes_on_from_there(render: Any) -> None:
    class Stops(Told):
        def step(self, done: int, steps: int, preview: Any) -> None:
            super().step(done, steps, preview)
            if done == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(render(Stops(), ["a fox"], steps=6))
    said: list[str] = []
    told = Told()
    told.doing = said.append  # type: ignore[method-assign]
    list(render(told, ["a fox"], steps=6))
    assert "going on where it was stopped" in said


def test_a_batch_goes_into_one_zip_file_with_what_made_it(render: Any, tmp_path: Path) -> None:
    from longtake.pipelines.stage.stills import write_zip

    stills = list(render(Told(), error=RuntimeError("out of luck")))
    write_zip(tmp_path / "stills.zip", stills)
    with zipfile.ZipFile(tmp_path / "stills.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["001_seed_5.png", "003_seed_7.png", "prompts.txt"]
        assert archive.read("prompts.txt").decode().splitlines() == [str(still) for still in stills]
        with archive.open("003_seed_7.png") as file:
            pixels = np.asarray(Image.open(file))
    assert np.abs(pixels / 255 - stills[2].image[0].clamp(0, 1).numpy()).max() <= 0.5 / 255 + 1e-6
