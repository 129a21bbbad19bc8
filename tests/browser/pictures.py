"""Take the README's picture, and one of each workflow for ComfyUI's templates: python tests/run.py browser.pictures"""

from __future__ import annotations

import json
import math
from io import BytesIO
from typing import Any

from PIL import Image

from tests.browser.browser import Canvas, canvas
from tests.host.place import ROOT, Place
from tests.host.server import Server
from tests.host.workflows import api_names, canvas_file, put_inputs, title_of
from tests.tiny.models import tiny_models

FOLDER = ROOT / "docs"
WORKFLOW = "wan22_i2v_long_film"
# Of the page, in pixels; the panels at its left and top are cut off.
WIDTH, MARGIN = 2000, 20
LEFT, TOP = 60, 100
SHARPNESS = 1.6

# The list of templates shows <workflow>.jpg beside <workflow>.json, at about this width.
CARD = (1280, 800)
SHRUNK = 0.5
QUALITY = 70
GROUND = (20, 20, 20)  # of the canvas

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


def take_cards(server: Server) -> None:
    """One picture of each workflow, the graph in its middle."""
    with canvas(server, nodes_2=True, size=CARD, scale=SHRUNK) as opened:
        for name in api_names():
            opened.load(graph := read(name), name)
            part = show(opened, [group["bounding"] for group in graph["groups"]], CARD[0])
            picture = Image.open(BytesIO(opened.page.screenshot(clip=part)))
            card = Image.new("RGB", tuple(round(side * SHRUNK) for side in CARD), GROUND)
            card.paste(picture, tuple((whole - side) // 2 for whole, side in zip(card.size, picture.size, strict=True)))
            card.save(ROOT / "workflows" / f"{title_of(name)}.jpg", quality=QUALITY)


def main() -> None:
    place = Place.here()
    server = Server(place, ROOT / "build" / "browser", tiny_models(place))
    put_inputs(server.input)
    with server:
        take_readme_picture(server)
        take_cards(server)


if __name__ == "__main__":
    main()
