"""Checkpoints inside a stage, so that even a stage that is killed goes on where it was.

What is kept is what the model predicted, call after call. A stage that goes on is sampled from its beginning again, and
each call that was made before is answered from what was kept, in no time. Whatever a sampler remembers from step to
step and whatever noise it draws comes out as it did, so this holds for every sampler, single-step or multistep,
ancestral or SDE. An answer is taken only where the model is asked the same again, to the bit; so a resumed stage is
never another than one that was not stopped.

What is kept is copied when it is predicted and written beside the next prediction, so that sampling does not wait for
the disk; when a stage ends, however it ends, all of it is written. A process that is killed loses at most what was
predicted last.

A patch that works inside a prediction (a cache of steps, for example) may remember something of the calls that are now
left out. Such models are not resumed, which is said when the stage begins.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..files.tape import Tape

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher

log = logging.getLogger(__name__)

CALL, SPAN = "call", "span"
# Predictions that are copied and not yet written, each as large as a latent for every conditioning: what a kill can
# lose beside the step in work.
AHEAD = 1
NOT_KEPT = "will start over if it is stopped midway"

# What lies around a prediction is run again as it was; and how attention is computed, or how positions are scaled, is
# nothing that remembers.
_AROUND = frozenset(
    {
        "denoise_mask_function",
        "disable_cfg1_optimization",
        "sampler_cfg_function",
        "sampler_post_cfg_function",
        "sampler_pre_cfg_function",
    }
)
_WRAPPERS_AROUND = frozenset({"outer_sample", "sampler_sample", "predict_noise"})  # of comfy's WrappersMP
_FORGETFUL = frozenset({"optimized_attention_override", "rope_options"})  # among the transformer options


class Checkpoint:
    """Where a stage is kept while it is being denoised; a context manager that lets go of the file.

    It holds one prediction for each call of the model and conditioning, in all some tens to hundreds of megabytes, and
    1.5 GB for 40 guided steps of Wan at 1280x720 and 81 frames.

    Args:
        path: of the file; named by the key of the take, so that it fits nothing else.
        say: shows a line to the person who waits.
        held: whether the file is still this process's to write.
    """

    def __init__(self, path: Path, say: Callable[[str], None], held: Callable[[], bool] = lambda: True):
        self._say = say
        self._held = held
        self._tape: Tape | None = None
        self._beside = Beside()
        self._writing = True
        self._written = False
        self._going_on = False
        try:
            self._tape = Tape(path)
        except OSError as error:
            self._not_kept(f"{path.parent} cannot be written ({error.strerror})")

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, which stays, once all of it is written."""
        try:
            self._beside.finish()
        except Exception as error:  # whatever it is, the stage is worth more than what is kept of it
            self._give_up(error)
        if self._tape is not None:
            self._tape.close()

    def remove(self) -> None:
        """The stage is finished and stored."""
        self.close()
        if self._tape is not None:
            self._tape.remove()

    def finished(self) -> tuple[int, dict[str, torch.Tensor]]:
        """How many spans of the stage were finished, and what the last of them made; asked once, before the first."""
        record = None if self._tape is None else self._tape.last(SPAN)
        if record is None:
            return 0, {}
        from comfy.model_management import intermediate_device

        self._going()
        return record.facts["span"] + 1, {
            name: tensor.to(intermediate_device()) for name, tensor in record.tensors.items()
        }

    def finish(self, span: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep what a span has made, so that it is not gone through again."""
        self._add(SPAN, lambda: {"span": span}, tensors)

    def watching(self, model: ModelPatcher, span: int) -> ModelPatcher:
        """A clone of the model whose predictions are kept, and answered where they were kept before.

        Args:
            span: number of the run of steps that it takes, from 0.
        """
        from comfy.patcher_extension import WrappersMP

        if self._tape is None or not self._writing:
            return model
        remembering = patched_inside(model)
        if remembering:
            self._not_kept(f"the model carries a patch that may remember earlier steps ({', '.join(remembering)})")
            # What the spans before have made stays good.
            self._writing = False
            return model

        def predict(
            executor: Any, base: Any, conds: list[Any], x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any]
        ) -> list[torch.Tensor]:
            present = [cond is not None for cond in conds]
            recalled = self._recalled(lambda: {"span": span, "asked": _fingerprint(present, x, timestep)})
            if recalled is not None:
                return [
                    recalled[str(i)].to(x.device) if str(i) in recalled else x.new_zeros(x.shape)
                    for i in range(len(conds))
                ]
            # Copied before the model is asked, which may work on what it is given.
            noisy, at = _copied(x), _copied(timestep)
            predicted = executor(base, conds, x, timestep, options)
            # Where nothing was asked the answer is zero, and need not be kept.
            answers = {str(i): prediction for i, prediction in enumerate(predicted) if conds[i] is not None}
            self._add(CALL, lambda: {"span": span, "asked": _fingerprint(present, noisy, at)}, answers)
            return predicted

        watched = model.clone()
        watched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "longtake", predict)
        return watched

    def _recalled(self, question: Callable[[], dict[str, Any]]) -> dict[str, torch.Tensor] | None:
        # What this process writes lies behind all that was kept before.
        if self._tape is None or self._written or self._tape.at_end:
            return None
        kept = self._tape.next(CALL, question())
        if kept is None:
            log.warning("Longtake: what else was kept of this stage is damaged or of another run; it is not used")
        else:
            self._going()
        return kept

    def _going(self) -> None:
        if not self._going_on:
            self._going_on = True
            self._say("going on where it was stopped")

    def _add(self, kind: str, facts: Callable[[], dict[str, Any]], tensors: Mapping[str, torch.Tensor]) -> None:
        tape = self._tape
        if tape is None or not self._writing:
            return
        self._written = True
        copies = {name: _copied(tensor) for name, tensor in tensors.items()}

        def write() -> None:
            if self._held():
                tape.add(kind, facts(), copies)

        try:
            self._beside.do(write)
        except Exception as error:  # whatever it is, the stage is worth more than what is kept of it
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._tape is not None:
            self._tape.remove()
            self._tape = None
        why = error.strerror if isinstance(error, OSError) else error or type(error).__name__
        self._not_kept(f"the checkpoint cannot be written ({why})")

    def _not_kept(self, why: str) -> None:
        line = f"{NOT_KEPT}: {why}"
        log.warning("Longtake: %s", line)
        self._say(line)


class Beside:
    """Pieces of work that one thread does in turn, beside the one that hands them over.

    At most `AHEAD` of them wait. What one raises comes out of the next call here, and the pieces after it are left out.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    def do(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "longtake-checkpoint")
        while len(self._waiting) >= AHEAD or (self._waiting and self._waiting[0].done()):
            self._next()
        self._waiting.append(self._thread.submit(work))

    def finish(self) -> None:
        """Wait until all is done, and let the thread go."""
        try:
            while self._waiting:
                self._next()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def _next(self) -> None:
        try:
            self._waiting.popleft().result()
        except BaseException:
            for left in self._waiting:
                left.cancel()
            self._waiting.clear()
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None
            raise


def patched_inside(model: ModelPatcher) -> list[str]:
    """What a model carries that takes part in a prediction and may remember earlier ones, by ComfyUI's names."""
    options = {name for name, value in model.model_options.items() if value} - _AROUND - {"transformer_options"}
    inner = {name: value for name, value in model.model_options.get("transformer_options", {}).items() if value}
    wrappers = {kind for kind, keys in model.wrappers.items() if any(keys.values())}
    wrappers |= set(inner.pop("wrappers", {}))
    callbacks = {kind for kind, keys in model.callbacks.items() if any(keys.values())}
    return sorted(options | (set(inner) - _FORGETFUL) | (wrappers - _WRAPPERS_AROUND) | callbacks)


def _fingerprint(present: list[bool], x: torch.Tensor, timestep: torch.Tensor) -> str:
    """What the model was asked, hashed.

    Args:
        present: for each conditioning, whether there is one.
    """
    digest = hashlib.sha256(str(present).encode())
    for tensor in (x, timestep):
        digest.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """In memory of its own, on the CPU: what it was copied from may change at once."""
    import torch

    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _bytes(tensor: torch.Tensor) -> Any:
    import torch

    return _copied(tensor).flatten().view(torch.uint8).numpy()
