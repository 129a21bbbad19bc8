"""Measures every row and writes docs/parity.md: `python tests/run.py oracle.write`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.host.inprocess import enter_comfyui, use_folders, use_models
from tests.host.place import Place
from tests.tiny.models import tiny_models

from .bench import Bench
from .table import DOCUMENT, figure, rows, written


def main() -> None:
    place = Place.here()
    models = tiny_models(place)
    enter_comfyui(place.comfyui)
    use_models(models)
    use_folders(Path(tempfile.mkdtemp()))
    import torch

    bench = Bench(models / "diffusers")
    figures = {}
    with torch.inference_mode():
        for one in rows():
            figures[one.key] = one.measure(bench)
            print(f"{figure(figures[one.key]):>8}  {one.group}: {one.key}", flush=True)
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(written(figures), encoding="utf-8")
    sys.exit(any(figures[one.key] > one.bound for one in rows()))


if __name__ == "__main__":
    main()
