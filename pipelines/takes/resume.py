"""Checkpoints inside a stage, so that even a stage that is killed goes on where it was.

What is kept is what the model predicted, call after call. A stage that goes on is sampled from its beginning again, and
each call that was made before is answered from what was kept, in no time. Whatever a sampler remembers from step to
step and whatever noise it draws comes out as it did, so this holds for every sampler, single-step or multistep,
ancestral or SDE. An answer is taken only where the model is asked the same again, to the bit; so a resumed stage is
never another than one that was not stopped.

A patch that works inside a prediction (a cache of steps, for example) may remember something of the calls that are now
left out. Such models are not resumed, which is said when the stage begins.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .tape import Tape

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher

log = logging.getLogger(__name__)

CALL, SPAN = "call", "span"
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
    """

    def __init__(self, path: Path, say: Callable[[str], None]):
        self._say = say
        self._tape: Tape | None = None
        self._writing = True
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
        """Let go of the file, which stays."""
        if self._tape is not None:
            self._tape.close()

    def remove(self) -> None:
        """The stage is finished and stored."""
        if self._tape is not None:
            self._tape.remove()

    def finished(self) -> tuple[int, dict[str, torch.Tensor]]:
        """How many spans of the stage were finished, and what the last of them made; asked once, before the first."""
        record = None if self._tape is None else self._tape.last(SPAN)
        if record is None:
            return 0, {}
        from comfy.model_management import intermediate_device

        self._going()
        return record.facts["span"] + 1, {name: one.to(intermediate_device()) for name, one in record.tensors.items()}

    def finish(self, span: int, made: Mapping[str, torch.Tensor]) -> None:
        """Keep what a span has made, so that it is not gone through again."""
        self._add(SPAN, {"span": span}, made)

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
            asked = {"span": span, "asked": _fingerprint(conds, x, timestep)}
            kept = self._recalled(asked)
            if kept is not None:
                return [
                    kept[str(i)].to(x.device) if str(i) in kept else x.new_zeros(x.shape) for i in range(len(conds))
                ]
            predicted = executor(base, conds, x, timestep, options)
            # Where nothing was asked the answer is zero, and need not be kept.
            self._add(CALL, asked, {str(i): one for i, one in enumerate(predicted) if conds[i] is not None})
            return predicted

        watched = model.clone()
        watched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "longtake", predict)
        return watched

    def _recalled(self, asked: dict[str, Any]) -> dict[str, torch.Tensor] | None:
        if self._tape is None:
            return None
        kept = self._tape.next(CALL, asked)
        if kept is None and not self._tape.at_end:
            log.warning("Longtake: what else was kept of this stage is damaged or of another run; it is not used")
        if kept is not None:
            self._going()
        return kept

    def _going(self) -> None:
        if not self._going_on:
            self._going_on = True
            self._say("going on where it was stopped")

    def _add(self, kind: str, facts: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        if self._tape is None or not self._writing:
            return
        try:
            self._tape.add(kind, facts, tensors)
        except OSError as error:
            self._tape.remove()
            self._tape = None
            self._not_kept(f"the checkpoint cannot be written ({error.strerror})")

    def _not_kept(self, why: str) -> None:
        line = f"{NOT_KEPT}: {why}"
        log.warning("Longtake: %s", line)
        self._say(line)


def patched_inside(model: ModelPatcher) -> list[str]:
    """What a model carries that takes part in a prediction and may remember earlier ones, by ComfyUI's names."""
    options = {name for name, value in model.model_options.items() if value} - _AROUND - {"transformer_options"}
    inner = {name: value for name, value in model.model_options.get("transformer_options", {}).items() if value}
    wrappers = {kind for kind, keys in model.wrappers.items() if any(keys.values())}
    wrappers |= set(inner.pop("wrappers", {}))
    callbacks = {kind for kind, keys in model.callbacks.items() if any(keys.values())}
    return sorted(options | (set(inner) - _FORGETFUL) | (wrappers - _WRAPPERS_AROUND) | callbacks)


def _fingerprint(conds: list[Any], x: torch.Tensor, timestep: torch.Tensor) -> str:
    asked = hashlib.sha256(str([cond is not None for cond in conds]).encode())
    for tensor in (x, timestep):
        asked.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
        asked.update(_bytes(tensor))
    return asked.hexdigest()


def _bytes(tensor: torch.Tensor) -> Any:
    import torch

    # Copied, because a single value may be a view of something else, which has no bytes of its own.
    own = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return own.flatten().view(torch.uint8).numpy()
