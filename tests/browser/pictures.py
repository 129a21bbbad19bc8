"""Take the pictures of the README and of the help pages: python tests/run.py browser.pictures"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from tests.browser.browser import Canvas, canvas, tiny_server
from tests.browser.cards import OPEN, Cards
from tests.host.demo import FADE, FRAMES, IMAGE_TO_VIDEO, SEED, SIDE, STAGES, demo_models, film_graph, load
from tests.host.place import ROOT, Place
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.workflows import canvas_file

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

# Nodes that would lie over the storyboard's.
ASIDE = """() => app.graph.nodes.forEach((node) => {
  if (/Stitch|Encode/.test(node.comfyClass)) node.pos = [node.pos[0] + 2000, node.pos[1]]
})"""


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


def put_shapes(folder: Path) -> None:
    """First frames in the world of the demo model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, ground, colour in (("circle.png", "#000000", "#e02020"), ("square.png", "#808080", "#e8e020")):
        picture = Image.new("RGB", (512, 512), ground)
        draw = ImageDraw.Draw(picture)
        shape = draw.ellipse if name == "circle.png" else draw.rectangle
        shape((180, 180, 332, 332), fill=colour)
        picture.resize((64, 64), Image.Resampling.LANCZOS).save(folder / name)


def take_cards_picture(place: Place) -> None:
    """A storyboard that was rendered but for the stage whose words have changed since."""
    models = demo_models(ROOT / "build" / "browser" / "demo_models")
    server = Server(place, ROOT / "build" / "browser" / "demo", models, shim=False)
    put_shapes(server.input)
    prompts = [{"prompt": stage.prompt} for stage in (*STAGES[:6:2], STAGES[-1])]
    prompts[0]["start_image"] = "circle.png"
    prompts[-1] |= {"transition": "fade", "fade_frames": FADE, "start_image": "square.png"}
    document = {
        "schema": "longtake.storyboard.v1",
        "defaults": {"frames": FRAMES, "width": SIDE, "height": SIDE, "seed": SEED},
        "stages": prompts,
    }
    film = film_graph(())
    sampling = film["sampling"]

    def graph() -> Graph:
        board = node(
            "LongtakeRenderStoryboard",
            model=["model", 0],
            storyboard=json.dumps(document, indent=2),
            validate_only=False,
            sampling=["sampling", 0],
        )
        delivered = {name: film[name] for name in ("stitch", "encode")}
        delivered["stitch"] = node("LongtakeStitchChain", chain=["board", 0])
        return {"model": load(IMAGE_TO_VIDEO), "sampling": sampling, "board": board, **delivered}

    with server:
        result = server.run(graph(), timeout=600)
        assert result.ok, result.why()
        prompts[2]["prompt"] = "a red circle moves up on black"
        with canvas(server, nodes_2=True, size=(1360, 760), scale=SHARPNESS) as opened:
            cards = Cards(opened)
            opened.ask(OPEN, graph())
            opened.ask(ASIDE)
            cards.face.get_by_text("its take is older than its words").first.wait_for(timeout=60_000)
            opened.settle(2500)
            cards.face.screenshot(path=FOLDER / "cards.png")


HELP = ROOT / "web" / "docs"
HELPED = {"LongtakeChainStage": "stage", "LongtakeEncodeVideo": "film", "LongtakeSeamReport": "seams"}
SEE = """(kind) => {
  const node = app.graph.nodes.findLast((one) => one.comfyClass === kind);
  app.graph.nodes.filter((one) => one !== node).forEach((one) => (one.pos = [one.pos[0] + 5000, one.pos[1]]));
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [200 - node.pos[0], 120 - node.pos[1]];
  app.canvas.setDirty(true, true);
  return String(node.id);
}"""


def take_help_pictures(place: Place) -> None:
    """Nodes that have run, as their help pages show them."""
    models = demo_models(ROOT / "build" / "browser" / "demo_models")
    with Server(place, ROOT / "build" / "browser" / "demo", models, shim=False) as server:
        graph = film_graph(STAGES[:3])
        assert server.run(graph, timeout=600).ok
        with canvas(server, nodes_2=True, size=(1360, 1300)) as opened:
            opened.ask("async (prompt) => { await app.loadApiJson(prompt, 'film') }", graph)
            opened.ask("async () => { await app.queuePrompt(0) }")
            opened.page.locator("video").first.wait_for(timeout=120_000)
            opened.settle(5000)
            for kind, name in HELPED.items():
                picture = opened.page.locator(f'[data-node-id="{opened.ask(SEE, kind)}"]')
                opened.settle(1500)
                folder = HELP / kind
                folder.mkdir(exist_ok=True)
                picture.screenshot(path=folder / f"{name}.png")


def main() -> None:
    place = Place.here()
    with tiny_server() as server:
        take_readme_picture(server)
    take_cards_picture(place)
    (HELP / "LongtakeRenderStoryboard" / "cards.png").write_bytes((FOLDER / "cards.png").read_bytes())
    take_help_pictures(place)


if __name__ == "__main__":
    main()
