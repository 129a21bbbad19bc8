"""What is said of a LoRA file that fits, fits in part, or fits not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from longtake.pipelines.errors import Refusal  # noqa: E402
from longtake.pipelines.lora.file import LoraFile  # noqa: E402
from longtake.pipelines.lora.match import Match, Misfit  # noqa: E402
from longtake.pipelines.lora.report import coverage, level_of  # noqa: E402
from longtake.pipelines.lora.wan22 import WAN_LORA  # noqa: E402
from longtake.pipelines.weights.pairs import Noise  # noqa: E402

KEYS = tuple(f"diffusion_model.blocks.{block}.self_attn.q.lora_{end}.weight" for block in range(2) for end in "AB")
MATCH = Match(KEYS, 4, {key: key for key in KEYS}, (), {}, ("q.0", "q.1"), (), (4,), (0.5,))


def lora(name: str = "fox.safetensors", **metadata: str) -> LoraFile:
    return LoraFile(name, "", {key: torch.zeros(4, 4, device="meta") for key in KEYS}, metadata, (0, 0))


def report(match: Match, file: LoraFile | None = None, place: str = "model") -> Any:
    return coverage(file or lora(), match, WAN_LORA, "Wan 2.2", place, 0.8, 10)


def test_a_file_that_fits_wholly_is_reported_without_a_warning() -> None:
    fits = report(MATCH)
    assert (fits.whole, fits.percent) == (True, 100)
    assert [line for line in fits.lines() if "trained for" not in line] == [
        "model: fox.safetensors at 0.8",
        "  format: diffusion_model.*, lora_A/B",
        "  rank 4, alpha / rank 0.5",
        "  keys: 4 of 4 used (100 %)",
        "  weights changed: 2 of 10",
    ]


def test_the_fewer_keys_find_a_weight_the_lower_is_the_share() -> None:
    shares = []
    for used in (4, 3, 2, 1):
        match = replace(MATCH, names={key: key for key in KEYS[:used]}, native=used, missed=KEYS[used:])
        shares.append(report(match).percent)
    assert shares == [100, 75, 50, 25]
    assert report(match).lines()[-1] == (
        f"  WARNING: only 25 % of fox.safetensors fits; 3 keys find no weight: {', '.join(KEYS[1:])}"
    )


def test_a_file_that_fits_nowhere_or_has_other_shapes_is_refused() -> None:
    with pytest.raises(Refusal, match=r"not one of the 4 keys of fox\.safetensors fits the high noise model"):
        report(replace(MATCH, names={}, missed=KEYS, weights=()), place="high noise")
    with pytest.raises(Refusal, match=r"1 of the 2 weights .* has another shape .*: q\.0 is 8x4, the file has 4x4"):
        report(replace(MATCH, misfits=(Misfit("q.0", (8, 4), (4, 4)),)))


@pytest.mark.parametrize(
    ("file", "level"),
    [
        (lora("fox_high_noise.safetensors"), Noise.HIGH),
        (lora("fox_low_noise.safetensors"), Noise.LOW),
        (lora(ss_min_timestep="875", ss_max_timestep="1000"), Noise.HIGH),
        (lora(ss_min_timestep="0", ss_max_timestep="900"), Noise.LOW),
        (lora(ss_min_timestep="0", ss_max_timestep="1000"), None),
        (lora(ss_min_timestep="soon"), None),
    ],
)
def test_the_expert_is_told_by_name_or_by_the_timesteps_of_its_training(file: LoraFile, level: Noise | None) -> None:
    assert level_of(file) is level
    remarks = report(MATCH, file, "low noise").remarks
    assert bool(remarks) == (level is Noise.HIGH)
