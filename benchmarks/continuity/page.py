"""Writes docs/continuity.md and its pictures from every line there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from . import drift
from .deliveries import DRIFTED, GAIN, MATCHED, OTHERWISE, RENDERED, STEP
from .figures import AT_SEAMS, MEASURES, OVER_FILM, Measure
from .handing import AGAIN, BY_HAND, CURED, LATENTS, PIXELS, USUAL, WITHOUT
from .measures import LENGTHS
from .plot import plot
from .results import Films, Results, Way
from .statistics import FEWEST, Interval, Verdict
from .studio import FRAMES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "continuity.md"
ROWS = tuple(handing.name for handing in (BY_HAND, *PIXELS, *LATENTS, AGAIN))
# What each way has to beat to be worth it: the next simpler one.
NEIGHBOURS = (
    (USUAL, BY_HAND),
    (PIXELS[2], USUAL),
    (PIXELS[3], PIXELS[2]),
    (PIXELS[3], USUAL),
    (LATENTS[2], USUAL),
    *zip(LATENTS, PIXELS[1:], strict=True),
)


def write(results: Results) -> None:
    lengths = [films for length in LENGTHS if (USUAL.name, RENDERED) in (films := Films(results, length))]
    if not lengths:
        return
    meanings = "\n".join(f"- {measure.name}: {measure.meaning}" for measure in MEASURES)
    parts = [INTRODUCTION.format(frames=FRAMES, meanings=meanings)]
    for films in lengths:
        parts.extend(_length(films, results))
    parts.extend(_matching(lengths))
    if films := drift.read():
        parts.extend([DRIFT_AND_LIGHT, drift.table(films)])
    parts.extend(_cures(lengths))
    parts.extend([CONCLUSIONS, LIMITS])
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    for films in lengths[1:]:
        ways = {row: [(row, delivery) for delivery in (RENDERED, MATCHED)] for row in ROWS}
        drawn = [row for row in ROWS if min(map(films.count, ways[row])) >= FEWEST]
        plot(films, drawn, PAGE.with_name(_picture(films)))


def _picture(films: Films) -> str:
    return f"continuity-{films.stages}.png"


def _length(films: Films, results: Results) -> Iterator[str]:
    yield f"## Films of {films.stages} stages, as rendered"
    if films.stages == LENGTHS[0]:
        yield _same_as_by_hand(results)
    ways = [(row, RENDERED) for row in ROWS if (row, RENDERED) in films]
    yield _table(films, ways, AT_SEAMS)
    yield _table(films, ways, OVER_FILM)
    pairs = [((one.name, RENDERED), (other.name, RENDERED)) for one, other in NEIGHBOURS]
    compared = [_compared(films, *pair, f"{pair[0][0]} against {pair[1][0]}") for pair in pairs]
    yield "Each way against the next simpler one, chain by chain:\n\n" + "\n".join(filter(None, compared))
    if films.stages > LENGTHS[0]:
        yield f"![Contrast, sharpness and colour, stage by stage]({_picture(films)})"


def _same_as_by_hand(results: Results) -> str:
    """A sentence on `pixels 1`, which ought to be what is done by hand."""
    one = PIXELS[0].name
    both = [chain for handing, chain in results.lines if handing == one and (BY_HAND.name, chain) in results.lines]
    same = sum(_begins_like(results, chain) for chain in both)
    return f"`{one}` has exactly the figures of `{BY_HAND.name}` in {same} of {len(both)} chains."


def _begins_like(results: Results, chain: int) -> bool:
    """Whether both have the same seams as far as both go."""
    these, those = (results.lines[name, chain]["films"][RENDERED] for name in (PIXELS[0].name, BY_HAND.name))
    few = min(len(these["jump"]), len(those["jump"]))
    return all(these[key][:few] == those[key][:few] for key in ("jump", "late_jump", "speed", "colour", "contrast"))


def _matching(lengths: Sequence[Films]) -> Iterator[str]:
    yield "## Colour matching\n\nThe same takes, with colours matched as Stitch Chain does it against as rendered:"
    for films in lengths[1:]:
        rows = [row for row in ROWS if (row, MATCHED) in films]
        compared = [_compared(films, (row, MATCHED), (row, RENDERED), row) for row in rows]
        yield f"Films of {films.stages} stages:\n\n" + "\n".join(filter(None, compared))


def _cures(lengths: Sequence[Films]) -> Iterator[str]:
    yield CURES
    for films in lengths[1:]:
        yield from _shown_otherwise(films)
        handed = [cured.name for cured in CURED if films.count((cured.name, RENDERED)) >= FEWEST]
        if handed:
            yield f"Handed on otherwise, {films.stages} stages, as rendered, against the same without the cure:"
            yield "\n".join(
                filter(None, (_compared(films, (name, RENDERED), (WITHOUT[name], RENDERED), name) for name in handed))
            )
            yield _table(films, [(name, RENDERED) for name in handed], AT_SEAMS[:3] + OVER_FILM[1:6])


def _shown_otherwise(films: Films) -> Iterator[str]:
    measures = AT_SEAMS[:2] + OVER_FILM[3:8]
    plain = [(USUAL.name, RENDERED), (USUAL.name, MATCHED)]
    tried = [(USUAL.name, delivery.name) for delivery in OTHERWISE if (USUAL.name, delivery.name) in films]
    if tried:
        yield f"Shown otherwise: the takes of `{USUAL.name}`, {films.stages} stages."
        yield _table(films, plain + tried, measures, by_delivery=True)
        for other in plain:
            compared = [_compared(films, way, other, way[1]) for way in (*plain, *tried) if way != other]
            yield f"Against {other[1]}:\n\n" + "\n".join(filter(None, compared))
    drifted = [(USUAL.name, delivery.name) for delivery in DRIFTED if (USUAL.name, delivery.name) in films]
    if drifted:
        yield DRIFT_PUT_IN
        yield _table(films, drifted, measures, by_delivery=True)
        compared = [_compared(films, way, drifted[0], way[1]) for way in drifted[1:]]
        yield f"Against {drifted[0][1]}:\n\n" + "\n".join(filter(None, compared))


def _compared(films: Films, these: Way, those: Way, name: str) -> str | None:
    """A line that says what differs by more than chance; None where either was not measured."""
    verdicts = films.verdicts(these, those)
    if not verdicts:
        return None
    claims = [
        _claim(measure, verdict, films.floor(measure))
        for measure, verdict in verdicts
        if verdict.claimed and round(abs(verdict.apart.mean), measure.digits) > 0
    ]
    chains = max(verdict.apart.count for _, verdict in verdicts)
    return f"- {name} ({chains} chains): {'; '.join(claims) or 'not separable'}."


def _claim(measure: Measure, verdict: Verdict, floor: float | None) -> str:
    how = "better" if verdict.better else "worse"
    small = " *" if floor is not None and abs(verdict.apart.mean) <= floor else ""
    return f"{measure.name} {how}, {verdict.apart.text(measure.digits, '+')}{small}"


def _table(films: Films, ways: Sequence[Way], measures: Sequence[Measure], by_delivery: bool = False) -> str:
    head = ["shown" if by_delivery else "handed on", "chains", *(measure.head for measure in measures)]
    floors = [(films.floor(measure), measure.digits) for measure in measures]
    rows = [["**noise floor**", "", *("-" if value is None else f"{value:.{n}f}" for value, n in floors)]]
    for way in ways:
        if films.count(way) < FEWEST:
            continue
        cells = [(list(films.values(way, measure).values()), measure.digits) for measure in measures]
        rows.append([way[by_delivery], str(films.count(way)), *(_cell(values, digits) for values, digits in cells)])
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _cell(values: list[float], digits: int) -> str:
    return Interval.of(values).text(digits) if len(values) >= FEWEST else "-"


INTRODUCTION = """\
# Continuity

How well films go on over their seams, measured on the demo model (demo_model/MODEL_CARD.md), in whose world the truth
is known: one shape that moves steadily on a plain ground. Every chain has one prompt for all its stages, stages of
{frames} frames, and the same seeds and the same first stage in every row. A film of 20 stages contains those of 2 and
5: they are its first stages and were not rendered again. Written by benchmarks/continuity.

`by hand` is what chaining by ComfyUI's own nodes is: decode, take the last frame, begin anew with it as an image.
`pixels n` and `latents n` are Chain Stage's carry-over with an overlap of n frames.

{meanings}

## How to read it

Figures are means over chains, with 95 % intervals (the chains drawn again with replacement, 4000 times). A shape may
fade into the ground; from then on only contrast, `right at the end` and `stages shown` count it, and the other figures
are of the stages that still show it, colour and sharpness of those that show it to their end.

The noise floor comes first in each table: `pixels 5` rendered twice, with other seeds from stage 2 on, and how far the
two means lie apart at most in 95 of 100 such runs. Of two ways of handing on, a difference below it, or one whose
interval holds zero, is not claimed. Two ways of showing the same takes share their seeds: the interval decides, and an
asterisk says that the difference is below the floor all the same, less than other seeds would have made."""

DRIFT_AND_LIGHT = f"""\
What it costs and what it saves, in films of {drift.STAGES} stages of `{USUAL.name}`. The demo model drifts by nothing
that adds up, and its light never changes: both are put into its takes, the light over the film, the same in both clips
of a seam, and the drift from stage to stage, contrast by {GAIN - 1:.0%}, red and blue by {STEP[0]:.1%} of the range
against each other, or a quarter of that. What the film would look like without the drift is known; the figures are how
far the mean colour of a frame is from that, of 255, in the last {drift.AT_THE_END} stages. `towards stage 1` takes a
correction only as far as it brings the whole clip nearer to the first, so that a model is let that finds back by
itself."""

CURES = """\
## Cures

What might keep colour, contrast and sharpness over many seams, each against the same without it. On the delivery:

- matched: as Stitch Chain does it: of what differs over the overlap it takes back what the frames after it still have
- all that differs: as Stitch Chain did before, the whole difference over the overlap; of every fourth pixel of every
  fourth row, or of every pixel
- means alone: no change of contrast
- least squares: the gain that brings each pixel of the overlap nearest to what it was, instead of the ratio of spreads
- in linear light
- let go within the clip: a clip begins with the colours of the end before it and ends with its own
- whole clip against stage 1: mean and spread of all its frames; only for films that show the same thing throughout
- blended: the overlap goes over from the clip before to the clip after

On what is handed on: `colours of stage 1` (mean and spread of red, green and blue of the tail's pixels), `moments of
stage 1` (of the latents' channels), `noised` (by 5 % of a channel's spread) and `spectrum of stage 1` (each ring of
frequencies as strong as in the first clip, by a factor of 1.25 at most). `every 4th` begins with the colours of stage 1
anew at every fourth stage alone. An anchor of stage 1 in every stage needs a model that was trained for it."""

DRIFT_PUT_IN = f"""\
With a drift put in, since the demo model has none of its own that adds up: from stage to stage contrast grows by
{GAIN - 1:.0%}, red by {STEP[0]:.1%} of the range, and blue falls by as much. (Contrast that grows makes up for shapes
that fade: that column says nothing here.)"""

CONCLUSIONS = """\
## What follows from it

- An overlap of 5 frames beats the last frame by hand where a chain is seen to be one: less jump at the seam, and the
  motion goes on at its speed. `pixels 1` is the same as by hand, to the bit.
- One step longer is hardly better: 9 frames are not separable from 5, nor 13 from 9. Over many stages the longest adds
  up: `latents 13` jumps less than the default, keeps the speed better and more of the contrast. It adds 8 frames less
  to the film with every stage, a tenth of a stage of 81 frames. The default stays 5, as short films gain nothing by
  more; for a film of many stages 13 frames, as latents, are the setting to choose.
- With equal overlaps slot-aware latents are not separable from pixels encoded again. The default stays the simpler one,
  and the other an advanced setting. A real VAE, which loses something each time, may tell them apart; this one cannot.
- Colour matching used to take back all that differs over the overlap, and lost: colours drifted further with it than
  without, and seams jumped more. The cause is neither the grid of sampled pixels nor a motion that is followed: the
  model shows the frames it was given a little off, and the first frame of its own is right again. Carried on, that
  added up. Now only as much is taken back as the frames after the overlap still have: it loses half of what it lost
  over 5 stages.
- Colour matching is an insurance, and its price is known. Where nothing drifts, a film is shown 4 or 5 of 255 off after
  20 stages, gradually, so that no seam shows it. Where contrast grows by 2 % with every stage it is shown 7 to 10 off
  instead of 16 to 22, and the seams jump by half as much. It breaks even at about a quarter of that drift. Limiting it
  to what brings a clip nearer to stage 1 costs less where nothing drifts and saves less where light changes and
  something does: neither is better everywhere, and the plainer one stays. Models are said to drift by more than a
  quarter of that, so it is on unless it is switched off.
- Of the cures, `colours of stage 1` alone keeps more contrast, just above the noise floor, and it is made for this
  world: one scene from end to end, whose means and spreads never change. A film whose picture changes would be bent to
  look like its first stage. The pack does not have it. The others win nothing by more than chance, or lose."""

LIMITS = """\
## What this cannot say

It is one tiny model, 64 x 64 pixels, one shape and one training seed, and its shapes fade: a film of 20 stages mostly
loses its shape before it ends, whatever is handed on, and then counts in `stages shown` and hardly in the rest. Every
stage has the same prompt, which names the colour, so that the model itself draws colours back; a real film's face or
coat is not in its prompt that exactly. The VAE's encoder is linear and sees no slot but its own, so what a real VAE
loses on the way to pixels and back is not in these figures; neither are textures, faces, cameras or sound. Stages of
more overlap add fewer frames to the film: their chains are shorter in seconds. Many measures stand side by side, and
one in twenty leaves its interval by chance: a difference that stands alone is weak. Of fewer than ten chains an
interval is narrower than it should be, and a cell of fewer than three is left empty; in the pictures a line ends there.
The shape's sub-pixel position moves the sharpness of single frames."""
