"""What a film can be saved as on this computer, as an input of a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..pipelines.errors import Refusal
from ..pipelines.media.codecs import CODECS, Form, VideoCodec, on_this_computer
from ..pipelines.media.sound_codecs import SOUND_CODECS
from .types import AUTOMATIC

USUAL = "mp4"  # H.264 with the node's own crf and preset


def format_input() -> io.DynamicCombo.Input:
    options = [io.DynamicCombo.Option(codec.title, _fields(codec)) for codec in _offered()]
    return io.DynamicCombo.Input(
        "format",
        options=[io.DynamicCombo.Option(USUAL, []), *options],
        tooltip="What the film is saved as. mp4 plays everywhere, with the crf and preset above; the others have "
        "settings of their own. GIF, APNG, WebP and PNG files hold no sound.",
    )


def _offered() -> list[VideoCodec]:
    """What a film can be saved with here: what needs a graphics card once a frame has gone through it."""
    return [codec for codec in CODECS.values() if not codec.hardware or codec in on_this_computer()]


def _fields(codec: VideoCodec) -> list[io.Input]:
    """What can be chosen of a codec."""
    fields: list[io.Input] = []
    if len(codec.containers) > 1:
        fields.append(io.Combo.Input("container", options=list(codec.containers), tooltip="What the file is called."))
    if codec.quality is not None:
        best, worst = codec.quality.best, codec.quality.worst
        fields.append(
            io.Float.Input(
                "quality",
                default=codec.quality.usual,
                min=min(best, worst),
                max=max(best, worst),
                step=1.0,
                tooltip=f"From {best:g}, the best and largest, to {worst:g}.",
            )
        )
    if codec.presets:
        fields.append(
            io.Combo.Input(
                "preset",
                options=list(codec.presets),
                default=codec.preset,
                tooltip="Slower ones make smaller files of the same quality."
                if codec.quality is not None
                else "How much is kept.",
            )
        )
    if len(codec.pixels) > 1:
        fields.append(
            io.Combo.Input(
                "bits",
                options=[str(bits) for bits in codec.pixels],
                tooltip="Of each channel. More keep gradients smooth; fewer players show them.",
            )
        )
    sounds = [name for name, sound in SOUND_CODECS.items() if {*sound.containers} & {*codec.containers}]
    if sounds:
        fields.append(
            io.Combo.Input("sound", options=[AUTOMATIC, *sounds], tooltip="Automatic: what is usual in the container.")
        )
    return fields


def form_of(chosen: Mapping[str, Any], crf: float, preset: str) -> Form:
    """The form that the node's inputs ask for."""
    title = chosen["format"]
    if title == USUAL:
        return Form(quality=crf, preset=preset)
    if problem := form_problem(title):
        raise Refusal(problem, field="format")
    codec = next(codec for codec in CODECS.values() if codec.title == title)
    sound = chosen.get("sound", AUTOMATIC)
    return Form(
        codec,
        chosen.get("container", codec.containers[0]),
        chosen.get("quality"),
        chosen.get("preset", ""),
        int(chosen.get("bits", 0)),
        None if sound == AUTOMATIC else SOUND_CODECS[sound],
    )


def form_problem(title: Any) -> str:
    """Why nothing is saved as `title`; empty where it is a form."""
    titles = [USUAL, *(codec.title for codec in _offered())]
    if title in titles:
        return ""
    opening = "what is given is none that can be saved here" if title is None else f"{title!r} is given"
    return f"{opening}; one of {', '.join(titles)} is needed"
