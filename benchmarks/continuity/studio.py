"""Renders chains of the demo model, in this process, through what Chain Stage calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from longtake.demo_model import folder as demo
from longtake.demo_model import world
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.chain.decode import decoded
from longtake.pipelines.families.wan22_sampling import SamplingSettings
from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
from longtake.pipelines.load.diffusers.folder import DEFAULT, open_folder
from longtake.pipelines.stage import render
from longtake.pipelines.stage.check import check_stage, plan_stage
from longtake.pipelines.stage.stage import Stage
from longtake.pipelines.takes.store import Store
from longtake.pipelines.timeline.clips import Carry, Join, Length, Transition

from .handing import Cure, Handing
from .light_vae import lighten

if TYPE_CHECKING:
    from longtake.pipelines.model.bundle import VideoModel

FRAMES = 33  # of a clip: the longest that the demo model was trained on


class Quiet:
    """Progress that nobody watches."""

    def doing(self, text: str) -> None: ...

    def step(self, done: int, steps: int, preview: Any) -> None: ...

    def stored(self, number: int, steps: int, key: str) -> None: ...

    def stage(self, number: int) -> None: ...

    def finished(self, number: int, key: str) -> None: ...


class Studio:
    """Renders chains into a store below `folder`; a stage that is stored there is not rendered again."""

    def __init__(self, folder: Path):
        from_text = folder / "text-to-video"
        if not from_text.exists():
            demo.write_text_to_video(from_text)
        self.from_text, self.from_frames = _bundle(from_text), _bundle(demo.FOLDER)
        for model in (self.from_text, self.from_frames):
            lighten(model.vae.get())
        self.sampling = SamplingSettings(steps=10, cfg_high=1.0, cfg_low=1.0, shift=5.0, boundary=0.9)
        self.store = Store(folder / "output" / "longtake")

    def chain(self, prompt: str, handing: Handing, seeds: Sequence[int]) -> Chain:
        """A chain with a stage for each seed; the first is from text alone."""
        chain = self._rendered(None, self.from_text, self._stage(prompt, seeds[0], Join()))
        for seed in seeds[1:]:
            with _tails(handing.cure, chain):
                chain = self._continued(chain, prompt, handing, seed)
        return chain

    def _continued(self, chain: Chain, prompt: str, handing: Handing, seed: int) -> Chain:
        join = Join(Transition.SMOOTH, handing.frames, carry=handing.carry or Carry.PIXELS)
        stage = self._stage(prompt, seed, join, told_apart="" if handing.cure is None else handing.name)
        if handing.carry is not None:
            return self._rendered(chain, self.from_frames, stage)
        last = torch.from_numpy(decoded(chain.links[-1])[-1:].astype(np.float32) / 65535)
        alone = self._rendered(None, self.from_frames, self._stage(prompt, seed, Join(), image=last))
        return chain.append(Link(plan_stage(stage, self.from_frames, chain), alone.links[0].take, self.from_frames))

    def _rendered(self, chain: Chain | None, model: VideoModel, stage: Stage) -> Chain:
        return render.render_stages(self.store, [check_stage(stage, model, chain)], Quiet(), chain)

    def _stage(self, prompt: str, seed: int, join: Join, told_apart: str = "", image: Any = None) -> Stage:
        """A stage.

        Args:
            told_apart: a name for the takes of a cure, which the pack knows nothing of. It stands as the negative
                prompt: that is part of a take's key, and without guidance no model hears it.
        """
        length, size = Length(frames=FRAMES), world.SIZE
        return Stage(prompt, told_apart, length, seed, join, size, size, start_image=image, sampling=self.sampling)


def _bundle(path: Path) -> VideoModel:
    return bundle_from_folder(open_folder(path.name, [str(path.parent)], DEFAULT), "default", None)


@contextmanager
def _tails(cure: Cure | None, chain: Chain) -> Iterator[None]:
    """Let the tail of a chain go through a cure where there is one."""
    plain = render.tail_of
    if cure is not None:
        render.tail_of = lambda link, join: cure(plain(link, join), chain)
    try:
        yield
    finally:
        render.tail_of = plain
