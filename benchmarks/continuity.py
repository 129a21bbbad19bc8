"""How well a film goes on over its seams: every way of handing a clip on, on the demo model, whose world is known.

    python benchmarks/continuity.py --chains 8 --stages 8 --minutes 30

Renders the same prompts and seeds with each mode, in this process, through what Chain Stage calls, and measures the
films with colour matching off and on. A finished chain is a line of benchmarks/results/continuity.jsonl and is not
rendered again: a longer run adds to it, and `--share 1/2` beside `--share 2/2` halves the work between two processes.
Writes docs/continuity.md and docs/continuity.png from all lines; with `--minutes 0` only that.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from machine import busy, unflushed

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "continuity.jsonl"
PAGE = ROOT / "docs" / "continuity.md"
FRAMES = 33  # of a clip: the longest that the demo model was trained on
AROUND = 16  # frames on either side of a seam: a second of Wan
LATER = 8  # frames after a seam in which a late jump is looked for, and over which a speed is measured
GONE = 50  # % of the contrast of stage 1: below it the shape counts as faded away
SHARE = 0.15  # of the film at either end, as FramePack's drift measure has it
RESAMPLED = 4000
BY_HAND, OTHER_SEEDS = "by hand", "pixels 5, other seeds"
MODES = (
    BY_HAND,
    *(f"pixels {frames}" for frames in (1, 5, 9, 13)),
    *(f"latents {frames}" for frames in (5, 9, 13)),
    OTHER_SEEDS,
)
USUAL, FLOOR_OF = "pixels 5", "pixels 5"  # the pack's default; the mode rendered twice for the noise floor


@dataclass(frozen=True)
class Measure:
    """A column of a table.

    Attributes:
        key: in the results; `_slope` behind it is the slope of a value over the stages.
        digits: that are worth showing.
        best: the value that a film without seams would have.
    """

    key: str
    name: str
    unit: str
    meaning: str
    digits: int = 2
    best: float = 0.0

    @property
    def head(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name


AT_SEAMS = (
    Measure("jump", "jump", "", "change across the seam, over the median change within a second either side", best=1.0),
    Measure("late_jump", "late jump", "", f"largest change of the {LATER} frames after, on the same scale", best=1.0),
    Measure("speed", "speed error", "px/frame", f"of the {LATER} frames after the seam against the {LATER} before"),
    Measure("angle", "angle error", "degrees", "between the same two motions", 1),
    Measure("identity_first", "right at first", "", "share of chains with the prompt's shape and colour after stage 1"),
    Measure("identity", "right at the end", "", "share of chains with both at the end of the film", best=1.0),
    Measure("lasting", "stages shown", "", f"share of stages of at least {GONE} % of stage 1's contrast", best=1.0),
)  # fmt: skip
ENDS = f"|M(first {SHARE:.0%}) - M(last {SHARE:.0%})|"
OVER_FILM = (
    Measure(
        "colour_slope", "colour", "% a seam", "slope, stage by stage, of how far the shape is from its first colour"
    ),
    Measure("contrast_slope", "contrast", "% a seam", "slope of how far shape and ground are apart"),
    Measure("sharpness_slope", "sharpness", "% a seam", "slope of the steepest edges over the contrast"),
    Measure("colour_ends", "colour at the ends", "%", f"{ENDS} of the film"),
    Measure("contrast_ends", "contrast at the ends", "%", f"{ENDS}"),
    Measure("sharpness_ends", "sharpness at the ends", "%", f"{ENDS}"),
)
MEASURES = AT_SEAMS + OVER_FILM


class Quiet:
    """Progress that nobody watches."""

    def doing(self, text: str) -> None: ...

    def step(self, done: int, steps: int, preview: Any) -> None: ...

    def stored(self, number: int, steps: int, key: str) -> None: ...

    def stage(self, number: int) -> None: ...

    def finished(self, number: int, key: str) -> None: ...


class Studio:
    """Renders chains of the demo model into a store below `folder`."""

    def __init__(self, folder: Path):
        from longtake.demo_model import folder as demo
        from longtake.pipelines.families.wan22_sampling import SamplingSettings
        from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
        from longtake.pipelines.load.diffusers.folder import DEFAULT, open_folder
        from longtake.pipelines.takes.store import Store

        def bundle(path: Path) -> Any:
            return bundle_from_folder(open_folder(path.name, [str(path.parent)], DEFAULT), "default", None)

        demo.write_text_to_video(folder / "text-to-video")
        self.from_text, self.from_frames = bundle(folder / "text-to-video"), bundle(demo.FOLDER)
        self.sampling = SamplingSettings(steps=10, cfg_high=1.0, cfg_low=1.0, shift=5.0, boundary=0.9)
        self.store = Store(folder / "output" / "longtake")

    def chain(self, prompt: str, mode: str, seeds: Sequence[int]) -> Any:
        """A chain with a stage for each seed; the first is from text alone."""
        chain = self._stage(None, self.from_text, prompt, seeds[0], "")
        for seed in seeds[1:]:
            chain = self._by_hand(chain, prompt, seed) if mode == BY_HAND else self._smooth(chain, prompt, seed, mode)
        return chain

    def _smooth(self, chain: Any, prompt: str, seed: int, mode: str) -> Any:
        return self._stage(chain, self.from_frames, prompt, seed, mode)

    def _by_hand(self, chain: Any, prompt: str, seed: int) -> Any:
        """What a chain by core's own nodes is: decode, take the last frame, and begin anew with it as an image."""
        import torch
        from longtake.pipelines.chain.chain import Link
        from longtake.pipelines.chain.decode import decoded
        from longtake.pipelines.stage.check import plan_stage

        last = torch.from_numpy(decoded(chain.links[-1])[-1:].astype(np.float32) / 65535)
        alone = self._stage(None, self.from_frames, prompt, seed, "", last)
        clip = plan_stage(self._asked(prompt, seed, "pixels 1"), self.from_frames, chain)
        return chain.append(Link(clip, alone.links[0].take, self.from_frames))

    def _stage(self, chain: Any, model: Any, prompt: str, seed: int, mode: str, image: Any = None) -> Any:
        from longtake.pipelines.stage.check import check_stage
        from longtake.pipelines.stage.render import render_stages

        ready = check_stage(self._asked(prompt, seed, mode, image), model, chain)
        return render_stages(self.store, [ready], Quiet(), chain)

    def _asked(self, prompt: str, seed: int, mode: str, image: Any = None) -> Any:
        from longtake.demo_model.world import SIZE
        from longtake.pipelines.stage.stage import Stage
        from longtake.pipelines.timeline.clips import Carry, Join, Length, Transition

        join = Join()
        if mode:
            carry, frames = mode.split(",")[0].split()
            join = Join(Transition.SMOOTH, int(frames), carry=Carry(carry))
        return Stage(
            prompt, "", Length(frames=FRAMES), seed, join, SIZE, SIZE, start_image=image, sampling=self.sampling
        )


def film_of(chain: Any, matched: bool) -> np.ndarray:
    """Every frame that Stitch Chain shows: `[frames, H, W, 3]` in 0..1."""
    from longtake.pipelines.chain.decode import decoded
    from longtake.pipelines.film.colour import Match
    from longtake.pipelines.film.stitch import Film

    film = Film(chain, decoded, Match(chain, decoded) if matched else None)
    return np.stack([np.asarray(frame) for frame in film.frames()]).astype(np.float32) / 65535


def first_frames(chain: Any) -> list[int]:
    """Of the film, the frame with which each stage begins, and its end."""
    starts, end = [0], 0
    for span in chain.spans:
        end += span.stop - span.first
        starts.append(end)
    return starts


@dataclass(frozen=True)
class Look:
    """What is seen in each frame of a film.

    Attributes:
        colour: of the shape, `[frames, 3]` in 0..1.
        contrast: distance of the shape's colour from the ground's.
        sharpness: the steepest edges, in parts of the contrast a pixel.
    """

    colour: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray

    @classmethod
    def at(cls, film: np.ndarray) -> Look:
        ground = np.median(film, axis=(1, 2))
        difference = np.linalg.norm(film - ground[:, None, None], axis=-1)
        inside = difference > 0.6 * np.quantile(difference, 0.98, axis=(1, 2))[:, None, None]
        colour = (film * inside[..., None]).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1)[:, None]
        contrast = np.linalg.norm(colour - ground, axis=-1)
        # On a torus, as the world is: a shape on the border has an edge there too.
        across, down = (np.linalg.norm(film - np.roll(film, 1, axis), axis=-1) for axis in (2, 1))
        steepest = np.quantile(np.maximum(across, down), 0.98, axis=(1, 2))
        return cls(colour, contrast, steepest / np.maximum(contrast, 1e-3))


def measured(film: np.ndarray, starts: Sequence[int], scene: Any) -> dict[str, Any]:
    """All measures of one film, per seam and per stage.

    Args:
        starts: as of `first_frames`.
        scene: what its prompt says.
    """
    import torch
    from longtake.demo_model import measure

    pixels = torch.from_numpy(film).permute(3, 0, 1, 2)[None] * 2 - 1
    seen, first, last = (measure.look(part) for part in (pixels, pixels[:, :, : starts[1]], pixels[:, :, starts[-2] :]))
    told = [float(int(one.shape) == scene.shape and int(one.colour) == scene.colour) for one in (first, last)]
    result: dict[str, Any] = {"identity_first": told[0], "identity": told[1], **_stages(Look.at(film), starts)}
    seams = [_seam(film, seen.centre[0].numpy(), seam) for seam in starts[1:-1]]
    return result | {key: [seam[key] for seam in seams] for key in seams[0]}


def _seam(film: np.ndarray, centre: np.ndarray, seam: int) -> dict[str, float | None]:
    around = film[max(0, seam - AROUND) : seam + AROUND]
    changes = np.abs(np.diff(around, axis=0)).mean((1, 2, 3))
    at = min(seam, AROUND) - 1
    usual = max(float(np.median(np.delete(changes, at))), 1e-6)
    before = (centre[seam - 1] - centre[seam - 1 - LATER]) / LATER
    after = (centre[min(seam + LATER, len(centre) - 1)] - centre[seam]) / LATER
    speeds = np.linalg.norm(before), np.linalg.norm(after)
    turned = np.degrees(np.arccos(np.clip(before @ after / max(speeds[0] * speeds[1], 1e-9), -1, 1)))
    return {
        "jump": round(float(changes[at]) / usual, 4),
        "late_jump": round(float(changes[at + 1 : at + 1 + LATER].max()) / usual, 4),
        "speed": round(abs(float(speeds[1] - speeds[0])), 4),
        "angle": round(float(turned), 2) if min(speeds) > 0.25 else None,  # a shape that stands has no direction
    }


def _stages(look: Look, starts: Sequence[int]) -> dict[str, list[float]]:
    """Colour's distance, contrast and sharpness of each stage, in % of stage 1, and of the film's two ends."""
    parts = [slice(*pair) for pair in pairwise(starts)]
    contrast, sharpness = (values / values[parts[0]].mean() * 100 for values in (look.contrast, look.sharpness))
    first = look.colour[parts[0]].mean(0)
    few = max(1, round(SHARE * starts[-1]))
    ends = slice(0, few), slice(-few, None)
    colour = [100 * float(np.linalg.norm(look.colour[part].mean(0) - first)) for part in parts]
    head, tail = (look.colour[end].mean(0) for end in ends)
    result = {"colour": colour, "colour_ends": [100 * float(np.linalg.norm(head - tail))]}
    for name, values in (("contrast", contrast), ("sharpness", sharpness)):
        result[name] = [float(values[part].mean()) for part in parts]
        result[f"{name}_ends"] = [abs(float(values[ends[0]].mean() - values[ends[1]].mean()))]
    return {name: [round(value, 4) for value in values] for name, values in result.items()}


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def scenes(count: int) -> list[Any]:
    """Scenes that move, the same ones however many are asked for."""
    from longtake.demo_model import world

    moving = [scene for scene in world.SCENES if scene.motion != world.STILL]
    order = np.random.default_rng(20).permutation(len(moving))
    return [moving[index] for index in order[:count]]


def render(options: argparse.Namespace) -> None:
    """Render and measure the chains that have no line yet."""
    import torch

    from tests.host.inprocess import enter_comfyui, use_folders
    from tests.host.place import Place

    enter_comfyui(Place.here().comfyui)
    share, shares = (int(number) for number in options.share.split("/"))
    until = time.monotonic() + 60 * options.minutes
    done = {(line["stages"], line["chain"], line["mode"]) for line in lines()}
    for number, scene in enumerate(scenes(options.chains)):
        missing = [mode for mode in options.modes if (options.stages, number, mode) not in done]
        if number % shares != share - 1 or not missing:
            continue
        with tempfile.TemporaryDirectory() as name, unflushed():
            use_folders(Path(name))
            studio = Studio(Path(name))
            for mode in missing:
                if time.monotonic() > until:
                    return
                with torch.inference_mode():  # as ComfyUI runs its nodes
                    line = _line(studio, number, scene, mode, options.stages)
                _add(line)


def _line(studio: Studio, number: int, scene: Any, mode: str, stages: int) -> dict[str, Any]:
    started = time.process_time()
    first = 1000 * number
    # The first stage is the same film in every mode: only what is handed on differs.
    later = first + (500 if mode == OTHER_SEEDS else 0)
    chain = studio.chain(scene.prompt, mode, [first, *range(later + 1, later + stages)])
    starts = first_frames(chain)
    films = {name: measured(film_of(chain, matched), starts, scene) for name, matched in (("off", False), ("on", True))}
    seconds = round(time.process_time() - started, 1)
    about = {"stages": stages, "chain": number, "mode": mode, "prompt": scene.prompt, "seconds": seconds}
    return {**about, "load": round(os.getloadavg()[0], 1), **films}


def _add(line: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(f"chain {line['chain']}, {line['stages']} stages, {line['mode']}: {line['seconds']:.0f} s", flush=True)


def shown(film: dict[str, Any]) -> list[bool]:
    """Whether each stage still shows the shape."""
    return [contrast >= GONE for contrast in film["contrast"]]


def steady(film: dict[str, Any]) -> list[bool]:
    """Whether each stage shows it to its end: one that fades away says nothing of colour and edges."""
    there = shown(film)
    return [now and after for now, after in zip(there, [*there[1:], True], strict=True)]


def value_of(film: dict[str, Any], key: str) -> float | None:
    """One figure of a film: the mean over its seams, or the slope over its stages; None where there is nothing to see.

    Where the shape has faded into the ground, its motion, colour and edges are those of noise and do not count.
    """
    there = shown(film)
    if key == "lasting":
        return float(np.mean(there))
    if key.startswith("identity"):
        return film[key] * there[0 if key == "identity_first" else -1]
    if key.endswith("_slope"):
        name = key.removesuffix("_slope")
        stages = [stage for stage, still in enumerate(steady(film)) if still or name == "contrast"]
        return float(np.polyfit(stages, [film[name][stage] for stage in stages], 1)[0]) if len(stages) > 1 else None
    if key.endswith("_ends"):
        return film[key][0] if steady(film)[-1] or key == "contrast_ends" else None
    seams = [value for value, pair in zip(film[key], pairwise(there), strict=True) if all(pair) and value is not None]
    return float(np.mean(seams)) if seams else None


@dataclass(frozen=True)
class Interval:
    """A mean over chains and its 95 % interval: 2.5 and 97.5 % of the means of chains drawn again with replacement."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        sample = np.asarray(values)
        drawn = np.random.default_rng(1).integers(len(sample), size=(RESAMPLED, len(sample)))
        low, high = np.quantile(sample[drawn].mean(1), (0.025, 0.975))
        return cls(float(sample.mean()), float(low), float(high))

    def text(self, digits: int) -> str:
        return f"{self.mean:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


class Table:
    """The results of chains of one length.

    Args:
        stages: of a chain.
    """

    def __init__(self, found: Sequence[dict[str, Any]], stages: int):
        self.stages = stages
        self.found = {(line["mode"], line["chain"]): line for line in found if line["stages"] == stages}
        self.modes = [mode for mode in MODES if any(mode == known for known, _ in self.found)]
        self.chains = sorted({chain for _, chain in self.found})

    def values(self, mode: str, matched: str, key: str) -> dict[int, float]:
        """Chain -> figure."""
        films = {chain: self.found[mode, chain][matched] for chain in self.chains if (mode, chain) in self.found}
        figures = {chain: value_of(film, key) for chain, film in films.items()}
        return {chain: figure for chain, figure in figures.items() if figure is not None}

    def curve(self, mode: str, matched: str, name: str) -> np.ndarray:
        """Stage by stage, the mean over the chains that show their shape to the end of it; NaN where none does."""
        films = [line[matched] for (known, _), line in self.found.items() if known == mode]
        still = np.array([steady(film) for film in films])
        values = np.ma.masked_array([film[name] for film in films], ~still & (name != "contrast"))
        return values.mean(0).filled(np.nan)

    def difference(self, one: tuple[str, str], other: tuple[str, str], key: str) -> Interval | None:
        """Of two ways, chain by chain; None where fewer than three chains have both."""
        first, second = self.values(*one, key), self.values(*other, key)
        both = [first[chain] - second[chain] for chain in first.keys() & second.keys()]
        return Interval.of(both) if len(both) > 2 else None

    def floor(self, key: str, matched: str) -> float | None:
        """How far two means lie apart where nothing but the seeds differs, at most, in 95 of 100 such runs."""
        apart = self.difference((FLOOR_OF, matched), (OTHER_SEEDS, matched), key)
        return None if apart is None else max(abs(apart.low), abs(apart.high))

    def rows(self, matched: str, measures: Sequence[Measure]) -> Iterator[list[str]]:
        floors = [(self.floor(measure.key, matched), measure.digits) for measure in measures]
        yield ["**noise floor**", "", *("-" if value is None else f"{value:.{n}f}" for value, n in floors)]
        for mode in self.modes:
            cells = [(list(self.values(mode, matched, measure.key).values()), measure.digits) for measure in measures]
            chains = max(len(values) for values, _ in cells)
            yield [mode, f"{chains}", *(Interval.of(values).text(n) if values else "-" for values, n in cells)]

    def claims(self, reference: tuple[str, str]) -> Iterator[str]:
        """What differs from `reference` by more than the noise floor, its whole interval on one side of zero."""
        for mode in self.modes:
            for matched in ("off", "on"):
                if mode == OTHER_SEEDS or (mode, matched) == reference:
                    continue
                parts = [part for measure in MEASURES if (part := self._claim(mode, matched, reference, measure))]
                yield f"- {_way(mode, matched)}: {'; '.join(parts) or 'nothing outside the noise'}."

    def _claim(self, mode: str, matched: str, reference: tuple[str, str], measure: Measure) -> str | None:
        apart, floor = self.difference((mode, matched), reference, measure.key), self.floor(measure.key, matched)
        if apart is None or floor is None or abs(apart.mean) <= floor or apart.low <= 0 <= apart.high:
            return None
        mine, theirs = (self.values(*way, measure.key) for way in ((mode, matched), reference))
        both = mine.keys() & theirs.keys()
        off = [abs(np.mean([values[chain] for chain in both]) - measure.best) for values in (mine, theirs)]
        by, low, high = (f"{value:+.{measure.digits}f}" for value in (apart.mean, apart.low, apart.high))
        return f"{measure.name} {'better' if off[0] < off[1] else 'worse'}, {by} ({low} to {high})"

    def same_as_by_hand(self) -> str:
        """A sentence on `pixels 1`, where it was rendered."""
        both = [chain for chain in self.chains if {(BY_HAND, chain), ("pixels 1", chain)} <= self.found.keys()]
        same = sum(
            all(
                self.found[BY_HAND, chain][matched] == self.found["pixels 1", chain][matched]
                for matched in ("off", "on")
            )
            for chain in both
        )
        return f" `pixels 1` has exactly the figures of `by hand` in {same} of {len(both)} chains." if both else ""


def _way(mode: str, matched: str) -> str:
    return f"{mode}, matching {matched}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def page() -> None:
    """Write docs/continuity.md and its picture from every line there is."""
    found = lines()
    if not found:
        return
    tables = [Table(found, stages) for stages in sorted({line["stages"] for line in found})]
    minutes, loads = sum(line["seconds"] for line in found) / 60, [line["load"] for line in found]
    meanings = "\n".join(f"- {measure.name}: {measure.meaning}" for measure in MEASURES)
    parts = [INTRODUCTION.format(frames=FRAMES, meanings=meanings)]
    for table in tables:
        parts.append(
            f"## Chains of {table.stages} stages\n\n{len(table.chains)} prompts; means over chains and their 95 % "
            f"intervals.{table.same_as_by_hand()}"
        )
        for reference in ((BY_HAND, "off"), (USUAL, "off")):
            claims = "\n".join(table.claims(reference))
            parts.append(f"Against {_way(*reference)}, chain by chain, outside the noise:\n\n{claims}")
        for measures, where in ((AT_SEAMS, "At the seams"), (OVER_FILM, "Over the film")):
            head = ["handed on", "chains", *(measure.head for measure in measures)]
            for matched in ("off", "on"):
                parts.append(
                    f"{where}, colour matching {matched}:\n\n{_markdown(head, list(table.rows(matched, measures)))}"
                )
    parts.append("![Contrast, sharpness and colour, stage by stage](continuity.png)")
    parts.append(
        LIMITS.format(minutes=f"{minutes:.0f}", low=min(loads), high=max(loads), busy=busy(), lines=len(found))
    )
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    _plot(max(tables, key=lambda table: len(table.found)), PAGE.with_suffix(".png"))


INK = ("#222222", "#7f7f7f", "#d62728", "#1f77b4", "#9467bd", "#ff7f0e", "#2ca02c", "#17becf", "#e0a0a0")


def _plot(table: Table, path: Path) -> None:
    """Colour, contrast and sharpness over the stages, means over chains; matching off above, on below."""
    from PIL import Image, ImageDraw

    width, height, margin, legend = 360, 230, 34, 26 + 14 * len(table.modes)
    picture = Image.new("RGB", (3 * width, 2 * height + legend), "white")
    pen = ImageDraw.Draw(picture)
    for column, (name, title) in enumerate(
        (("contrast", "contrast, % of stage 1"), ("sharpness", "sharpness, % of stage 1"), ("colour", "colour, % off"))
    ):
        curves = {
            (mode, matched): table.curve(mode, matched, name) for mode in table.modes for matched in ("off", "on")
        }
        low, high = min(map(np.nanmin, curves.values())), max(map(np.nanmax, curves.values()))
        for row, matched in enumerate(("off", "on")):
            left, top = column * width + margin, row * height + margin
            inner = width - 2 * margin, height - 2 * margin
            pen.rectangle((left, top, left + inner[0], top + inner[1]), outline="#bbbbbb")
            pen.text((left, top - 16), f"{title}, matching {matched}", "black")
            pen.text((left - margin + 2, top), f"{high:.0f}", "black")
            pen.text((left - margin + 2, top + inner[1] - 10), f"{low:.0f}", "black")
            pen.text((left, top + inner[1] + 4), f"stage 1 to {table.stages}", "black")
            for mode, ink in zip(table.modes, INK, strict=False):
                values = curves[mode, matched]
                across = np.linspace(left, left + inner[0], len(values))[~np.isnan(values)]
                values = values[~np.isnan(values)]
                down = top + inner[1] * (1 - (values - low) / max(high - low, 1e-6))
                pen.line(list(zip(across.tolist(), down.tolist(), strict=True)), ink, 2)
    for index, (mode, ink) in enumerate(zip(table.modes, INK, strict=False)):
        y = 2 * height + 8 + 14 * index
        pen.line((margin, y + 6, margin + 30, y + 6), ink, 3)
        pen.text((margin + 40, y), mode, "black")
    picture.save(path, optimize=True)


INTRODUCTION = """\
# Continuity

How well films go on over their seams, measured on the demo model (demo_model/MODEL_CARD.md), in whose world the truth
is known: one shape that moves steadily on a plain ground. Every chain has one prompt for all its stages, stages of
{frames} frames, and the same seeds and the same first stage in every row. Written by benchmarks/continuity.py.

`by hand` is what chaining by ComfyUI's own nodes is: decode, take the last frame, begin anew with it as an image.
`pixels n` and `latents n` are Chain Stage's carry-over with an overlap of n frames.

{meanings}

A shape may fade into the ground; from then on only contrast, `right at the end` and `stages shown` count it, and the
other figures are of the stages that still show it, colour and sharpness of those that show it to their end.

The noise floor comes first in each table: `pixels 5` rendered twice, with other seeds from stage 2 on, and how far the
two means lie apart at most in 95 of 100 such runs. A difference below it, or one whose interval holds zero, is not
claimed."""

LIMITS = """\
## What this cannot say

It is one tiny model, 64 x 64 pixels, one shape and one training seed. Its VAE's encoder is linear and sees no slot
but its own, so what a real VAE loses on the way to pixels and back is not in these figures; neither are textures,
faces, cameras or sound. Stages of more overlap add fewer frames to the film, so that their chains are shorter in
seconds. Many measures stand side by side, and one in twenty leaves its interval by chance: a difference that
stands alone is weak. Of fewer than ten chains an interval is narrower than it should be. A row of fewer chains holds
the first prompts only: its means are not comparable with those of other rows, the lists above are. Chains that fade
early count in `stages shown` and hardly in the rest. The shape's sub-pixel position moves the sharpness of single
frames. Colour is matched by every fourth pixel of every fourth row, 256 of a frame this small: what a match is off by
may add up more than in a real film, which was not tried. Blends over the overlap and cures for drift are not in the
tables.

{lines} films, {minutes} minutes of processor time; load between {low:.1f} and {high:.1f} while they ran. {busy}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=20)
    parser.add_argument("--stages", type=int, default=8, help="of a chain")
    parser.add_argument("--modes", type=lambda text: text.split("; "), default=list(MODES), help="joined by '; '")
    parser.add_argument("--minutes", type=float, default=60, help="after which no chain is begun")
    parser.add_argument("--share", default="1/1", help="1/2: every other chain, for two processes")
    options = parser.parse_args()
    if unknown := set(options.modes) - set(MODES):
        parser.error(f"{', '.join(sorted(unknown))}: the modes are {'; '.join(MODES)}")
    if options.minutes:
        render(options)
    page()


if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    main()
