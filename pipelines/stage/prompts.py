"""The words of stages, read by a text encoder: in runs, so that it is loaded seldom, and few of them are held."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from ..model.bundle import VideoModel
    from ..model.part import Part
    from ..progress import Progress
    from .stage import Ready

    Conditioning = list[Any]  # ComfyUI's CONDITIONING

RUN = 8  # stages whose texts are read in one go; a text is 8 MB for Wan and several times that for LTX-2
KEPT = 4  # texts that are kept of each text encoder for the next node


class Prompts:
    """The conditionings of stages that are rendered one after the other.

    Args:
        ready: the stages, in order; those whose words are never asked for cost nothing but their place in a run.
    """

    def __init__(self, ready: Sequence[Ready], progress: Progress):
        self._ready = ready
        self._progress = progress
        self._read: dict[tuple[Part, str], Conditioning] = {}

    def of(self, stage: Ready) -> tuple[Conditioning, Conditioning]:
        """The positive and the negative conditioning of one of the stages, with which those that follow are read."""
        encoder, texts = stage.model.text_encoder, _texts(stage)
        if any((encoder, text) not in self._read for text in texts):
            self._read.clear()
            first = next(index for index, waiting in enumerate(self._ready) if waiting is stage)
            self._read_run(self._ready[first : first + RUN])
        positive, negative = (self._read[encoder, text] for text in texts)
        return positive, negative

    def _read_run(self, run: Sequence[Ready]) -> None:
        self._progress.doing("reading the prompts")
        for stage in run:
            for text in _texts(stage):
                words = stage.model.text_encoder, text
                if words not in self._read:
                    self._read[words] = encoded(stage.model, text)


def encoded(model: VideoModel, text: str) -> Conditioning:
    """The conditioning of a text, kept for a while: the stages of a chain share words, and each may be a node."""
    if "embedding:" in text:
        return model.encode_prompt(text)  # what the files of the embeddings folder hold may change
    recent = _recent.setdefault(model.text_encoder, OrderedDict())
    if text not in recent:
        recent[text] = model.encode_prompt(text)
    recent.move_to_end(text)
    while len(recent) > KEPT:
        recent.popitem(last=False)
    return recent[text]


_recent: WeakKeyDictionary[Part, OrderedDict[str, Conditioning]] = WeakKeyDictionary()


def _texts(stage: Ready) -> tuple[str, str]:
    return stage.stage.prompt, stage.stage.negative_prompt
