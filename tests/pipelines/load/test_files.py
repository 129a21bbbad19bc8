"""Bundles: names that suggest swapped experts."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from longtake.pipelines.load.files import swapped_names


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("wan2.2_i2v_low_noise_14B.safetensors", "wan2.2_i2v_high_noise_14B.safetensors"),
        ("Wan2_2-I2V-A14B-LOW_fp8.safetensors", "Wan2_2-I2V-A14B-HIGH_fp8.safetensors"),
        ("folder/lownoise.safetensors", "folder/highnoise.safetensors"),
    ],
)
def test_swapped_experts_are_remarked_on(high: str, low: str) -> None:
    assert len(swapped_names(high, low)) == 1
    assert swapped_names(low, high) == ()


@pytest.mark.parametrize(
    ("high", "low"),
    [("a.safetensors", "b.safetensors"), ("slow.safetensors", "thigh.safetensors"), ("low.sft", "low.sft")],
)
def test_names_that_say_nothing_are_not_remarked_on(high: str, low: str) -> None:
    assert swapped_names(high, low) == ()
