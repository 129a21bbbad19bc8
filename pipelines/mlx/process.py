"""The user's MLX Python: what is installed there, and a job done there, which ends with a cancel or with this process.

MLX-Gen asks for other versions of what ComfyUI runs on, so it is never imported here.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from ..errors import Refusal
from ..progress import stop_if_cancelled

if TYPE_CHECKING:
    import torch

VARIABLE = "LONGTAKE_MLX_PYTHON"
# The one whose classes runner.py was written to and tested with; they change from one to the next.
MLX_GEN = "0.38.0"
FIELD = "rendered_by"

RUNNER = Path(__file__).with_name("runner.py")
ANSWER = 60  # seconds that a Python may take to say what is installed
POLL = 0.1  # seconds between two looks at whether the person has cancelled
TOLD = 3  # lines of what a runner said last, in an error

T = TypeVar("T")

_HOW = f'"pip install mlx-gen=={MLX_GEN}" into a Python of its own, and {VARIABLE} names it (docs/apple.md).'


class Weights(str, Enum):
    """What MLX holds weights in; the values finish "rendered by"."""

    BF16 = "MLX"
    EIGHT_BITS = "MLX, 8 bits"
    FOUR_BITS = "MLX, 4 bits"
    FP32 = "MLX, fp32"

    @property
    def bits(self) -> int | None:
        return {Weights.EIGHT_BITS: 8, Weights.FOUR_BITS: 4}.get(self)

    @property
    def dtype(self) -> str:
        """Of what is not quantised, and of predictions, by MLX's name."""
        return "float32" if self is Weights.FP32 else "bfloat16"


class MlxFailed(RuntimeError):
    """The runner broke off; the message says what it said last."""


@dataclass(frozen=True)
class Expert:
    """A transformer as a job names it.

    Args:
        name: for what is told of it.
        files: safetensors, by diffusers' names.
        config: of MLX-Gen's class.
        changes: what LoRAs add to its weights, as runner.py reads them.
        steps: it takes.
        guidance: 1 asks for no negative prompt.
    """

    name: str
    files: tuple[str, ...]
    config: Mapping[str, Any]
    changes: Mapping[str, torch.Tensor]
    steps: int
    guidance: float


@dataclass(frozen=True)
class Job:
    """A clip to be denoised.

    Args:
        tensors: `latent` `[1, C, T, h, w]` noisy and normalised; `positive` and, if it is asked for, `negative`
            `[1, tokens, width]`; `concat` `[1, channels, T, h, w]` beside the latent; `kept` and `mask`
            `[1, 1, T, h, w]`, 0 where what is kept stays.
        experts: in the order they denoise.
        sigmas: `[steps + 1]`.
        timesteps: `[steps]`, what the model is told of each.
        solver: "euler" or "unipc".
        dtype: MLX's name of the precision of weights and predictions.
        bits: of quantised weights; None leaves them.
        shown: the slot that is told of after each step.
    """

    tensors: Mapping[str, torch.Tensor]
    experts: tuple[Expert, ...]
    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]
    solver: str
    dtype: str
    bits: int | None
    shown: int = 0


def check_python() -> None:
    """Raise `Refusal` unless the Python that `VARIABLE` names has the MLX-Gen that is needed."""
    python = _python()
    if not python:
        raise Refusal(f"MLX runs in a Python of its own, and none is named: {_HOW}", field=FIELD)
    if python not in _good:
        _check(python)
        _good.add(python)


def _python() -> str:
    return os.path.expanduser(os.environ.get(VARIABLE, ""))


_good: set[str] = set()  # a job looks again


def _check(python: str) -> None:
    try:
        answer = subprocess.run(  # noqa: S603 - the program is the one that the user names
            [python, "-E", str(RUNNER), "--versions"], capture_output=True, text=True, timeout=ANSWER, check=False
        )
        installed = json.loads(answer.stdout or "null")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"{VARIABLE} is {python}, which does not run ({error}).", field=FIELD) from None
    if not installed:
        said = last_words(answer.stderr.splitlines())
        raise Refusal(f"{VARIABLE} is {python}, which does not run as a Python does: {said}", field=FIELD)
    if None in installed.values():
        lacking = " and ".join(name for name, version in installed.items() if version is None)
        raise Refusal(f"{python} has no {lacking}: {_HOW}", field=FIELD)
    if installed["mlx-gen"] != MLX_GEN:
        raise Refusal(
            f"{python} has MLX-Gen {installed['mlx-gen']}; this pack works with {MLX_GEN} alone, whose "
            f"classes it uses: {_HOW}",
            field=FIELD,
        )


def denoise(job: Job, on_step: Callable[[int, torch.Tensor], None]) -> torch.Tensor:
    """Do a job and return its latent `[1, C, T, h, w]`, normalised.

    Args:
        on_step: told how many steps are done, and what the last took the picture for, of the slot that is shown,
            `[1, C, 1, h, w]`, normalised; may raise to cancel.

    Raises:
        Refusal: the runner cannot do it.
        MlxFailed: the runner ended without an answer.
    """
    import folder_paths

    with tempfile.TemporaryDirectory(prefix="longtake-mlx-", dir=_made(folder_paths.get_temp_directory())) as folder:
        line = json.dumps(_written(job, Path(folder)))
        with _Runner(_python(), Path(folder)) as runner:
            runner.begin(line)
            finished = runner.follow(on_step)
        return _tensor(finished, "latent")


def _tensor(path: str, name: str) -> torch.Tensor:
    from safetensors.torch import load

    # All of it is read before the folder goes: a file that is mapped is not removed everywhere.
    return load(Path(path).read_bytes())[name]


def _made(folder: str) -> str:
    os.makedirs(folder, exist_ok=True)
    return folder


def _written(job: Job, folder: Path) -> dict[str, Any]:
    """A job as the runner reads it, its tensors written to the folder."""
    return {
        "mlx_gen": MLX_GEN,
        "tensors": _saved(job.tensors, folder / "given.safetensors"),
        "latent": str(folder / "latent.safetensors"),
        "experts": [
            {
                "name": expert.name,
                "files": expert.files,
                "config": dict(expert.config),
                "changes": _saved(expert.changes, folder / f"changes-{number}.safetensors"),
                "steps": expert.steps,
                "guidance": expert.guidance,
            }
            for number, expert in enumerate(job.experts)
        ],
        "sigmas": job.sigmas,
        "timesteps": job.timesteps,
        "solver": job.solver,
        "dtype": job.dtype,
        "bits": job.bits,
        "shown": job.shown,
        "seen": str(folder / "seen"),
    }


def _saved(tensors: Mapping[str, torch.Tensor], path: Path) -> str | None:
    from safetensors.torch import save_file

    if not tensors:
        return None
    save_file({name: tensor.detach().cpu().float().contiguous() for name, tensor in tensors.items()}, path)
    return str(path)


class _Runner:
    """A runner at work; a context manager that ends it, whatever it is at."""

    def __init__(self, python: str, folder: Path):
        self._log = folder / "said.txt"
        command = [python, "-E", str(RUNNER)]
        # Its standard input stays open: it ends when that does, which it does with this process.
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - as above
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
                )
            except OSError as error:
                raise Refusal(f"{VARIABLE} is {python}, which does not run ({error}).", field="model") from None
        self._told: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process.stdout,), name="longtake-mlx", daemon=True).start()

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was written last was not read
                    pipe.close()

    def begin(self, line: str) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it is a pipe
        try:
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise self._failed() from error

    def follow(self, on_step: Callable[[int, torch.Tensor], None]) -> str:
        """Pass on what the runner tells until it is done; the path that it wrote."""
        for told in until_ended(self._told):
            if "step" in told:
                on_step(told["step"], _tensor(told["seen"], "seen"))
            if "refused" in told:
                raise Refusal(told["refused"], field="model")
            if "finished" in told:
                return str(told["finished"])
        raise self._failed()

    def _read(self, lines: IO[bytes]) -> None:
        try:
            for line in lines:
                self._told.put(json.loads(line))
        finally:  # a line that was cut off, too, is the end
            self._told.put(None)

    def _failed(self) -> MlxFailed:
        code = self._process.wait()
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        memory = ", as the system does where memory runs out" if code == -9 and sys.platform != "win32" else ""
        said = last_words(self._log.read_text(encoding="utf-8", errors="replace").splitlines())
        return MlxFailed(f"the MLX runner {ended}{memory}: {said}")


def until_ended(said: queue.Queue[T | None]) -> Iterator[T]:
    """What a thread reads of a program as it comes, up to None; a cancel ends the wait."""
    while True:
        stop_if_cancelled()
        try:
            told = said.get(timeout=POLL)
        except queue.Empty:
            continue
        if told is None:
            return
        yield told


def last_words(lines: Iterable[str]) -> str:
    """The last lines of what a program said, in one."""
    said = [line.strip() for line in lines if line.strip()]
    return " / ".join(said[-TOLD:]) or "it said nothing"
