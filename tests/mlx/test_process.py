"""The MLX Python as a process: what is refused before a job, and how a job ends that is not finished."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.mlx.process import MLX_GEN, VARIABLE, Expert, Job, MlxFailed, check_python, denoise


def environment(folder: Path, **packages: str) -> Path:
    """A Python of its own in which these packages count as installed, at these versions."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [site] = [*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages")]
    for name, version in packages.items():
        told = site / f"{name}-{version}.dist-info"
        told.mkdir()
        name = name.replace("_", "-")
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def nothing(folder: Path) -> str:
    return ""


def nowhere(folder: Path) -> str:
    return str(folder / "python")


def bare(folder: Path) -> str:
    return str(environment(folder / "bare"))


def older(folder: Path) -> str:
    return str(environment(folder / "older", mlx="0.30.0", mlx_gen="0.37.2"))


def no_python(folder: Path) -> str:
    if sys.platform == "win32":
        pytest.skip("a script without an ending is no program there")
    program = folder / "python"
    program.write_text("#!/bin/sh\necho not today >&2\nexit 3\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (nothing, "MLX runs in a Python of its own, and none is named: "),
        (nowhere, "which does not run"),
        (no_python, "which does not run as a Python does: not today"),
        (bare, "has no mlx and mlx-gen"),
        (older, f"has MLX-Gen 0.37.2; this pack works with {MLX_GEN} alone"),
    ],
)
def test_a_python_that_cannot_render_is_refused_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Callable[[Path], str], said: str
) -> None:
    monkeypatch.setenv(VARIABLE, python(tmp_path))
    with pytest.raises(Refusal) as refused:
        check_python()
    assert said in refused.value.message
    assert refused.value.field == "rendered_by"


@pytest.fixture
def mlx(mlx_python: Path, comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(mlx_python))
    return mlx_python


@pytest.fixture
def job(tiny_models: Path) -> Job:
    """Steps of a quarter of a second and more, far more of them than a test waits for."""
    import json

    folder = tiny_models / "diffusers" / "Wan2.1-T2V-1.3B-Diffusers" / "transformer"
    config = json.loads((folder / "config.json").read_text())
    shape = {key: config[key] for key in ("patch_size", "num_attention_heads", "attention_head_dim", "in_channels")}
    shape |= {key: config[key] for key in ("out_channels", "text_dim", "freq_dim", "ffn_dim", "num_layers")}
    steps = 1000
    return Job(
        tensors={"latent": torch.randn(1, 16, 3, 48, 48), "positive": torch.randn(1, 8, 32)},
        experts=(Expert("tiny", tuple(map(str, folder.glob("*.safetensors"))), shape, {}, steps, 1.0),),
        sigmas=tuple(1 - step / steps for step in range(steps + 1)),
        timesteps=tuple(1000 - step for step in range(steps)),
        solver="euler",
        dtype="float32",
        bits=None,
    )


def ignored(done: int, seen: torch.Tensor) -> None:
    """A step."""


def runners() -> list[psutil.Process]:
    """Runners that this process has started and that still run."""
    children = psutil.Process().children(recursive=True)
    return [p for p in children if p.status() != psutil.STATUS_ZOMBIE and any("runner.py" in a for a in p.cmdline())]


@pytest.fixture(autouse=True)
def no_runner_is_left() -> Iterator[None]:
    yield
    assert not runners()


@pytest.mark.usefixtures("mlx")
def test_a_cancel_ends_the_runner_within_a_step(job: Job) -> None:
    from comfy.model_management import InterruptProcessingException, interrupt_current_processing

    cancelled = []

    def cancel() -> None:
        cancelled.append(time.monotonic())
        interrupt_current_processing()

    def on_step(done: int, _: torch.Tensor) -> None:
        if done == 1:
            threading.Timer(0.05, cancel).start()

    with pytest.raises(InterruptProcessingException):
        denoise(job, on_step)
    assert time.monotonic() - cancelled[0] < 0.5
    assert not runners()


@pytest.mark.usefixtures("mlx")
def test_a_runner_that_is_killed_fails_the_stage(job: Job) -> None:
    def kill(*_: object) -> None:
        for runner in runners():  # none where it had told of another step before it was killed
            runner.kill()

    with pytest.raises(
        MlxFailed, match=r"^the MLX runner was ended by signal 9, as the system does where memory runs out"
    ):
        denoise(job, kill)


@pytest.mark.usefixtures("mlx")
def test_a_crash_of_the_runner_is_told_with_its_last_words(job: Job) -> None:
    with pytest.raises(MlxFailed, match=r"ended with code 1: .*no_such_file\.safetensors"):
        denoise(replace(job, experts=(replace(job.experts[0], files=("no_such_file.safetensors",)),)), ignored)


@pytest.mark.usefixtures("mlx")
def test_weights_that_mlx_gens_model_has_more_of_are_refused(job: Job) -> None:
    deeper = {**job.experts[0].config, "num_layers": 3}
    with pytest.raises(
        Refusal, match=r"tiny: MLX-Gen's transformer has blocks\.2\..*, which is not in the folder's weights"
    ):
        denoise(replace(job, experts=(replace(job.experts[0], config=deeper),)), ignored)


@pytest.mark.usefixtures("mlx")
def test_another_version_than_the_loader_saw_is_refused_by_the_runner(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longtake.pipelines.mlx.process.MLX_GEN", "0.39.0")
    with pytest.raises(Refusal, match=r"MLX-Gen 0\.38\.0 is installed there now, and 0\.39\.0 is what"):
        denoise(job, ignored)


def test_a_python_that_is_gone_is_refused(job: Job, comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/no/such/python")
    with pytest.raises(Refusal, match="LONGTAKE_MLX_PYTHON is /no/such/python, which does not run"):
        denoise(job, ignored)


@pytest.mark.usefixtures("mlx")
def test_a_step_is_told_with_what_it_took_the_picture_for(job: Job) -> None:
    """After the last step nothing is left of the noise."""
    short = replace(job.experts[0], steps=2)
    told: list[tuple[int, torch.Tensor]] = []
    small = {**job.tensors, "latent": torch.randn(1, 16, 3, 8, 8)}
    few = replace(job, experts=(short,), tensors=small, sigmas=(1.0, 0.6, 0.0), timesteps=(1000.0, 600.0), shown=1)
    latent = denoise(few, lambda done, seen: told.append((done, seen)))
    assert [done for done, _ in told] == [1, 2]
    assert torch.allclose(told[-1][1], latent[:, :, 1:2], atol=1e-5)
    assert (told[0][1] - told[1][1]).abs().max() > 1e-3


def test_a_runner_ends_with_the_process_that_started_it(mlx: Path, job: Job, tmp_path: Path) -> None:
    """Its starter is killed, as by a power cut, while it takes a step."""
    import json

    from longtake.pipelines.mlx.process import RUNNER, _written

    (tmp_path / "job").write_text(json.dumps(_written(job, tmp_path)))
    starter = (
        "import subprocess, sys\n"
        "runner = subprocess.Popen([sys.argv[1], sys.argv[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "runner.stdin.write(open(sys.argv[3], 'rb').read() + b'\\n'); runner.stdin.flush()\n"
        "print(runner.pid, runner.stdout.readline().decode(), flush=True)\n"
        "runner.wait()\n"
    )
    command = [sys.executable, "-c", starter, str(mlx), str(RUNNER), str(tmp_path / "job")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number, told = process.stdout.readline().split(maxsplit=1)
        assert json.loads(told)["step"] == 1
        runner = psutil.Process(int(number))
        process.kill()
    runner.wait(5)
