"""Take the README's picture: python tests/run.py browser.pictures"""

from __future__ import annotations

import json
import math
from typing import Any

from tests.browser.browser import Canvas, canvas
from tests.host.place import ROOT, Place
from tests.host.server import Server
from tests.host.workflows import canvas_file, put_inputs
from tests.tiny.models import tiny_models

FOLDER = ROOT / "docs"
WORKFLOW = "wan22_i2v_long_film"
# Of the page, in pixels; the panels at its left and top are cut off.
WIDTH, MARGIN = 2000, 20
LEFT, TOP = 60, 100
SHARPNESS = 1.6

SHOW = """([left, top, scale]) => {
  app.canvas.ds.scale = scale;
  app.canvas.ds.offset[0] = left;
  app.canvas.ds.offset[1] = top;
}"""


def show(opened: Canvas, boxes: list[list[float]], width: int = WIDTH) -> dict[str, float]:
    """Bring the frames to the width of the page; return the part of the page that they fill, for a screenshot."""
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    scale = (width - LEFT - 2 * MARGIN) / (right - left)
    opened.ask(SHOW, [(LEFT + MARGIN) / scale - left, (TOP + MARGIN) / scale - top, scale])
    opened.settle(1500)
    return {
        "x": LEFT,
        "y": TOP,
        "width": width - LEFT,
        "height": math.ceil((bottom - top) * scale) + 2 * MARGIN,
    }


def read(name: str) -> dict[str, Any]:
    return json.loads(canvas_file(name).read_text(encoding="utf-8"))


def take_readme_picture(server: Server) -> None:
    graph = read(WORKFLOW)
    with canvas(server, nodes_2=True, size=(WIDTH, 1200), scale=SHARPNESS) as opened:
        opened.load(graph, WORKFLOW)
        part = show(opened, [group["bounding"] for group in graph["groups"]])
        FOLDER.mkdir(exist_ok=True)
        opened.page.screenshot(path=FOLDER / "canvas.png", clip=part)


def main() -> None:
    place = Place.here()
    server = Server(place, ROOT / "build" / "browser", tiny_models(place))
    put_inputs(server.input)
    with server:
        take_readme_picture(server)


if __name__ == "__main__":
    main()
