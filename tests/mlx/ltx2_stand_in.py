"""A stand-in for ltx-2-mlx, which runs on a Mac alone. It renders nothing.

It says the recorded help, takes the options that stand there, and writes a video of one colour with a tone by PyAV, of
the size, length and rate it is asked for; `extend` and `retake` take those of the video they are given. What it was
told is added to a file as a line of JSON. STAND_IN_FAULT has it fail as the real one may.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

FAULT = os.environ.get("STAND_IN_FAULT", "")


def recorded(subcommand: str) -> str:
    sections = re.split(r"^== ?(.*)\n", Path(os.environ["STAND_IN_HELP"]).read_text(), flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))[subcommand]


def parsed(subcommand: str, arguments: list[str]) -> dict[str, str]:
    """Options and their values, by the recorded help: unknown ones, and needed ones that are not there, are errors."""
    usage = recorded(subcommand)
    heads = re.findall(r"^  (--[\w-]+)(?: ([A-Z{[]\S*))?", usage, flags=re.MULTILINE)
    takes = {name: bool(value) for name, value in heads}
    given: dict[str, str] = {}
    for argument in arguments:
        name, joined, value = argument.partition("=")
        if name not in takes or takes[name] != bool(joined):
            sys.exit(f"error: unrecognized arguments: {argument}")
        given[name] = value
    needed = set(re.findall(r" (--[\w-]+) [A-Z_]+(?= |$)", re.sub(r"\[[^]]*\]", "", usage.split("\n\n")[0])))
    if needed - set(given):
        sys.exit(f"error: the following arguments are required: {needed - set(given)}")
    return given


def asked(subcommand: str, given: dict[str, str]) -> tuple[int, int, int, float]:
    import av

    if subcommand in ("generate", "a2v"):
        width, height, frames = (int(given[name]) for name in ("--width", "--height", "--frames"))
        return width, height, frames, float(given["--frame-rate"])
    with av.open(given["--video"]) as video:
        stream = video.streams.video[0]
        frames = (stream.frames - 1) // 8 * 8 + 1 + 8 * int(given.get("--extend-frames", 0))
        return stream.width, stream.height, frames, float(stream.average_rate)


def write(path: str, width: int, height: int, frames: int, rate: float) -> None:
    import av
    import numpy as np

    with av.open(path, "w") as container:
        picture = container.add_stream("libx264", rate=round(rate))
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        tone = container.add_stream("aac", rate=48000, layout="stereo")
        colour = np.full((height, width, 3), (200, 40, 40), np.uint8)
        for _ in range(frames):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(colour)))
        container.mux(picture.encode())
        samples = np.full((2, round(frames / rate * 48000)), 0.25, np.float32)
        sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        sound.sample_rate = 48000
        container.mux(tone.encode(sound))
        container.mux(tone.encode())


def main() -> None:
    subcommand, *arguments = sys.argv[1:]
    if subcommand == "--help":
        sys.exit(print(recorded("")))
    if arguments == ["--help"]:
        sys.exit(print(recorded(subcommand)))
    given = parsed(subcommand, arguments)
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(json.dumps({"sub": subcommand, **given, "temp": os.environ["TMPDIR"]}) + "\n")
    sys.stderr.write("[Loading DiT] ...\n")
    sys.stderr.write("Denoising:  50%|#####     | 4/8\rDenoising: 100%|##########| 8/8\n")
    if FAULT == "crash":
        sys.exit("RuntimeError: no Metal device")
    if FAULT == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(f"[child] {child.pid}", flush=True)
        time.sleep(600)
    if FAULT == "broken":
        Path(given["--output"]).write_bytes(b"no video")
    if FAULT in ("nothing", "broken"):
        return
    width, height, frames, rate = asked(subcommand, given)
    wrong = {"size": (width, height - 32, frames, rate), "rate": (width, height, frames, rate + 1)}
    write(given["--output"], *wrong.get(FAULT, (width, height, frames, rate)))
    print(f"Saved to: {given['--output']}")


if __name__ == "__main__":
    main()
