"""The checks themselves, on tiny models and the CPU, so that they are known to run before a GPU is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


@pytest.mark.usefixtures("comfyui")
@pytest.mark.parametrize(
    ("variant", "weights"),
    [("i2v-14b", "fp8"), ("t2v-14b", "fp32"), ("ti2v-5b", "bf16"), ("ltx-2.3", "bf16")],
)
def test_the_checks_of_the_gpu_run_on_tiny_models(variant: str, weights: str) -> None:
    from tests.gpu import checks, models

    names = [name for name in checks.CHECKS if name != "chain" or variant != "t2v-14b"]
    with torch.inference_mode():
        model = models.bundle(models.TINY, variant, models.Weights(weights))
        job = checks.job_of(model, tiny=True)
        facts = dict(checks.run(names, model, job))

    errors = [found["error"] for found in facts.values() if "error" in found]
    assert not errors, errors[0]
    assert facts["stock"]["difference"] == 0.0
    assert facts["stock"]["spread"] > 0.01
    assert facts["loras"]["one_model"]
    assert facts["loras"]["repeats"] == facts["loras"]["restored"] == 0.0
    assert min(facts["loras"]["a_changes"], facts["loras"]["b_differs_from_a"]) > 0
    assert facts["cancel"]["cancelled"]
    assert facts["cancel"]["same_afterwards"] == 0.0
    if "chain" in facts:
        assert facts["chain"]["frames"] == 3 * job.frames - 2 * model.variant.overlap
        assert facts["chain"]["weights"] > 20
        assert facts["chain"]["moved"] == [0, 0]


def test_published_sizes_have_the_parameters_they_are_named_for(comfyui: Path) -> None:
    import comfy.ops
    from comfy.ldm.lightricks.av_model import LTXAVModel
    from comfy.ldm.wan.model import WanModel

    from tests.gpu.models import PUBLISHED
    from tests.gpu.models_ltx2 import LARGE_2_0, LARGE_2_3, config_of

    empty = {"operations": comfy.ops.disable_weight_init, "device": torch.device("meta")}
    modules = {name: WanModel(**vars(net), **empty) for name, net in PUBLISHED.nets.items()}
    for net in (LARGE_2_0, LARGE_2_3):
        modules[f"ltx-{net.release}"] = LTXAVModel(**config_of(net)["transformer"], **empty)
    billions = {name: round(sum(w.numel() for w in module.parameters()) / 1e9, 1) for name, module in modules.items()}
    assert billions == {"t2v-14b": 14.3, "i2v-14b": 14.3, "ti2v-5b": 5.0, "ltx-2.0": 19.6, "ltx-2.3": 21.0}


@pytest.mark.usefixtures("comfyui")
def test_the_benchmark_of_a_chain_fills_its_table(tmp_path: Path) -> None:
    from longtake.benchmarks import gpu_stage

    from tests.gpu import models
    from tests.gpu.rendering import Job

    job = Job(64, 32, 9, stages=2)
    with torch.inference_mode():
        model = models.bundle(models.TINY, "i2v-14b", models.Weights.FP32)
        measured = gpu_stage.measure(model, job, 1)
    row = {"variant": "i2v-14b", "weights": "fp32", "memory": "cpu", "machine": "none", **vars(job), **measured}
    for again in (row, {**row, "height": 64}, row):
        gpu_stage.keep(again, tmp_path)

    assert min(row[part] for part in ("ours", "stock", "step", "decode", "encode", "hand_over")) > 0
    assert [line[:28] for line in (tmp_path / "gpu_stage.md").read_text().splitlines() if "| 64x" in line] == [
        "| i2v-14b fp32, cpu | 64x64x",
        "| i2v-14b fp32, cpu | 64x32x",
    ]


@pytest.mark.usefixtures("comfyui")
def test_the_benchmark_of_encoding_fills_its_table(tmp_path: Path) -> None:
    from longtake.benchmarks import gpu_encode

    from tests.gpu import models

    with torch.inference_mode():
        vae = models.vae(models.TINY, "i2v-14b", seed=3)
        row = gpu_encode.measure(vae, torch.randn(1, 16, 3, 8, 8), tmp_path, [])
    text = gpu_encode.report({"a clip": row}, {"h264_nvenc": "works"}, "none")

    assert "| a clip | " in text
    assert "- h264_nvenc works." in text
    assert gpu_encode.nvenc("no_such_encoder").startswith("cannot be used")
