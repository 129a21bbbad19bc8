"""The sound of a rendered chain: what its takes and the video it began with are heard as."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..chain.decode import decoded_sound
from ..media.sound import Sound, converted
from .sound_clock import FilmSound

if TYPE_CHECKING:
    from ..chain.chain import Chain, Link


def soundtrack(chain: Chain) -> FilmSound | None:
    """The chain heard as one stream, at the sample rate of the first link that is heard; None where none is."""
    for link in chain.links:
        form = _format(link)
        if form is not None:
            rate, channels = form
            return FilmSound(chain, partial(_heard, rate=rate, channels=channels), rate, channels)
    return None


def _format(link: Link) -> tuple[int, int] | None:
    """Samples a second and channels of a link, or None for a silent one; a video's sound is not read to tell."""
    if link.footage is not None:
        sound = link.footage.sound
        return None if sound is None else (sound.sample_rate, sound.channels)
    heard = decoded_sound(link)
    return None if heard is None else (heard[1], heard[0].shape[0])


def _heard(link: Link, rate: int, channels: int) -> Sound | None:
    """The sound of a link at a rate.

    A video's is streamed as it is: a chain begins with it, so the rate and the channels are its own.
    """
    if link.footage is not None:
        return link.footage.sound
    heard = decoded_sound(link)
    if heard is None:
        return None
    return converted(*heard, rate, channels)
