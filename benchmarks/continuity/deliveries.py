"""The ways of showing the same takes as a film: as rendered, with colours matched, blended over the overlap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.chain.decode import decoded
from longtake.pipelines.film.colour import FLAT, Colour, Grade, Match, Replay
from longtake.pipelines.film.stitch import Film, blend

RENDERED, MATCHED = "as rendered", "matched"
GAIN, STEP = 1.02, (0.005, 0.0, -0.005)  # of the drift that is put in, a stage


def film_of(chain: Chain, match: Match | None = None, opened: Callable[[Link], Any] = decoded) -> np.ndarray:
    """Every frame that Stitch Chain shows: `[frames, H, W, 3]` uint16."""
    return np.stack([np.asarray(frame) for frame in Film(chain, opened, match).frames()])


def first_frames(chain: Chain) -> list[int]:
    """Of the film, the frame with which each stage begins, and its end."""
    starts, end = [0], 0
    for span in chain.spans:
        end += span.stop - span.first
        starts.append(end)
    return starts


def _blended(film: np.ndarray, chain: Chain) -> np.ndarray:
    """The overlap gone over from the clip before to the clip after, in linear light, as a fade does."""
    film = film.copy()
    for seam, link in zip(first_frames(chain)[1:-1], chain.links[1:], strict=True):
        overlap = link.clip.join.overlap
        again = decoded(link)[:overlap]
        for index in range(overlap):
            weight = (index + 1) / (overlap + 1)
            film[seam - overlap + index] = blend(film[seam - overlap + index], np.asarray(again[index]), weight)
    return film


class _Other(Match):
    """Colours matched in another way than the pack does.

    Args:
        compare: two renderings `[K, H, W, 3]` in 0..1 of the frames of a seam, as shown and again -> gain and offset.
    """

    def __init__(self, chain: Chain, compare: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]):
        super().__init__(chain, decoded)
        self.compare = compare

    def _correction(self, index: int, replay: Replay) -> Colour:
        overlap = self.chain.links[index].clip.join.overlap
        skipped = 1 if overlap > 1 else 0
        before, after = (unit(decoded(link)) for link in self.chain.links[index - 1 : index + 1])
        gain, offset = self.compare(before[skipped - overlap :], after[skipped:overlap])
        return Colour(rgb(gain), rgb(offset))


class _All(Match):
    """All that differs over the overlap taken back, whether or not it lasts."""

    def _correction(self, index: int, replay: Replay) -> Colour:
        return replay.correction


def unit(frames: Any) -> np.ndarray:
    return np.asarray(frames).astype(np.float64) / 65535


def rgb(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _means(shown: np.ndarray, again: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ones(3), shown.mean((0, 1, 2)) - again.mean((0, 1, 2))


def _spreads(shown: np.ndarray, again: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All that differs, from every pixel."""
    means, spreads = zip(*((one.mean((0, 1, 2)), one.std((0, 1, 2))) for one in (shown, again)), strict=True)
    gain = np.where(np.minimum(*spreads) < FLAT, 1.0, spreads[0] / np.maximum(spreads[1], FLAT))
    return gain, means[0] - gain * means[1]


def _least_squares(shown: np.ndarray, again: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The correction that brings every pixel nearest to what it was."""
    means = [one.mean((0, 1, 2)) for one in (shown, again)]
    both = ((shown - means[0]) * (again - means[1])).mean((0, 1, 2))
    spread = again.var((0, 1, 2))
    gain = np.where(spread < FLAT**2, 1.0, both / np.maximum(spread, FLAT**2))
    return gain, means[0] - gain * means[1]


class _Whole(Match):
    """Every clip brought to mean and spread of the first, all its frames counted."""

    def __init__(self, chain: Chain):
        super().__init__(chain, decoded)
        self.first = unit(decoded(chain.links[0]))

    def of(self, index: int) -> Grade:
        gain, offset = _spreads(self.first, unit(decoded(self.chain.links[index])))
        colour = Colour(rgb(gain), rgb(offset))
        return Grade(colour, colour)


def _let_go(chain: Chain) -> np.ndarray:
    """Each clip begins with the colours of the end before it and has its own again when it ends."""
    clips = [unit(decoded(link)) for link in chain.links]
    match = Match(chain, decoded)
    film = [clips[0]]
    for index, (link, clip) in enumerate(zip(chain.links, clips, strict=True)):
        if index == 0:
            continue
        overlap = link.clip.join.overlap
        replay = match.replay(index)
        fresh = clip[overlap:]
        # The clip before has its own colours again at its end, so that the replay says all that there is to correct.
        if replay is not None and replay.same:
            left = np.linspace(1, 0, len(fresh) + 1)[:-1, None, None, None]
            gain, offset = np.array(replay.correction.gain), np.array(replay.correction.offset)
            fresh = fresh + left * (fresh * gain + offset - fresh)
        film.append(fresh)
    return np.rint(np.concatenate(film).clip(0, 1) * 65535).astype(np.uint16)


def _in_linear_light(chain: Chain) -> np.ndarray:
    """Means and spreads of light instead of code values."""
    clips = [_light(unit(decoded(link))) for link in chain.links]
    plain = Match(chain, decoded)
    gain, offset, film = np.ones(3), np.zeros(3), [clips[0]]
    for index in range(1, len(clips)):
        overlap = chain.links[index].clip.join.overlap
        skipped = 1 if overlap > 1 else 0
        replay = plain.replay(index)
        if replay is not None and replay.same:
            step, shift = _spreads(clips[index - 1][skipped - overlap :], clips[index][skipped:overlap])
            gain, offset = gain * step, gain * shift + offset
        film.append(clips[index][overlap:] * gain + offset)
    return np.rint(_code(np.concatenate(film).clip(0, 1)) * 65535).astype(np.uint16)


def _light(code: np.ndarray) -> np.ndarray:
    """sRGB (IEC 61966-2-1) to linear light, both 0..1."""
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _code(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _drifting(chain: Chain) -> Callable[[Link], np.ndarray]:
    """The takes with a drift put in that grows with every stage, as a VAE's would."""

    def opened(link: Link) -> np.ndarray:
        stage = next(index for index, other in enumerate(chain.links) if other is link)
        values = (unit(decoded(link)) - 0.5) * GAIN**stage + 0.5 + np.array(STEP) * stage
        return np.rint(values.clip(0, 1) * 65535).astype(np.uint16)

    return opened


def _drifted(chain: Chain, kind: type[Match] | None) -> np.ndarray:
    opened = _drifting(chain)
    return film_of(chain, None if kind is None else kind(chain, opened), opened)


@dataclass(frozen=True)
class Delivery:
    """A way of showing takes.

    Attributes:
        show: the film `[frames, H, W, 3]` uint16 of a chain.
    """

    name: str
    show: Callable[[Chain], np.ndarray]


PLAIN = (
    Delivery(RENDERED, film_of),
    Delivery(MATCHED, lambda chain: film_of(chain, Match(chain, decoded))),
)
OTHERWISE = (
    Delivery("matched, all that differs", lambda chain: film_of(chain, _All(chain, decoded))),
    Delivery("matched, all that differs, every pixel", lambda chain: film_of(chain, _Other(chain, _spreads))),
    Delivery("matched, means alone", lambda chain: film_of(chain, _Other(chain, _means))),
    Delivery("matched, least squares", lambda chain: film_of(chain, _Other(chain, _least_squares))),
    Delivery("matched, in linear light", _in_linear_light),
    Delivery("matched, let go within the clip", _let_go),
    Delivery("matched, whole clip against stage 1", lambda chain: film_of(chain, _Whole(chain))),
    Delivery("blended over the overlap", lambda chain: _blended(film_of(chain), chain)),
)
DRIFTED = (
    Delivery(f"{RENDERED}, drift put in", lambda chain: _drifted(chain, None)),
    Delivery(f"{MATCHED}, drift put in", lambda chain: _drifted(chain, Match)),
    Delivery("matched, all that differs, drift put in", lambda chain: _drifted(chain, _All)),
)
TRIED = OTHERWISE + DRIFTED
DELIVERIES = {delivery.name: delivery for delivery in (*PLAIN, *TRIED)}
