"""Models of the published sizes, with random weights, on a GPU: what tiny models on a CPU cannot show."""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
import threading
from dataclasses import dataclass

import pytest

from tests.gpu.checks import Facts
from tests.gpu.device import LOW_FREE, Memory
from tests.gpu.models import Weights
from tests.host.place import ROOT, Place

GIB = 2**30
GPU_NEEDED, RAM_NEEDED = 80 * GIB, 100 * GIB
SECONDS = 400  # for one process


@dataclass(frozen=True)
class Setup:
    """One process: which model, how its weights are stored and placed, and what is found out about it."""

    variant: str
    weights: Weights
    memory: Memory
    checks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.variant} {self.weights.value} {self.memory.value}"


SETUPS = (
    Setup("i2v-14b", Weights.FP8, Memory.PLAIN, ("stock", "chain", "loras", "cancel")),
    Setup("i2v-14b", Weights.FP8, Memory.DYNAMIC, ("stock", "chain", "loras", "cancel")),
    # Placed by page, weights have a pinned copy in RAM, and these are no file that could be dropped for it.
    Setup("i2v-14b", Weights.BF16, Memory.PLAIN, ("stock", "chain")),
    Setup("i2v-14b", Weights.FP8, Memory.LOW, ("stock", "cancel")),
    Setup("t2v-14b", Weights.BF16, Memory.PLAIN, ("stock",)),
    Setup("ti2v-5b", Weights.BF16, Memory.DYNAMIC, ("stock", "chain")),
    Setup("ti2v-5b", Weights.BF16, Memory.PLAIN, ("chain", "loras", "cancel")),
    Setup("ltx-2.0", Weights.BF16, Memory.DYNAMIC, ("stock", "chain")),
    Setup("ltx-2.3", Weights.FP8, Memory.PLAIN, ("stock", "chain", "loras", "cancel")),
)


def every(check: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("setup", [one for one in SETUPS if check in one.checks], ids=str)


@pytest.fixture(scope="module", autouse=True)
def big_gpu() -> None:
    import psutil
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU, and torch sees none here")
    if torch.cuda.get_device_properties(0).total_memory < GPU_NEEDED or psutil.virtual_memory().total < RAM_NEEDED:
        pytest.skip("needs a GPU of 80 GiB and 100 GiB of RAM: both experts of 14B are held at once")


@functools.cache
def findings(setup: Setup) -> dict[str, Facts]:
    command = [str(Place.here().python), "tests/run.py", "gpu.checks", *setup.checks, "--variant", setup.variant]
    command += ["--weights", setup.weights.value, "--memory", setup.memory.value]
    found: dict[str, Facts] = {}
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            alarm = threading.Timer(SECONDS, process.kill)
            alarm.start()
            for line in process.stdout or ():
                print(f"{setup}: {line}", end="", flush=True)
                if line.startswith("{"):
                    found.update(json.loads(line))
            alarm.cancel()
        errors.seek(0)
        said = errors.read()[-4000:]
    for check in setup.checks:
        found.setdefault(check, {"error": f"exit code {process.returncode}\n{said}"})
    return found


def found(setup: Setup, check: str) -> Facts:
    facts = findings(setup)[check]
    assert "error" not in facts, facts["error"]
    return facts


@every("stock")
def test_a_stage_is_bit_for_bit_what_the_stock_nodes_render(setup: Setup) -> None:
    facts = found(setup, "stock")
    assert facts["finite"]
    assert facts["spread"] > 0.01
    assert facts["difference"] == 0.0, f"the stock nodes differ from themselves by {facts['differs_from_itself']}"


@every("chain")
def test_memory_is_flat_from_the_second_stage_on(setup: Setup) -> None:
    _, second, third = found(setup, "chain")["stage_peaks"]
    assert second["tensors"] > 0
    assert third["tensors"] <= second["tensors"] + 64 * 2**20
    assert third["card"] <= 1.02 * second["card"]


@every("chain")
def test_no_weight_is_moved_between_stages(setup: Setup) -> None:
    facts = found(setup, "chain")
    if setup.memory is Memory.DYNAMIC:
        pytest.skip("weights placed by page have no address to compare; the time of a stage shows it")
    assert facts["weights"] > 100
    assert facts["moved"] == [0, 0]


@every("loras")
def test_loras_are_switched_on_one_copy_of_the_weights(setup: Setup) -> None:
    facts = found(setup, "loras")
    assert facts["one_model"]
    # What is restored when a LoRA goes is kept beside the weights, and that is no second copy of the model.
    assert facts["ram_growth"] < 0.5 * facts["model_bytes"]
    assert facts["a_changes"] > 0
    assert facts["b_differs_from_a"] > 0
    assert facts["repeats"] == 0.0
    assert facts["restored"] == 0.0


@every("cancel")
def test_a_cancelled_stage_leaves_the_gpu_as_it_found_it(setup: Setup) -> None:
    facts = found(setup, "cancel")
    assert facts["cancelled"]
    assert facts["held_after"] <= facts["held_before"] + 64 * 2**20
    assert facts["held_when_freed"] < GIB
    assert facts["same_afterwards"] == 0.0


def test_with_little_memory_most_weights_stay_in_ram() -> None:
    [setup] = [one for one in SETUPS if one.memory is Memory.LOW]
    facts = found(setup, "stock")
    assert facts["loaded_bytes"] < facts["weight_bytes"] / 2
    assert facts["peak"]["tensors"] < LOW_FREE
