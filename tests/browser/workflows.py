"""Write workflows/*.json, the files a canvas loads, from workflows/api/*.json: python dev.py workflows [NAME ...]

ComfyUI's own canvas makes them, so that what it writes is what it reads. Before a file is written it is loaded again,
and the prompt that the canvas would queue must equal the API file.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from tests.browser.addresses import models_of
from tests.browser.browser import Canvas, canvas, tiny_server
from tests.browser.layout import frames, positions
from tests.host.place import ROOT
from tests.host.workflows import api_names, api_prompt, canvas_file, note_of

# Wide enough for the names of the files.
WIDTHS = {
    "UNETLoader": 400,
    "LoraLoaderModelOnly": 450,
    "CLIPLoader": 450,
    "VAELoader": 450,
    "LoadImage": 340,
    "LongtakeLoadWan22": 460,
    "LongtakeLoadLtx2": 460,
    "LongtakeApplyLora": 460,
    "LongtakeRenderStoryboard": 640,
    "LongtakeChainStage": 400,
    "LongtakeWanSampling": 320,
    "LongtakeEncodeVideo": 460,
    "LongtakeSeamReport": 460,
}
WIDTH = 270
# Room for what a node shows once it has run: a film, of any shape, a plot, or a line or two.
SHOWN = {
    "LongtakeEncodeVideo": 450,
    "LongtakeUseLoadedModels": 100,
    "LongtakeLoadWan22": 100,
    "LongtakeLoadLtx2": 100,
    "LongtakeApplyLora": 100,
    "LongtakeChainStage": 330,
    "LongtakeRetake": 330,
    "LongtakeSeamReport": 380,
    "LongtakeStitchChain": 80,
    "LoadVideo": 200,
    "LoadAudio": 100,
}

OPEN = """async (prompt) => {
  await app.loadApiJson(prompt, 'workflow');
  for (const node of app.rootGraph.nodes)
    for (const widget of node.widgets ?? [])
      if (widget.name === 'control_after_generate') widget.value = 'fixed';
}"""

MEASURE = "() => Object.fromEntries(app.rootGraph.nodes.map((node) => [node.id, [...node.computeSize()]]))"

SERIALIZE = """() => {
  const graph = app.rootGraph.serialize({ sortNodes: true });
  for (const node of graph.nodes)
    for (const slot of [...(node.inputs ?? []), ...(node.outputs ?? [])]) delete slot.localized_name;
  return graph;
}"""

# A node grows by its image once that has come.
PICTURED = "() => app.rootGraph.nodes.every((node) => node.type !== 'LoadImage' || node.imgs?.length)"

PLAYERS = ("video-preview", "audioUI")

QUEUED = "async () => (await app.graphToPrompt()).output"


def sizes(prompt: dict[str, Any], measured: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    """Width and height of each node: what it needs, and room for what it will show."""
    found = {}
    for name, node in prompt.items():
        kind, (width, height) = node["class_type"], measured[name]
        width = max(width, WIDTHS.get(kind, WIDTH))
        found[name] = (round(width), round(height + SHOWN.get(kind, 0)))
    return found


def without_players(prompt: dict[str, Any]) -> dict[str, Any]:
    """Load Video and Load Audio send along what they show their file in."""
    return {
        name: {**node, "inputs": {k: v for k, v in node["inputs"].items() if k not in PLAYERS}}
        for name, node in prompt.items()
    }


def without_titles(prompt: dict[str, Any]) -> dict[str, Any]:
    return {name: {k: v for k, v in node.items() if k != "_meta"} for name, node in prompt.items()}


ADD_NOTE = """(text) => {
  const note = LiteGraph.createNode('MarkdownNote');
  app.rootGraph.add(note);
  note.widgets[0].value = text;
}"""
NOTE_SIZE, NOTE_GAP = (440, 620), 100


def make(open_canvas: Canvas, name: str) -> dict[str, Any]:
    """The canvas file of API workflow `name`."""
    prompt = api_prompt(name)
    # A node shows what the node of its number showed before, so that it would be measured wrongly.
    open_canvas.open()
    open_canvas.ask(OPEN, prompt)
    open_canvas.page.wait_for_function(PICTURED)
    open_canvas.settle()
    size = sizes(prompt, open_canvas.ask(MEASURE))
    place = positions(prompt, size)
    open_canvas.ask(ADD_NOTE, note_of(name))
    graph = open_canvas.ask(SERIALIZE)
    for node in graph["nodes"]:
        key = str(node["id"])
        if key not in prompt:
            left, top = (min(spot[axis] for spot in place.values()) for axis in (0, 1))
            node["size"], node["pos"] = list(NOTE_SIZE), [left - NOTE_GAP - NOTE_SIZE[0], top]
            continue
        node["size"], node["pos"] = list(size[key]), list(place[key])
        if models := models_of(prompt[key]["inputs"]):
            node["properties"]["models"] = models
    graph["groups"] = [frame.as_json(number) for number, frame in enumerate(frames(prompt, size, place), start=1)]
    return tidy(graph, name)


def tidy(graph: dict[str, Any], name: str) -> dict[str, Any]:
    """The file as it is kept: its id for life, links counted from 1, and no trace of the window it was made in."""
    path = canvas_file(name)
    known = json.loads(path.read_text(encoding="utf-8"))["id"] if path.is_file() else str(uuid.uuid4())
    number = {link[0]: count for count, link in enumerate(graph["links"], start=1)}
    for link in graph["links"]:
        link[0] = number[link[0]]
    for node in graph["nodes"]:
        if node["type"] == "LoadAudio":
            node["widgets_values"][2] = None  # what a player shows is no value once it was loaded
        for slot in node["inputs"]:
            slot["link"] = None if slot["link"] is None else number[slot["link"]]
        for slot in node["outputs"]:
            slot["links"] = None if slot["links"] is None else [number[link] for link in slot["links"]]
    return {**graph, "id": known, "last_link_id": len(number), "extra": app_mode(graph, name)}


# Templates that ComfyUI's App Mode shows as a form: what is asked for there, and what is shown of them.
APPS = ("wan22_i2v_long_film", "ltx2_film_with_sound")
ASKED = {"LoadImage": ("image",), "LongtakeChainStage": ("prompt", "length.seconds", "seed")}


def app_mode(graph: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in APPS:
        return {}
    inputs = [[node["id"], widget] for node in graph["nodes"] for widget in ASKED.get(node["type"], ())]
    films = [node["id"] for node in graph["nodes"] if node["type"] == "LongtakeEncodeVideo"]
    return {"linearData": {"inputs": inputs, "outputs": films}}


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What the canvas made of a loaded file, where that is not the file."""
    lines = [f"{key}: {found[key]}" for key in ("links", "groups", "version") if found[key] != wanted[key]]
    for one, other in zip(wanted["nodes"], found["nodes"], strict=True):
        lines += [
            f"node {one['id']}, {key}: {other.get(key)}, wanted {one[key]}" for key in one if other.get(key) != one[key]
        ]
    return lines


def write(open_canvas: Canvas, name: str) -> Path:
    """Write the file of `name`; raises ValueError where the canvas would not take it as it is meant."""
    graph = make(open_canvas, name)
    open_canvas.open()
    open_canvas.load(graph, name)
    open_canvas.page.wait_for_function(PICTURED)
    open_canvas.settle()
    queued = without_players(without_titles(open_canvas.ask(QUEUED)))
    wanted = without_titles(api_prompt(name))
    if queued != wanted:
        raise ValueError(f"{name}: the canvas would queue\n{json.dumps(queued, indent=1, ensure_ascii=False)}")
    if lines := differences(graph, open_canvas.ask(SERIALIZE)) + open_canvas.complaints():
        raise ValueError("\n".join([f"{name}: once loaded it is another", *lines]))
    path = canvas_file(name)
    path.write_text(json.dumps(graph, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def main() -> None:
    with tiny_server() as server, canvas(server) as open_canvas:
        for name in sys.argv[1:] or api_names():
            print(f"wrote {write(open_canvas, name).relative_to(ROOT)}", flush=True)
        if open_canvas.mistakes:
            raise SystemExit("\n".join(open_canvas.mistakes))


if __name__ == "__main__":
    main()
