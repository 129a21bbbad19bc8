"""The part of docs/parity.md that is about ComfyUI's templates.

`python tests/run.py host.templates.table` measures it again and writes it, with the Python that ComfyUI runs on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.host.place import Place
from tests.host.server import Server
from tests.oracle.table import DOCUMENT, TEMPLATES, figure
from tests.tiny.models import tiny_models

from .cases import CASES, Case, put_case_inputs
from .compare import Difference, measure

HEAD = f"""{TEMPLATES}

ComfyUI's eight templates for these models, read from the files it brings, and the same films of this pack's nodes,
rendered by one server from the same tiny models. Steps, guidance, shift, samplers, sigmas, strengths, LoRAs and prompts
are the template's. Changed in it: sizes (192x128 for LTX-2.3, 96x64 for Wan; the longer edge that its photographs are
scaled to before they are compressed is the width), the length (one second, of frames that are on the model's grid; 24
frames a second, for at its own 25 and 5 s LTX-2.3 is asked for 126 frames, renders 121 and makes sound for 126), files,
and for LTX-2.3 the seed of the second pass, which here is that of the first, and the rewriting of the prompt, which is
off.

Latents: the largest difference divided by the largest value. Frames: the largest difference of 8-bit codes, and its
mean; both films are saved by Save Image, which rounds down, and a take keeps 16 bits, so 1 is rounding. Sound: the
largest difference of 16-bit codes.

Written by `python tests/run.py host.templates.table`; every test run measures it again.

| film | template | latents | frames | latents of sound | sound |
|---|---|---|---|---|---|
"""

FOOT = """
**Photographs of another size.** This pack scales them to cover the stage's size with Lanczos, all images of all
families, so that a first and a last frame cannot be shifted against each other. The LTX-2.3 templates for one image do
the same. Wan's nodes use bilinear, and the template for first and last frames of LTX-2.3 nearest-exact, both without a
filter, which on a photograph three times as large or more lets fine detail through as false patterns: against an ideal
low-pass of four photographs, Lanczos comes within 37.9 to 43.4 dB at a third of the size and bilinear within 27.6 to
32.3. To have a template's frames to the bit, put ComfyUI's Upscale Image with its method and crop `center` before the
stage.

**The sound that a picture follows.** Lightricks' code and diffusers show the model the number of latents nearest to
the clip's length (25 frames at 24 a second: 26.04, so 26), and so does this pack; the film hears one more where that
reaches its end. The template has as many as its sound gives, and ComfyUI's audio VAE first crops that to whole blocks
of 4096 samples at 44.1 kHz, evenly on both sides: a sound of one second begins 36 ms late and gives 24 latents, the
template's own of 9 s begins 42 ms late. This pack crops nothing, so that lips move when the sound is heard. Where the
template's sound is of whole blocks both films are the same; where it is not they differ, as the last row says.
"""


def line(case: Case, found: Difference) -> str:
    """A row of the table."""
    cells = [case.title, case.template, figure(found.latent), f"{found.frames} of 255, mean {found.mean_frames:.2g}"]
    if found.sound_latent is None or found.sound_latents is None:
        return f"| {' | '.join([*cells, '-', '-'])} |"
    ours, theirs = found.sound_latents
    counted = f", {ours} here, {theirs} there" if ours != theirs else ""
    return f"| {' | '.join([*cells, figure(found.sound_latent) + counted, f'{found.sound} of 32768'])} |"


def keys(text: str) -> list[tuple[str, str]]:
    """Film and template of each row of the document."""
    rows = [row.split(" | ") for row in text[text.index(TEMPLATES) :].splitlines() if row.startswith("| ")]
    return [(row[0].removeprefix("| "), row[1]) for row in rows[1:]]


def write(found: Sequence[Difference]) -> None:
    before = DOCUMENT.read_text(encoding="utf-8").partition(TEMPLATES)[0]
    lines = [f"{line(case, one)}\n" for case, one in zip(CASES, found, strict=True)]
    DOCUMENT.write_text("".join([before.rstrip(), "\n\n", HEAD, *lines, FOOT]), encoding="utf-8")


def main() -> None:
    place = Place.here()
    with Server(place, Path(tempfile.mkdtemp()), tiny_models(place)) as server:
        put_case_inputs(server.input)
        known = server.object_info()
        found = []
        for case in CASES:
            found.append(measure(server, case, known))
            print(line(case, found[-1]), flush=True)
    write(found)


if __name__ == "__main__":
    main()
