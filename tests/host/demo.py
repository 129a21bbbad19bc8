"""Render a shipped workflow on a ComfyUI server with the tiny models, and say where the film is.

`python tests/run.py host.demo [NAME]`; NAME is a file of workflows/api/ without its ending.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.host.film import look_into
from tests.host.place import ROOT, Place
from tests.host.server import Server, ServerDied
from tests.host.workflows import api_prompt, put_inputs, shrink
from tests.tiny.models import tiny_models

WORKFLOW = "wan22_storyboard"
FOLDER = ROOT / "build" / "demo"
# Far more than it takes on two slow cores; past it something hangs.
TIMEOUT = 900


class Narrator:
    """Prints each new progress text once."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "progress_text" and (text := event["data"]["text"].strip()) != self.last:
            self.last = text
            print(f"  {text}", flush=True)


def render(name: str) -> Path:
    """Render workflow `name` and return the film's path; raises SystemExit with what went wrong."""
    prompt = shrink(api_prompt(name))
    shutil.rmtree(FOLDER, ignore_errors=True)
    place = Place.here()
    print("making tiny models of Wan 2.2's architecture (random weights: the film will be abstract)", flush=True)
    server = Server(place, FOLDER, tiny_models(place))
    put_inputs(server.input)
    print("starting ComfyUI", flush=True)
    try:
        with server:
            print(f"rendering workflows/api/{name}.json at a quarter of its size", flush=True)
            result = server.run(prompt, TIMEOUT, Narrator())
            if not result.ok:
                raise SystemExit(f"the workflow did not finish: {result.why()}\n\n{server.log_tail()}")
            films = [
                path for path in server.files(result) if path.suffix == ".mp4" and path.is_relative_to(server.output)
            ]
            if not films:
                raise SystemExit(f"the workflow delivered no mp4: {json.dumps(result.outputs)}\n\n{server.log_tail()}")
            return films[-1]
    except (ServerDied, TimeoutError) as error:
        raise SystemExit(str(error)) from error


def main() -> None:
    path = render(sys.argv[1] if len(sys.argv) > 1 else WORKFLOW)
    film = look_into(path)
    rate = f"{float(film.fps):g} fps, {float(film.seconds):.2f} s"
    print(f"every frame decoded: {film.frames} frames, {film.width} x {film.height}, {rate}")
    print(path)


if __name__ == "__main__":
    main()
