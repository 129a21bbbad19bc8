"""Model files that cannot be used: one sentence that names the file, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from longtake.pipelines.errors import Refusal
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def test_weights_of_another_shape_are_refused_by_the_first_of_them(
    comfyui: Path, tiny_models: Path, tmp_path: Path
) -> None:
    from tests.pipelines.stage.test_keys import FILES, bundle

    weights = load_file(tiny_models / FILES["high"])
    wide = [key for key, tensor in weights.items() if key.endswith("cross_attn.q.weight")]
    assert len(wide) > 1
    path = tmp_path / "odd.safetensors"
    with safe_open(tiny_models / FILES["high"], "pt") as file:
        metadata = file.metadata()
    save_file({key: t[:, :-1].clone() if key in wide else t for key, t in weights.items()}, path, metadata)
    model = bundle(tiny_models, high=str(path))
    with pytest.raises(Refusal) as caught:
        model.high.get()
    said = str(caught.value)
    assert said.count("\n") == 0
    assert len(said) < 300
    assert wide[0] in said
    assert f"and {len(wide) - 1} more." in said
    assert str(weights[wide[0]].shape[0]) in said


@pytest.mark.parametrize(
    ("extra", "metadata"),
    [
        ((), {"format": "mlx"}),
        ((), {"mflux_version": "0.38.0", "quantization_level": "None"}),
        ((".scales", ".biases"), None),
        ((".scales", ".biases"), {"format": "pt"}),
    ],
)
def test_weights_for_mlx_are_refused_as_such(
    tmp_path: Path, extra: tuple[str, ...], metadata: dict[str, str] | None
) -> None:
    from longtake.pipelines.weights.outline import outline

    names = ["blocks.0.attn.q" + end for end in (".weight", *extra)]
    save_file({name: torch.zeros(4, 4) for name in names}, tmp_path / "model.safetensors", metadata)
    with pytest.raises(Refusal, match=r"^model\.safetensors holds weights for MLX") as refused:
        outline(tmp_path / "model.safetensors")
    assert refused.value.message.endswith(
        "choose MLX as what it is rendered by in Load Diffusers Folder. LTX-2 has a node of its own, Render LTX-2 by "
        "MLX."
    )


def test_scales_alone_are_not_mlx(tmp_path: Path) -> None:
    from longtake.pipelines.weights.outline import outline

    names = ["a.weight", "a.scales", "b.biases", "b.weight"]
    save_file({name: torch.zeros(4, 4) for name in names}, tmp_path / "model.safetensors")
    assert len(outline(tmp_path / "model.safetensors").tensors) == 4


def test_an_error_of_another_kind_stays_what_it_is() -> None:
    from longtake.pipelines.weights.outline import misfit

    assert misfit("a", RuntimeError("CUDA error: out of memory")) is None
    assert misfit("a", RuntimeError("")) is None
