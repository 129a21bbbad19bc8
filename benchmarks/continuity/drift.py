"""What matching colours costs where nothing drifts, and what it saves where something does, in light that changes.

The demo model drifts by nothing that adds up and its light never changes, so both are put into its takes: the light
over the film, the same in both clips of a seam, and the drift from stage to stage. What the film would look like
without the drift is known, and how far it is shown from that is the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from longtake.benchmarks.machine import unflushed
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.chain.decode import decoded
from longtake.pipelines.film.colour import FLAT, Colour, Match, part

from tests.host.inprocess import use_folders

from .deliveries import GAIN, MATCHED, RENDERED, STEP, film_of, first_frames, rgb, unit
from .handing import USUAL
from .run import scenes, seeds
from .statistics import Interval
from .studio import FRAMES, Studio

FILE = Path(__file__).resolve().parents[1] / "results" / "colour_drift.jsonl"
STAGES, AT_THE_END = 20, 4  # stages of a film, and those of its end
NET = FRAMES - USUAL.frames  # frames that a stage adds
TOWARDS = "matched, towards stage 1"
DRIFTS = {"none": 0.0, "a quarter": 0.25, "put in": 1.0}  # parts of the drift of deliveries.py

Light = Callable[[np.ndarray], np.ndarray]  # frames of the film -> brightness as a factor


def _falls(frame: np.ndarray) -> np.ndarray:
    part_of_stage_6 = np.clip((frame - 5 * NET) / NET, 0, 1)
    return 1 - 0.15 * part_of_stage_6**2 * (3 - 2 * part_of_stage_6)


LIGHTS: dict[str, Light] = {
    "steady": lambda frame: np.ones(len(frame)),
    "15 % darker in stage 6": _falls,
    "10 % to and fro in 7 stages": lambda frame: 1 + 0.1 * np.sin(2 * np.pi * frame / (7 * NET)),
    "2 % darker with every stage": lambda frame: 1 - 0.02 * frame / NET,
}


class Towards(Match):
    """What a seam corrects is limited to what brings the whole clip nearer to the first: the model may find back."""

    def _next(self, index: int) -> Colour:
        before = self._heads[index - 1]
        mean, spread = self._look(index)
        its_mean, its_spread = self._look(0)
        kept, full = ((np.array(c.gain), np.array(c.offset)) for c in (before, before.after(self._drift(index))))
        means = [gain * mean + offset for gain, offset in (kept, full)]
        spreads = [np.log(gain * spread) for gain, _ in (kept, full)]
        moved = means[0] + _each(means[1] - means[0], its_mean - means[0])
        wider = spreads[0] + _each(spreads[1] - spreads[0], np.log(its_spread) - spreads[0])
        gain = np.exp(wider - np.log(spread))
        return Colour(rgb(gain), rgb(moved - gain * mean))

    def _look(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread of each channel of a clip, its overlap left out."""
        link = self.chain.links[index]
        fresh = unit(self.decoded(link))[link.clip.join.overlap :]
        return fresh.mean((0, 1, 2)), np.maximum(fresh.std((1, 2)).mean(0), FLAT)


def _each(whole: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.array([part(*both) for both in zip(whole, other, strict=True)])


WAYS: dict[str, type[Match] | None] = {RENDERED: None, MATCHED: Match, TOWARDS: Towards}


@dataclass(frozen=True)
class Shown:
    """One film.

    Attributes:
        error: of the mean colour of a frame, of 255: mean over channels and frames.
        at_the_end: the same of the last four stages.
        step: how much more than it should the mean colour changes at a seam, of 255.
    """

    light: str
    drift: str
    way: str
    chain: int
    error: float
    at_the_end: float
    step: float


def measure(chains: int, folder: Path) -> None:
    """Write the figures of the first chains handed on as usual, whose takes lie in `folder` or are rendered."""
    use_folders(folder)
    studio = Studio(folder)
    found: list[Shown] = []
    for number, scene in enumerate(scenes(chains)):
        with torch.inference_mode(), unflushed():
            found += _films(studio.chain(scene.prompt, USUAL, seeds(number, USUAL, STAGES)), number)
        print(f"drift, chain {number}", flush=True)
    FILE.write_text("".join(json.dumps(vars(film)) + "\n" for film in found))


def read() -> list[Shown]:
    return [Shown(**json.loads(line)) for line in FILE.read_text().splitlines()] if FILE.exists() else []


def table(films: list[Shown]) -> str:
    """Error at the end, with 95 % intervals, a row for each light and drift."""
    rows = [["light", "drift", *WAYS], ["---"] * (2 + len(WAYS))]
    for light in LIGHTS:
        for drift in DRIFTS:
            alike = [film for film in films if (film.light, film.drift) == (light, drift)]
            ends = [[film.at_the_end for film in alike if film.way == way] for way in WAYS]
            rows.append([light, drift, *(Interval.of(values).text(1) for values in ends)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _films(chain: Chain, number: int) -> Iterator[Shown]:
    seams = first_frames(chain)[1:-1]
    for light in LIGHTS:
        truth = _frames(chain, None, light, 0.0)
        for drift, share in DRIFTS.items():
            for way, match in WAYS.items():
                off = (_frames(chain, match, light, share) - truth).mean((1, 2))
                error = np.abs(off).mean(1)
                steps = [np.abs(off[seam : seam + 4].mean(0) - off[seam - 4 : seam].mean(0)).mean() for seam in seams]
                figures = (error.mean(), error[-AT_THE_END * NET :].mean(), np.mean(steps))
                yield Shown(light, drift, way, number, *(round(float(value), 3) for value in figures))


def _frames(chain: Chain, match: type[Match] | None, light: str, drift: float) -> np.ndarray:
    """The film `[frames, H, W, 3]` in 0..255."""
    takes: dict[int, np.ndarray] = {}

    def opened(link: Link) -> np.ndarray:
        stage = next(index for index, other in enumerate(chain.links) if other is link)
        if stage not in takes:
            clip = unit(decoded(link))
            clip *= LIGHTS[light](stage * NET + np.arange(len(clip)))[:, None, None, None]
            clip = (clip - 0.5) * (1 + drift * (GAIN - 1)) ** stage + 0.5 + drift * np.array(STEP) * stage
            takes[stage] = np.rint(clip.clip(0, 1) * 65535).astype(np.uint16)
        return takes[stage]

    return film_of(chain, None if match is None else match(chain, opened), opened).astype(np.float32) / 257
