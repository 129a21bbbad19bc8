"""Stills: many prompts, one image each, from a video model. Each is a take of one frame, stored as it is rendered."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..document import MAX_SEED
from ..errors import Refusal
from ..files.whole import CountedName, whole_file
from ..timeline.clips import Join, Length
from .check import check_stage
from .keys import Planned, look_up
from .prompts import Prompts
from .render import take_of
from .stage import Ready, Stage

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from PIL import Image

    from ..model.bundle import VideoModel
    from ..model.variant import Settings
    from ..progress import Progress
    from ..takes.store import Store
    from ..takes.take import Take


@dataclass(frozen=True)
class Still:
    """What became of one prompt.

    Args:
        number: its place among the prompts, counted from 1.
        take: where it is stored, or None if it failed.
        image: `[1, H, W, 3]` in 0..1, or None if it failed.
        error: why it failed, or None.
    """

    number: int
    prompt: str
    seed: int
    take: Take | None
    image: torch.Tensor | None
    error: str | None

    def __str__(self) -> str:
        return f"{self.number}. seed {self.seed}: {self.error or 'rendered'} ({self.prompt})"

    def picture(self) -> Image.Image:
        """The image in 8 bits, rounded to nearest."""
        from PIL import Image

        if self.image is None:
            raise ValueError("the prompt has failed")
        return Image.fromarray((self.image[0].clamp(0, 1) * 255).round().byte().numpy())


def plan_stills(
    prompts: Sequence[str],
    model: VideoModel,
    negative_prompt: str,
    width: int,
    height: int,
    seed: int,
    sampling: Settings | None,
) -> list[Ready]:
    """One checked stage of one frame for each prompt; the seed goes up by one from prompt to prompt.

    Raises:
        Refusal: they cannot be rendered as asked.
    """
    ready = []
    for index, prompt in enumerate(prompts):
        own_seed = (seed + index) % (MAX_SEED + 1)
        stage = Stage(
            prompt, negative_prompt, Length(frames=1), own_seed, Join(), width=width, height=height, sampling=sampling
        )
        ready.append(replace(check_stage(stage, model, None), number=index + 1))
    return ready


def render_stills(store: Store, ready: Sequence[Ready], progress: Progress) -> Iterator[Still]:
    """Each planned still as it lands, in order: stored ones from the store, the others rendered and stored.

    A prompt that fails is reported and the others are rendered; a cancel ends them, and what has landed is stored.
    """
    stills = [look_up(store, [stage])[0] for stage in ready]
    prompts = Prompts([planned.ready for planned in stills if planned.take is None], progress)
    for planned in stills:
        yield _still(store, planned, prompts, progress)


def _still(store: Store, planned: Planned, prompts: Prompts, progress: Progress) -> Still:
    from comfy.model_management import InterruptProcessingException

    number, stage, model = planned.ready.number, planned.ready.stage, planned.ready.model
    take, image, error = None, None, None
    try:
        take = take_of(store, planned, None, prompts, progress)
        image = model.family.decode(model, take.latent())[:1].float().cpu()
    except InterruptProcessingException:
        raise
    except Refusal as refusal:
        error = str(refusal)
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    return Still(number, stage.prompt, stage.seed, take, image, error)


def write_zip(path: Path | CountedName, stills: Iterable[Still]) -> None:
    """Write the images as PNG, and a text that says of which prompt and seed each is, to one ZIP file."""
    stills = list(stills)
    with whole_file(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for still in stills:
            if still.image is not None:
                archive.writestr(f"{still.number:03}_seed_{still.seed}.png", _png(still.picture()))
        archive.writestr("prompts.txt", "\n".join(map(str, stills)) + "\n")


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
