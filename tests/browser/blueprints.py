"""Write subgraphs/*.json, whole films as one node: python tests/run.py browser.blueprints

ComfyUI's own canvas makes them of the workflows: the nodes that a person has to see become inputs of one node.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.browser.browser import Canvas, canvas, tiny_server
from tests.host.place import ROOT
from tests.host.workflows import canvas_file

FOLDER = ROOT / "subgraphs"
OUTSIDE = ("LoadImage", "LongtakeEncodeVideo", "LongtakeSeamReport", "MarkdownNote")


@dataclass(frozen=True)
class Blueprint:
    """A film as one node.

    Args:
        name: on the canvas, and of the file.
        workflow: that it is made of.
        words: by which it is found beside its name.
        without: kinds of nodes that the workflow has and the film has not.
    """

    name: str
    workflow: str
    description: str
    words: tuple[str, ...]
    without: tuple[str, ...] = ()


BLUEPRINTS = (
    Blueprint(
        "Long film from one image (Wan 2.2)",
        "wan22_i2v_long_film",
        "Three stages that go on from one image, with the Lightning LoRAs. Connect Load Image and Encode Video.",
        ("long video", "image to video", "longtake", "wan"),
    ),
    Blueprint(
        "Film with sound from prompts (LTX-2)",
        "ltx2_film_with_sound",
        "Stages with sound from their prompts alone. Connect Encode Video.",
        ("long video", "text to video", "longtake", "ltx", "sound"),
        without=("LongtakeAnchor",),  # it needs an image
    ),
)

# The nodes become one, and what a person changes of each stage becomes an input of it.
CONVERT = """([outside, without, name]) => {
  for (const node of app.graph.nodes.filter((one) => without.includes(one.type))) app.graph.remove(node);
  const inside = app.graph.nodes.filter((node) => !outside.includes(node.type));
  const { subgraph, node } = app.graph.convertToSubgraph(new Set(inside));
  subgraph.name = node.title = name;
  // ComfyUI makes an input of each seed, called seed_1 and the like.
  for (const input of subgraph.inputs.filter((one) => /^seed(_\d)?$/.test(one.name))) subgraph.removeInput(input);
  const stages = subgraph.nodes.filter((one) => one.type === 'LongtakeChainStage');
  stages.sort((one, other) => one.id - other.id);
  stages.forEach((stage, index) => {
    for (const [field, type] of [['prompt', 'STRING'], ['length.seconds', 'FLOAT'], ['seed', 'INT']]) {
      const words = `${field.replace('length.', '')} of stage ${index + 1}`;
      subgraph.addInput(words, type).connect(stage.inputs.find((slot) => slot.name === field), stage);
    }
  });
  for (const other of app.graph.nodes.filter((one) => one !== node)) app.graph.remove(other);
  for (const group of [...app.graph.groups]) app.graph.remove(group);
  node.pos = [100, 100];
  node.setSize([400, node.computeSize()[1]]);
  const graph = app.rootGraph.serialize({ sortNodes: true });
  const [whole] = graph.definitions.subgraphs;
  for (const one of [...graph.nodes, ...whole.nodes])
    for (const slot of [...(one.inputs ?? []), ...(one.outputs ?? [])]) delete slot.localized_name;
  return graph;
}"""


def make(opened: Canvas, blueprint: Blueprint) -> dict[str, Any]:
    workflow = json.loads(canvas_file(blueprint.workflow).read_text(encoding="utf-8"))
    opened.open()
    opened.load(workflow, blueprint.workflow)
    graph = opened.ask(CONVERT, [list(OUTSIDE), list(blueprint.without), blueprint.name])
    (whole,) = graph["definitions"]["subgraphs"]
    whole["description"], whole["category"] = blueprint.description, "Longtake"
    graph["extra"] = {"BlueprintDescription": blueprint.description, "BlueprintSearchAliases": list(blueprint.words)}
    return renamed(graph, uuid.uuid5(uuid.NAMESPACE_URL, blueprint.name))


def renamed(graph: dict[str, Any], known: uuid.UUID) -> dict[str, Any]:
    """The graph with ids that are the same whenever it is made."""
    (whole,) = graph["definitions"]["subgraphs"]
    text = json.dumps({**graph, "id": str(known)})
    for number, one in enumerate([whole, *whole["inputs"], *whole["outputs"]]):
        text = text.replace(one["id"], str(uuid.uuid5(known, str(number))))
    return json.loads(text)


def write(opened: Canvas, blueprint: Blueprint) -> Path:
    path = FOLDER / f"{blueprint.name}.json"
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(make(opened, blueprint), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def main() -> None:
    with tiny_server() as server, canvas(server) as opened:
        for blueprint in BLUEPRINTS:
            print(f"wrote {write(opened, blueprint).relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    main()
