"""Checkpoints inside a stage, so that even a stage that is killed goes on where it was.

What is kept is the sampler's own latent after a step, so that a resumed stage equals one that was never stopped, bit
for bit. That holds for a sampler whose state is that latent alone and that draws no noise (euler). Others are not
resumed, nor are models with patches that may remember something from step to step.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from .disk import write_whole

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher

log = logging.getLogger(__name__)

FORMAT = "longtake.checkpoint.v1"
EVERY = 60.0  # seconds from one checkpoint to the next, and before the first
SAMPLERS = frozenset({"euler"})


class Checkpoint:
    """Where a stage is kept while it is being denoised.

    Args:
        path: a safetensors file; named by the key of the take, so that it fits nothing else.
        every: seconds between checkpoints.
    """

    def __init__(self, path: Path, every: float = EVERY):
        self.path = path
        self._every = every
        self._last = time.monotonic()
        self._saved = self._read()

    def able(self, model: ModelPatcher, sampler: str) -> bool:
        """Whether a stage of this model and sampler can be resumed bit for bit."""
        options = {name: value for name, value in model.model_options.items() if value}
        return sampler in SAMPLERS and not options and not any(model.wrappers.values()) and not model.callbacks

    def after(self, span: int) -> torch.Tensor | None:
        """What span `span` left in the latent, where the stage had got beyond it."""
        if self._saved is None or self._saved[0] <= span:
            return None
        return self._saved[3]

    def watching(self, model: ModelPatcher, span: int, latent: torch.Tensor) -> ModelPatcher:
        """A clone of the model whose sampler keeps checkpoints, and begins from one of this span.

        Args:
            span: 0 for the first expert, 1 for the second.
            latent: what the span begins from.
        """
        from comfy.patcher_extension import WrappersMP
        from comfy.samplers import KSAMPLER

        def sample(executor: Any, *arguments: Any) -> torch.Tensor:
            plain = executor.class_obj
            stepwise = self._stepwise(plain.sampler_function, span, latent)
            return KSAMPLER(stepwise, plain.extra_options, plain.inpaint_options).sample(*arguments)

        watched = model.clone()
        watched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "longtake", sample)
        return watched

    def remove(self) -> None:
        """The stage is finished."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _stepwise(self, function: Callable[..., Any], span: int, latent: torch.Tensor) -> Callable[..., Any]:
        def sample(
            model: Any,
            x: torch.Tensor,
            sigmas: torch.Tensor,
            extra_args: Any,
            callback: Any,
            disable: Any,
            **options: Any,
        ) -> torch.Tensor:
            first = 0
            if self._saved is not None and self._saved[0] == span:
                _, first, kept, _ = self._saved
                x = kept.to(x)
            for step in range(first, len(sigmas) - 1):

                def told(state: dict[str, Any], step: int = step) -> None:
                    callback({**state, "i": step})

                two = sigmas[step : step + 2]
                x = function(model, x, two, extra_args=extra_args, callback=told, disable=True, **options)
                if time.monotonic() - self._last >= self._every:
                    self._write(span, step + 1, x, latent)
            return x

        return sample

    def _write(self, span: int, step: int, x: torch.Tensor, latent: torch.Tensor) -> None:
        from safetensors.torch import save

        kept = {"x": x.detach().cpu().contiguous().clone(), "latent": latent.detach().cpu().contiguous().clone()}
        facts = json.dumps({"format": FORMAT, "span": span, "step": step})
        data = save(kept, {"facts": facts})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, lambda partial: partial.write_bytes(hashlib.sha256(data).digest() + data))
        except (OSError, Refusal) as error:
            log.warning("Longtake: no checkpoint could be kept: %s", error)
        self._last = time.monotonic()

    def _read(self) -> tuple[int, int, torch.Tensor, torch.Tensor] | None:
        from safetensors.torch import load

        try:
            whole = self.path.read_bytes()
        except OSError:
            return None
        data = whole[32:]
        if hashlib.sha256(data).digest() != whole[:32]:
            log.warning("Longtake: a damaged checkpoint is not used")
            return None
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = json.loads(header["__metadata__"]["facts"])
        if facts["format"] != FORMAT:
            return None
        tensors = load(data)
        return facts["span"], facts["step"], tensors["x"], tensors["latent"]
