"""What was measured: a line of results/continuity.jsonl for each chain and way of handing on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .deliveries import RENDERED
from .figures import MEASURES, Measure, figure, steady
from .handing import AGAIN, USUAL
from .measures import Figures
from .statistics import FEWEST, Verdict, difference

FILE = Path(__file__).resolve().parents[1] / "results" / "continuity.jsonl"

Way = tuple[str, str]  # a handing and a delivery, by their names


@dataclass(frozen=True)
class Results:
    """All lines there are, by handing and chain."""

    lines: dict[tuple[str, int], dict[str, Any]]

    @classmethod
    def read(cls) -> Results:
        lines = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []
        return cls({(line["handing"], line["chain"]): line for line in lines})

    def add(self, handing: str, chain: int, prompt: str, films: dict[str, Figures]) -> None:
        """Take in what was measured of a chain, and write all there is."""
        known = self.lines.get((handing, chain), {"handing": handing, "chain": chain, "prompt": prompt, "films": {}})
        self.lines[handing, chain] = {**known, "films": {**known["films"], **films}}
        FILE.write_text("".join(json.dumps(self.lines[key]) + "\n" for key in sorted(self.lines)))

    def has(self, handing: str, chain: int, delivery: str, stages: int) -> bool:
        films = self.lines.get((handing, chain), {"films": {}})["films"]
        return delivery in films and str(stages) in films[delivery]["identity"]


class Films:
    """The films of one length, as figures.

    Args:
        stages: of a film; of longer chains their first ones.
    """

    def __init__(self, results: Results, stages: int):
        self.stages = stages
        self._films: dict[Way, dict[int, Figures]] = {}
        for (handing, chain), line in results.lines.items():
            for delivery, film in line["films"].items():
                if str(stages) in film["identity"]:
                    self._films.setdefault((handing, delivery), {})[chain] = film

    def __contains__(self, way: Way) -> bool:
        return way in self._films

    def count(self, way: Way) -> int:
        return len(self._films.get(way, ()))

    def values(self, way: Way, measure: Measure) -> dict[int, float]:
        """Chain -> figure, of the chains that have one."""
        figures = {chain: figure(film, measure.key, self.stages) for chain, film in self._films.get(way, {}).items()}
        return {chain: value for chain, value in figures.items() if value is not None}

    def floor(self, measure: Measure) -> float | None:
        """How far two means lie apart where nothing but the seeds differs, at most, in 95 of 100 such runs."""
        apart = difference(self.values((USUAL.name, RENDERED), measure), self.values((AGAIN.name, RENDERED), measure))
        return None if apart is None else apart.widest

    def verdict(self, these: Way, those: Way, measure: Measure) -> Verdict | None:
        """Of the first against the second; two deliveries of the same takes have no chance between them."""
        floor = 0.0 if these[0] == those[0] else self.floor(measure)
        return Verdict.of(self.values(these, measure), self.values(those, measure), measure.best, floor)

    def verdicts(self, these: Way, those: Way) -> list[tuple[Measure, Verdict]]:
        verdicts = [(measure, self.verdict(these, those, measure)) for measure in MEASURES]
        return [(measure, verdict) for measure, verdict in verdicts if verdict is not None]

    def curve(self, way: Way, name: str) -> np.ndarray:
        """Stage by stage, the mean over the chains that show their shape to the end of it; NaN where too few do."""
        films = list(self._films[way].values())
        counted = np.array([steady(film, self.stages) for film in films]) | (name == "contrast")
        values = np.where(counted, [film[name][: self.stages] for film in films], 0.0)
        count = counted.sum(0)
        return np.where(count >= FEWEST, values.sum(0) / np.maximum(count, 1), np.nan)
