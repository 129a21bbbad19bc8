"""What rows of the parity table have in common: tiny folders, the bundle and the pipeline of each, and one number."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

Tensors = torch.Tensor | tuple[torch.Tensor, ...]

WIDTH, HEIGHT, FRAMES, SEED, STEPS = 96, 64, 9, 5, 8


class Silent:
    """Progress that nobody watches."""

    def doing(self, text: str) -> None: ...

    def stage(self, number: int) -> None: ...

    def step(self, done: int, steps: int, preview: Any) -> None: ...


def difference(theirs: Tensors, ours: Tensors) -> float:
    """Largest difference relative to the largest value, over one tensor or the worst of several.

    Raises:
        AssertionError: the shapes differ, or a value is not finite.
    """
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple) and len(theirs) == len(ours)
        return max(map(difference, theirs, ours))
    assert isinstance(ours, torch.Tensor) and theirs.shape == ours.shape, (theirs.shape, ours.shape)
    theirs, ours = theirs.detach().float().cpu(), ours.detach().float().cpu()
    assert theirs.isfinite().all() and ours.isfinite().all()
    return ((theirs - ours).abs().max() / theirs.abs().max()).item()


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Bench:
    """Bundles of the pack and pipelines of diffusers for the same folders.

    Args:
        folders: the tiny models/diffusers.
    """

    def __init__(self, folders: Path):
        self.folders = folders

    @cache  # noqa: B019 - one bench lives as long as the session
    def bundle(self, name: str, variant: str = "default", choices: Any = None) -> Any:
        """A folder's bundle.

        Args:
            choices: for LTX-2, other than the folder's own.
        """
        from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
        from longtake.pipelines.load.diffusers.folder import open_folder
        from longtake.pipelines.load.diffusers.ltx2 import Ltx2Choices

        if choices is None and name.startswith("LTX"):
            choices = Ltx2Choices()
        return bundle_from_folder(open_folder(name, [str(self.folders)], variant), choices=choices)

    @cache  # noqa: B019
    def components(self, name: str) -> dict[str, Any]:
        """What `from_pretrained` loads of a folder, in fp32."""
        from diffusers import DiffusionPipeline
        from diffusers.utils import logging

        logging.disable_progress_bar()
        folder = self.folders / name
        # A tokenizer that transformers cannot load by itself is none for diffusers.
        bare = {} if (folder / "tokenizer" / "tokenizer.json").exists() else {"tokenizer": None}
        pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True, **bare)
        return {key: value for key, value in pipeline.components.items() if value is not None}

    def pipeline(self, name: str, kind: str = "WanPipeline", **changes: Any) -> Any:
        """A pipeline of `kind` on the components of a folder."""
        import diffusers

        made = getattr(diffusers, kind)(**({"tokenizer": None} | self.components(name) | changes))
        made.set_progress_bar_config(disable=True)
        return made


def stage_latents(
    model: Any, sampling: Any, positive: Any, negative: Any, width: int = WIDTH, height: int = HEIGHT, **pictures: Any
) -> dict[str, torch.Tensor]:
    """What a Chain Stage of these settings denoises: tensors by name, in VAE space."""
    from longtake.pipelines.stage.check import check_stage
    from longtake.pipelines.stage.render import render_latents
    from longtake.pipelines.stage.stage import Stage
    from longtake.pipelines.timeline.clips import Join, Length

    stage = Stage(
        "", "", Length(frames=FRAMES), SEED, Join(), width=width, height=height, sampling=sampling, **pictures
    )
    ready = check_stage(stage, model, None)
    return render_latents(ready, model, None, positive, negative, Silent())
