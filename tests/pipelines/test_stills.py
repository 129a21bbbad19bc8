"""Stills: a prompt that fails while it renders is reported, and the others are rendered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from longtake.pipelines.families.wan22 import Wan22


class Silence:
    """Tells nobody."""

    def doing(self, text: str) -> None: ...
    def stage(self, number: int) -> None: ...
    def step(self, done: int, steps: int, preview: Any) -> None: ...


@dataclass(frozen=True)
class FailsOnce(Wan22):
    """Wan whose second picture cannot be decoded."""

    decoded: tuple[list[int], ...] = ([],)

    def decode(self, model: Any, latent: Any) -> Any:
        self.decoded[0].append(1)
        if len(self.decoded[0]) == 2:
            raise RuntimeError("out of luck")
        return super().decode(model, latent)


def render(models: Path, is_cancel: bool) -> list[Any]:
    from longtake.pipelines.bundle.files import ModelFile, bundle_from_files
    from longtake.pipelines.sampling import SamplingSettings
    from longtake.pipelines.stills import render_stills

    def file(folder: str, name: str) -> ModelFile:
        return ModelFile(name, str(models / folder / f"{name}.safetensors"))

    model = bundle_from_files(
        FailsOnce(decoded=([],)),
        file("diffusion_models", "wan2.2_ti2v_5B_fp16"),
        None,
        file("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled"),
        file("vae", "wan2.2_vae"),
    )
    quick = SamplingSettings(steps=1, cfg_high=1.0, cfg_low=1.0)
    prompts = ["a fox", "a lake", "a boat"]
    return render_stills(prompts, model, "", 96, 64, 5, quick, Silence(), lambda error: is_cancel)


@pytest.mark.usefixtures("comfyui")
def test_a_prompt_that_fails_is_reported_and_the_others_are_rendered(tiny_models: Path) -> None:
    stills = render(tiny_models, is_cancel=False)
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


@pytest.mark.usefixtures("comfyui")
def test_a_cancel_is_passed_on(tiny_models: Path) -> None:
    with pytest.raises(RuntimeError, match="out of luck"):
        render(tiny_models, is_cancel=True)
