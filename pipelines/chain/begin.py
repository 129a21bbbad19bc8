"""A video that is already there, as the beginning of a chain."""

from __future__ import annotations

from fractions import Fraction

from ..errors import Refusal
from ..media.footage import Footage
from ..media.frames import Excerpt, FrameSource
from ..media.pictures import best_size
from ..media.retime import Fitted, at_rate
from ..media.sound import Sound, SoundExcerpt
from ..model.bundle import VideoModel
from ..model.variant import check_size
from ..timeline.clips import Clip, Join
from .chain import Chain, Link


def begin_with(
    model: VideoModel, source: FrameSource, sound: Sound | None, width: int, height: int, keep_seconds: float
) -> Chain:
    """A chain of one link, the end of a video, for a stage of `model` to go on from.

    Args:
        source: frames of any rate and size; they are shown at the model's rate, scaled to cover the size and cropped
            evenly.
        width, height: pixels; 0 and 0 take the size nearest to the video's own that the model can render.
        keep_seconds: how much of the video's end the film begins with; 0 is all of it.

    Raises:
        Refusal: a size off the grid, or a time that is none.
    """
    if (width == 0) != (height == 0):
        raise Refusal(f"{width}x{height} given; give both, or 0 and 0 for the video's own size.", field="width")
    if not width:
        width, height = best_size(source.width, source.height, source.width * source.height, model.variant.size_step)
    check_size(width, height, model.variant)
    film = Fitted(at_rate(source, model.fps), width, height)
    if not 0 <= keep_seconds < float("inf"):
        raise Refusal(f"{keep_seconds} given; a time in seconds is needed, or 0 for the whole video.", field="keep")
    keep = round(Fraction(str(keep_seconds)) * model.fps) or film.frame_count
    if keep > film.frame_count:
        raise Refusal(
            f"{keep_seconds} s given; the video lasts {float(film.frame_count / model.fps):.2f} s.",
            field="keep",
        )
    first = film.frame_count - keep
    footage = Footage(Excerpt(film, first, film.frame_count), _sound_from(sound, first / model.fps, keep / model.fps))
    link = Link(Clip(keep, Join(), keep), None, model, footage)
    return Chain(model.family.name, width, height, model.fps, (link,))


def _sound_from(sound: Sound | None, start: Fraction, seconds: Fraction) -> Sound | None:
    if sound is None:
        return None
    begin = round(start * sound.sample_rate)
    return SoundExcerpt(sound, begin, begin + round(seconds * sound.sample_rate))
