"""What Seam Report's thresholds for sound rest on: steps of loudness in ordinary recordings, where there is no seam.

    python benchmarks/seam_sound.py "speech=FOLDER" "music=FOLDER"

Measures, with the code of the report, by how much each recording below a folder gets louder or quieter at one place in
every tenth of a second, and writes benchmarks/results/seam_sound.md. Recordings are not part of the project: the page
says which were used.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "benchmarks" / "results" / "seam_sound.md"
ENDINGS = {".wav", ".ogg", ".mp3", ".flac"}
QUANTILES = (0.5, 0.95, 0.99)
PLACES = 10  # a second


@dataclass(frozen=True)
class Recording:
    """A sound with the clock of a film whose frames are a tenth of a second long.

    Attributes:
        samples: `[C, N]`, -1..1.
    """

    samples: np.ndarray
    sample_rate: int

    @classmethod
    def at(cls, path: Path) -> Recording:
        import av

        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            plain = av.AudioResampler("fltp", stream.layout, stream.rate)
            blocks = [block.to_ndarray() for frame in container.decode(stream) for block in plain.resample(frame)]
            return cls(np.concatenate(blocks, axis=1), stream.rate)

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.sample_rate

    def sample(self, frame: int) -> int:
        return round(frame / PLACES * self.sample_rate)

    def blocks(self) -> Iterator[np.ndarray]:
        yield self.samples

    def steps(self) -> list[float]:
        """Steps of loudness, dB, at every place with half a second on either side."""
        from longtake.pipelines.film.measures import SOUND_SECONDS, sound_steps

        edge = round(SOUND_SECONDS * PLACES)
        return sound_steps(self, range(edge, int(self.seconds * PLACES) - edge))  # type: ignore[arg-type]


def row(kind: str, recordings: Sequence[Recording]) -> list[str]:
    from longtake.pipelines.film.seams import SOUND

    steps = np.abs([step for recording in recordings for step in recording.steps()])
    beyond = (f"{np.mean(steps >= bound):.1%}" for bound in (SOUND.visible, SOUND.broken))
    length = f"{len(recordings)}, {sum(recording.seconds for recording in recordings):.0f} s"
    return [kind, length, *(f"{value:.1f}" for value in np.quantile(steps, QUANTILES)), *beyond]


def main(arguments: Sequence[str]) -> None:
    from longtake.pipelines.film.seams import SOUND

    head = ["what", "recordings", *(f"{q:.0%}" for q in QUANTILES), f"{SOUND.visible:g} dB", f"{SOUND.broken:g} dB"]
    rows, names = [head, ["---"] * len(head)], []
    for kind, folder in (argument.split("=", 1) for argument in arguments):
        paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in ENDINGS)
        rows.append(row(kind, [Recording.at(path) for path in paths]))
        names.append(f"- {kind}: {', '.join(path.stem for path in paths)}")
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    PAGE.write_text(INTRODUCTION + table + "\n\nThe recordings:\n\n" + "\n".join(names) + "\n", encoding="utf-8")
    print(table)


INTRODUCTION = """\
# What Seam Report's thresholds for sound rest on

By how many dB ordinary recordings get louder or quieter from one half second to the next, where there is no seam: at
ten places a second, without signs, quantiles, and the share of places beyond each bound. Written by
benchmarks/seam_sound.py.

"""

if __name__ == "__main__":
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)
    main(sys.argv[1:])
