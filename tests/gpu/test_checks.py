"""The checks themselves, on tiny models and the CPU, so that they are known to run before a GPU is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


@pytest.mark.usefixtures("comfyui")
@pytest.mark.parametrize(("variant", "weights"), [("i2v-14b", "fp8"), ("t2v-14b", "fp32"), ("ti2v-5b", "bf16")])
def test_the_checks_of_the_gpu_run_on_tiny_models(variant: str, weights: str) -> None:
    from tests.gpu import checks, models

    names = [name for name in checks.CHECKS if name != "chain" or variant != "t2v-14b"]
    with torch.inference_mode():
        model = models.bundle(models.TINY, variant, models.Weights(weights))
        facts = dict(checks.run(names, model, models.TINY, checks.TINY_JOB))

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
        assert facts["chain"]["frames"] == 9 + 4 + 4
        assert facts["chain"]["weights"] > 20
        assert facts["chain"]["moved"] == [0, 0]


def test_published_sizes_have_the_parameters_they_are_named_for(comfyui: Path) -> None:
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    from tests.gpu.models import PUBLISHED

    billions = {}
    for name, net in PUBLISHED.nets.items():
        shape = {"in_dim": net.in_dim, "out_dim": net.out_dim, "dim": net.dim, "ffn_dim": net.ffn_dim}
        module = WanModel(
            **shape,
            num_heads=net.num_heads,
            num_layers=net.num_layers,
            operations=comfy.ops.disable_weight_init,
            device=torch.device("meta"),
        )
        billions[name] = round(sum(weight.numel() for weight in module.parameters()) / 1e9, 1)
    assert billions == {"t2v-14b": 14.3, "i2v-14b": 14.3, "ti2v-5b": 5.0}
