"""LoRA files whose tensors are not what a LoRA's are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from longtake.pipelines.errors import Refusal
from safetensors.torch import save_file

MODULE = "diffusion_model.blocks.0.self_attn.q"
GOOD = {".lora_A.weight": (4, 64), ".lora_B.weight": (64, 4), ".alpha": ()}


@pytest.mark.parametrize(
    ("suffix", "shape"),
    [
        (".lora_A.weight", ()),
        (".lora_A.weight", (64,)),
        (".lora_B.weight", (64,)),
        (".lora_B.weight", (64, 0)),
        (".lora_A.weight", (0, 64)),
        (".lora_down.weight", (4,)),
        (".lora_A.default.weight", (4,)),
        (".lora.up.weight", ()),
        (".hada_w1_a", (4,)),
        (".lokr_w1", ()),
        (".a1.weight", (4,)),
        (".oft_blocks", (4,)),
        (".alpha", (2,)),
        (".alpha", (0,)),
        (".alpha", (1000,)),
    ],
)
def test_a_tensor_of_too_few_dimensions_is_refused_by_name(
    comfyui: Path, tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    from longtake.pipelines.lora.file import open_lora

    shapes = {MODULE + end: size for end, size in (GOOD | {suffix: shape}).items()}
    path = tmp_path / "odd.safetensors"
    save_file({name: torch.zeros(size) for name, size in shapes.items()}, path)
    with pytest.raises(Refusal) as caught:
        open_lora(path.name, path)
    assert str(caught.value).startswith(
        f"odd.safetensors is no LoRA that can be applied: {MODULE}{suffix} has the shape {list(shape)}"
    )


@pytest.mark.parametrize(
    "extra",
    [
        {".lora_B.bias": (64,)},
        {".lora_magnitude_vector": (64,)},
        {".dora_scale": (64,)},
        {".diff_b": (64,)},
        {".alpha": (1,)},
    ],
)
def test_what_is_a_vector_by_its_nature_may_be_one(
    comfyui: Path, tmp_path: Path, extra: dict[str, tuple[int, ...]]
) -> None:
    from longtake.pipelines.lora.file import open_lora

    path = tmp_path / "good.safetensors"
    save_file({MODULE + end: torch.zeros(size) for end, size in (GOOD | extra).items()}, path)
    assert len(open_lora(path.name, path).tensors) == len(GOOD | extra)
