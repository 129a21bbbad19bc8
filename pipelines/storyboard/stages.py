"""The stages of a planned storyboard, with the bundles that render them and the files that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Refusal
from ..model.lora import apply_lora
from ..model.shot import Keyframe
from ..stage.stage import Stage
from ..timeline.clips import Length
from .storyboard import IMAGES, Storyboard

if TYPE_CHECKING:
    import torch

    from ..lora.choice import LoraChoice
    from ..media.pictures import Image
    from ..model.bundle import VideoModel
    from ..model.variant import Settings
    from .plan import Plan, PlannedStage


class NamedFiles(Protocol):
    """Images and sounds by the names that a storyboard has for them; raises `Refusal` for one that cannot be used."""

    def check_image(self, name: str) -> None:
        """Raise `Refusal` where there is no such image; it is not read."""
        ...

    def image(self, name: str) -> torch.Tensor:
        """`[1, H, W, 3]` in 0..1."""
        ...

    def sound(self, name: str) -> Mapping[str, Any]:
        """ComfyUI's AUDIO."""
        ...


def stages_of(
    board: Storyboard,
    planned: Plan,
    files: NamedFiles,
    start_image: torch.Tensor | None = None,
    sampling: Settings | None = None,
) -> list[Stage]:
    """The stages of a planned storyboard. The sounds they name are read; images when they are used.

    Args:
        start_image: for the first stage, in place of a file named in the document.

    Raises:
        Refusal: naming the stage and the field.
    """
    stages: list[Stage] = []
    last_start: Image | None = None
    for number, stage in enumerate(planned.stages, start=1):
        entry = stage.entry
        names = {field: getattr(entry, field) for field in IMAGES}
        images: dict[str, Any] = {
            field: None if name is None else _image(files, name, number, field) for field, name in names.items()
        }
        if number == 1 and start_image is not None:
            if images["start_image"] is not None:
                raise Refusal(
                    "an image is connected and the document names one too; use one of them.",
                    stage=1,
                    field="start_image",
                )
            images["start_image"] = start_image
        last_start = last_start if images["start_image"] is None else images["start_image"]
        if entry.anchor is not None:
            images["anchor_image"] = _anchor(last_start, number)
        keyframes = tuple(
            Keyframe(_image(files, key.image, number, "keyframes"), key.frame, key.strength) for key in entry.keyframes
        )
        with _naming(number, "soundtrack"):
            soundtrack = None if entry.soundtrack is None else files.sound(entry.soundtrack)
        stages.append(replace(_stage(board, stage, sampling), keyframes=keyframes, soundtrack=soundtrack, **images))
    return stages


def _image(files: NamedFiles, name: str, number: int, field: str) -> Callable[[], torch.Tensor]:
    """What reads an image that is there."""
    with _naming(number, field):
        files.check_image(name)

    def read() -> torch.Tensor:
        with _naming(number, field):
            return files.image(name)

    return read


def _anchor(last_start: Image | None, number: int) -> Image:
    if last_start is None:
        raise Refusal(
            "start_image is given, and no stage before it has one; name a start image, or an anchor_image.",
            stage=number,
            field="anchor",
        )
    return last_start


def _stage(board: Storyboard, planned: PlannedStage, sampling: Settings | None) -> Stage:
    """A stage without the files it names."""
    entry = planned.entry
    return Stage(
        prompt=entry.prompt,
        negative_prompt=entry.negative_prompt,
        length=entry.length or Length(frames=planned.clip.frames),
        seed=entry.seed,
        join=planned.clip.join,
        width=board.width or 0,
        height=board.height or 0,
        sampling=sampling,
        take=entry.take or 0,
        anchor_strength=entry.anchor_strength or 0.0,
        image_strength=entry.image_strength,
    )


@contextmanager
def _naming(number: int, field: str) -> Iterator[None]:
    """Let a refusal say which stage names the file."""
    try:
        yield
    except Refusal as refusal:
        raise refusal.at(stage=number, field=field) from None


def models_of(
    planned: Plan, model: VideoModel, lora_names: Iterable[str], lora_path: Callable[[str], str]
) -> tuple[list[VideoModel], list[str]]:
    """The bundle of each stage, with the LoRAs that the stage names on top of the bundle's own, and a report of them.

    Stages that name the same share one bundle, so that nothing is patched anew between them.

    Args:
        lora_names, lora_path: as of `apply_lora`.

    Raises:
        Refusal: naming the stage and the field.
    """
    bundles: dict[tuple[LoraChoice, ...], VideoModel] = {(): model}
    lines: list[str] = []
    names = list(lora_names)
    for number, stage in enumerate(planned.stages, start=1):
        choices = stage.entry.loras
        if choices in bundles:
            continue
        bundle = model
        try:
            for choice in choices:
                bundle, reports, remarks = apply_lora(bundle, choice, names, lora_path)
                lines += [*remarks, *(line for report in reports for line in report.lines())]
        except Refusal as refusal:
            raise refusal.at(stage=number) from None
        bundles[choices] = bundle
    return [bundles[stage.entry.loras] for stage in planned.stages], lines


def files_named(board: Storyboard) -> set[str]:
    """The images and sounds that a storyboard names."""
    names: set[str | None] = set()
    for entry in board.stages:
        names |= {entry.soundtrack, *(getattr(entry, field) for field in IMAGES)}
        names |= {key.image for key in entry.keyframes}
    return {name for name in names if name}


def loras_named(board: Storyboard) -> set[str]:
    """The LoRAs that a storyboard names, and the words that stand for none."""
    return {name for entry in board.stages for choice in entry.loras for name in (choice.high, choice.low)}
