"""Which half of a pair a file name speaks of, and what the other half is called."""

from __future__ import annotations

import pytest
from longtake.pipelines.weights.pairs import noise_level, other_half

PAIRS = [
    (
        "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
        "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
    ),
    ("Wan22-Lightning-HighNoise.safetensors", "Wan22-Lightning-LowNoise.safetensors"),
    ("WAN2.2-HIGH_T2V_style.safetensors", "WAN2.2-LOW_T2V_style.safetensors"),
    ("lightning/high_noise_model.safetensors", "lightning/low_noise_model.safetensors"),
    ("high/style.safetensors", "low/style.safetensors"),
    ("high/style_high.safetensors", "low/style_low.safetensors"),
    ("high/style_high.safetensors", "high/style_low.safetensors"),
    ("Style_H.safetensors", "Style_L.safetensors"),
    ("SVI_Wan2.2_H1022.safetensors", "SVI_Wan2.2_L1022.safetensors"),
    ("motionHigh.safetensors", "motionLow.safetensors"),
    ("Style_High.safetensors", "style_low.safetensors"),
]


@pytest.mark.parametrize(("high", "low"), PAIRS)
def test_halves_find_each_other(high: str, low: str) -> None:
    names = ["another_high.safetensors", "another_low.safetensors", high, low]
    assert other_half(high, names) == low
    assert other_half(low, names) == high


@pytest.mark.parametrize("name", ["slow_motion.safetensors", "highlight.safetensors", "thigh.safetensors", "a.sft"])
def test_names_that_say_nothing_have_no_other_half(name: str) -> None:
    mirrored = name.replace("low", "X").replace("high", "low").replace("X", "high")
    assert other_half(name, [name, mirrored]) is None
    assert noise_level(name) is None


def test_a_half_that_is_not_there_is_not_made_up() -> None:
    assert other_half("a_high.safetensors", ["a_high.safetensors", "b_low.safetensors"]) is None
