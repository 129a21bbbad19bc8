"""Means over chains, how sure they are, and what differs by more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLED = 4000
FEWEST = 3  # chains that two ways must share to be compared


@dataclass(frozen=True)
class Interval:
    """A mean over chains and its 95 % interval: 2.5 and 97.5 % of the means of chains drawn again with replacement."""

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        sample = np.asarray(values)
        drawn = np.random.default_rng(1).integers(len(sample), size=(RESAMPLED, len(sample)))
        low, high = np.quantile(sample[drawn].mean(1), (0.025, 0.975))
        return cls(float(sample.mean()), float(low), float(high), len(sample))

    @property
    def widest(self) -> float:
        """The bound that is farther from zero."""
        return max(abs(self.low), abs(self.high))

    @property
    def sided(self) -> bool:
        """Whether all of it lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def text(self, digits: int, sign: str = "") -> str:
        mean, low, high = (f"{value:{sign}.{digits}f}" for value in (self.mean, self.low, self.high))
        return f"{mean} ({low} to {high})"


def difference(these: Mapping[int, float], those: Mapping[int, float]) -> Interval | None:
    """Of two ways, chain by chain; None where they share too few chains.

    Args:
        these, those: chain -> figure.
    """
    both = [these[chain] - those[chain] for chain in sorted(these.keys() & those.keys())]
    return Interval.of(both) if len(both) >= FEWEST else None


@dataclass(frozen=True)
class Verdict:
    """Two ways by one measure.

    Attributes:
        apart: the first minus the second.
        better: whether the mean of the first is nearer to the best there can be.
        claimed: whether their difference is more than chance.
    """

    apart: Interval
    better: bool
    claimed: bool

    @classmethod
    def of(
        cls, these: Mapping[int, float], those: Mapping[int, float], best: float, floor: float | None
    ) -> Verdict | None:
        """None where they share too few chains.

        Args:
            floor: below which a difference of means is chance; None where there is none. Two ways of showing the same
                takes have the same chance in both: 0.
        """
        apart = difference(these, those)
        if apart is None:
            return None
        both = these.keys() & those.keys()
        off = [abs(float(np.mean([values[chain] for chain in both])) - best) for values in (these, those)]
        return cls(apart, off[0] < off[1], floor is not None and abs(apart.mean) > floor and apart.sided)
