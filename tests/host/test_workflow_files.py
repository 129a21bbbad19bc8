"""The workflows as the canvas loads them: whole, of nodes that exist, and offering the files they need."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.host.place import ROOT
from tests.host.server import PACK_FOLDER, Server
from tests.host.workflow_check import NOTE, problems, widgets
from tests.host.workflows import api_names, api_prompt, canvas_file, note_of, title_of

FOLDER = ROOT / "workflows"
FOLDERS = ("checkpoints", "diffusion_models", "latent_upscale_models", "loras", "text_encoders", "vae")
NAMES = api_names()
Graph = dict[str, Any]


def graph_of(name: str) -> Graph:
    return json.loads(canvas_file(name).read_text(encoding="utf-8"))


def node_of(graph: Graph, kind: str) -> dict[str, Any]:
    return next(node for node in graph["nodes"] if node["type"] == kind)


@pytest.fixture(scope="module")
def object_info(server: Server) -> dict[str, Any]:
    return server.object_info()


def nodes_of(name: str) -> list[dict[str, Any]]:
    """The nodes of a canvas file but for its note."""
    return [node for node in graph_of(name)["nodes"] if node["type"] != NOTE]


def test_every_api_workflow_has_its_canvas_file_under_its_title() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(map(title_of, NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_a_canvas_file_says_on_one_note_what_it_needs(name: str) -> None:
    (note,) = (node for node in graph_of(name)["nodes"] if node["type"] == NOTE)
    assert note["widgets_values"] == [note_of(name)]
    for told in ("**Files**", "**Change first.**", "**Memory.**", "**How long.**"):
        assert told in note_of(name)


def test_no_two_workflows_share_an_id() -> None:
    assert len({graph_of(name)["id"] for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_canvas_file_fits_the_nodes_of_the_server(object_info: dict[str, Any], name: str) -> None:
    assert problems(graph_of(name), object_info) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_canvas_file_has_the_nodes_and_titles_of_its_api_workflow(name: str) -> None:
    nodes = {str(node["id"]): node for node in nodes_of(name)}
    prompt = api_prompt(name)

    assert {key: node["type"] for key, node in nodes.items()} == {k: n["class_type"] for k, n in prompt.items()}
    for key, node in prompt.items():
        assert nodes[key].get("title") == node.get("_meta", {}).get("title")


@pytest.mark.parametrize("name", NAMES)
def test_a_canvas_file_holds_the_values_of_its_api_workflow(object_info: dict[str, Any], name: str) -> None:
    """What the canvas would queue is compared where the files are made; here, that neither was changed since."""
    origin = {link[0]: [str(link[1]), link[2]] for link in graph_of(name)["links"]}
    for node in nodes_of(name):
        values = node.get("widgets_values", [])
        names = [entry.name for entry in widgets(object_info[node["type"]]["input"], values)[0]]
        held = dict(zip(names, values, strict=True))
        held |= {slot["name"]: origin[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        held = {key: value for key, value in held.items() if key not in ("control_after_generate", "upload", "audioUI")}
        assert held == api_prompt(name)[str(node["id"])]["inputs"]


@pytest.mark.parametrize("name", NAMES)
def test_every_model_file_is_offered_for_download(name: str) -> None:
    for node in nodes_of(name):
        values = node.get("widgets_values", [])
        named = [value for value in values if isinstance(value, str) and value.endswith(".safetensors")]
        offered = node["properties"].get("models", [])
        assert [model["name"] for model in offered] == named
        for model in offered:
            assert model["url"].startswith(("https://huggingface.co/Comfy-Org/", "https://huggingface.co/Lightricks/"))
            assert model["url"].endswith(f"/{model['name']}")
            assert model["directory"] in FOLDERS


def test_the_server_offers_the_workflows_as_templates(server: Server) -> None:
    assert sorted(server.get("/workflow_templates")[PACK_FOLDER]) == sorted(map(title_of, NAMES))
    for name in NAMES:
        address = quote(f"/api/workflow_templates/{PACK_FOLDER}/{title_of(name)}.json")
        assert server.get(address) == graph_of(name)


def shuffle_values(graph: Graph) -> None:
    node_of(graph, "LongtakeWanSampling")["widgets_values"].reverse()


def lose_a_value(graph: Graph) -> None:
    node_of(graph, "LongtakeChainStage")["widgets_values"].pop()


def choose_an_unknown_transition(graph: Graph) -> None:
    values = node_of(graph, "LongtakeChainStage")["widgets_values"]
    values[values.index("smooth")] = "wipe"


def cut_a_link(graph: Graph) -> None:
    del graph["links"][0]


def unplug_the_model(graph: Graph) -> None:
    slot = next(s for s in node_of(graph, "LongtakeChainStage")["inputs"] if s["name"] == "model")
    link = next(one for one in graph["links"] if one[0] == slot["link"])
    graph["links"].remove(link)
    slot["link"] = None
    for node in graph["nodes"]:
        for output in node["outputs"]:
            output["links"] = [n for n in output["links"] or [] if n != link[0]]


def cross_the_types(graph: Graph) -> None:
    next(one for one in graph["links"] if one[5] == "LONGTAKE_CHAIN")[5] = "IMAGE"


def name_an_unknown_node(graph: Graph) -> None:
    node_of(graph, "LongtakeStitchChain")["type"] = "LongtakeGlueChain"


def write_nan(graph: Graph) -> None:
    values = node_of(graph, "LongtakeWanSampling")["widgets_values"]
    values[1] = float("nan")


def nil_the_id(graph: Graph) -> None:
    graph["id"] = "00000000-0000-0000-0000-000000000000"


def pile_up(graph: Graph) -> None:
    graph["nodes"][1]["pos"] = graph["nodes"][0]["pos"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shuffle_values, "expert_split"),
        (lose_a_value, "widget values, expected"),
        (choose_an_unknown_transition, "'wipe' is none of"),
        (cut_a_link, "does not exist"),
        (unplug_the_model, "the input model must be connected"),
        (cross_the_types, "IMAGE comes out of a LONGTAKE_CHAIN slot"),
        (name_an_unknown_node, "there is no such node"),
        (write_nan, "nan"),
        (nil_the_id, "no UUID"),
        (pile_up, "lie on each other"),
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_the_check_finds_a_damaged_file(
    object_info: dict[str, Any], damage: Callable[[Graph], None], said: str
) -> None:
    graph = copy.deepcopy(graph_of("wan22_i2v_long_film"))

    damage(graph)

    assert said in "\n".join(problems(graph, object_info))


def test_every_workflow_has_a_picture_for_the_list_of_templates() -> None:
    from PIL import Image

    pictures = {path.stem: Image.open(path).size for path in FOLDER.glob("*.jpg")}
    assert pictures == dict.fromkeys(map(title_of, NAMES), (640, 400))
