"""Frames mixed as light."""

from __future__ import annotations

from functools import cache

import numpy as np

from .frames import from_float, rows_of

WHITE = 2**20 - 1  # linear light of white


def blend(outgoing: np.ndarray, incoming: np.ndarray, weight: float) -> np.ndarray:
    """Mix two frames `[H, W, 3]` uint16 in linear light, as two exposures of one film would mix.

    Pixels are taken as sRGB (IEC 61966-2-1) on the way in and out; a weight of 0 or 1 gives back its frame exactly.
    """
    if weight in (0, 1):
        return incoming if weight else outgoing
    linear, coded = _linear_light()
    share = np.rint((1 - weight) * linear).astype(np.int32), np.rint(weight * linear).astype(np.int32)
    mixed = np.empty_like(outgoing)
    for rows in rows_of(outgoing):
        light = share[0][outgoing[rows]]
        light += share[1][incoming[rows]]
        mixed[rows] = coded[light]
    return mixed


@cache
def _linear_light() -> tuple[np.ndarray, np.ndarray]:
    """sRGB 0..65535 to linear light 0..WHITE, and back: all answers. A step of light is less than one of sRGB."""
    value = np.arange(65536) / 65535
    light = np.arange(WHITE + 2) / WHITE  # two roundings can come to one more
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    coded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return WHITE * linear, from_float(coded)
