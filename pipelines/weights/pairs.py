"""File names of Wan 2.2's two experts: which half a name speaks of, and what the other half is called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum


class Noise(str, Enum):
    """Which end of the denoising a diffusion model does; the only one of a bundle counts as `HIGH`."""

    HIGH = "high"
    LOW = "low"

    @property
    def other(self) -> Noise:
        return Noise.LOW if self is Noise.HIGH else Noise.HIGH


_WORD = re.compile(
    r"""(?<![A-Za-z])(?:high|low)(?=[-_ ]?noise|(?![a-z]))
      | (?:High|Low)(?=[-_ ]?[Nn]oise|(?![a-z]))
      | (?<![A-Za-z])(?:HIGH|LOW)(?=[-_ ]?N(?:OISE|oise)|(?![A-Za-z]))""",
    re.VERBOSE,
)
# A single letter means a half only where a file with the other letter exists.
_LETTER = re.compile(r"(?<![A-Za-z0-9])[HLhl](?![A-Za-z0-9])|(?<![A-Za-z0-9])[HL](?=\d)")
_OTHER = {"high": "low", "low": "high", "h": "l", "l": "h"}


def noise_level(name: str) -> Noise | None:
    """The level that a name says, where it does not say both."""
    words = {word.group().lower() for word in _WORD.finditer(name)}
    return Noise(words.pop()) if len(words) == 1 else None


def other_half(name: str, names: Iterable[str]) -> str | None:
    """The file among `names` that is called as this one, with high for low or low for high.

    The words may stand in the folder too; upper and lower case are kept apart only where both exist.
    """
    exact = {file: file for file in names}
    lower = {file.lower(): file for file in exact}
    for candidate in _candidates(name):
        if candidate != name and (partner := exact.get(candidate) or lower.get(candidate.lower())):
            return partner
    return None


def _candidates(name: str) -> Iterable[str]:
    for pattern in (_WORD, _LETTER):
        places = [word.span() for word in pattern.finditer(name)]
        if places:
            yield _swapped(name, places)
            yield from (_swapped(name, [place]) for place in places)


def _swapped(name: str, places: list[tuple[int, int]]) -> str:
    parts, end = [], 0
    for start, stop in places:
        parts += [name[end:start], _as_written(_OTHER[name[start:stop].lower()], name[start:stop])]
        end = stop
    return "".join([*parts, name[end:]])


def _as_written(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word
