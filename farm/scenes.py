"""What of a film can be rendered apart: its scenes, and the prompt that renders each. Pure.

A scene is what lies between two cuts or fades. Its stages go on from one another; no stage needs a take of another
scene. The whole film is planned wherever one is rendered, so keys, numbers and places are the film's.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Graph = Mapping[str, Mapping[str, Any]]

BOARD = "LongtakeRenderStoryboard"
# Inputs that name a file of ComfyUI's input folder, by the node they belong to; other nodes' are theirs to know.
FILE_INPUTS = {"LoadImage": "image", "LoadImageMask": "image", "LoadAudio": "audio", "LoadVideo": "file"}
FILE_FIELDS = ("start_image", "end_image", "anchor_image", "soundtrack", "image")


class NotAFilm(Exception):
    """A document that a farm cannot render, in a sentence."""


@dataclass(frozen=True)
class Scene:
    """Stages that go on from one another, and what of them is to be rendered.

    Args:
        numbers: of its stages that are not stored, from 1 over the whole film.
        keys: of the takes of all its stages up to the last that is rendered, as far as they have one.
        frames: of the stages that are rendered.
        seconds: that rendering takes one server; None where nothing like it was rendered before.
    """

    numbers: tuple[int, ...]
    keys: tuple[str, ...]
    frames: int
    seconds: float | None = None

    @property
    def stages(self) -> str:
        """The input `stages` of Render Storyboard: 5-6, or 5, 7."""
        runs: list[list[int]] = []
        for number in self.numbers:
            if runs and runs[-1][-1] == number - 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def scenes_of(plan: Mapping[str, Any]) -> list[Scene]:
    """The scenes of a film that hold something to render, the longest first.

    Args:
        plan: as `/longtake/plan` answers.

    Raises:
        NotAFilm: it is not known what is stored.
    """
    takes = plan.get("takes")
    if takes is None:
        raise NotAFilm(" ".join(plan.get("notes", [])) or "the plan does not say which stages are stored.")
    unknown = next((take for take in takes if take["status"] == "new" and take["take"] is None), None)
    if unknown is not None:
        raise NotAFilm(f"stage {unknown['stage']} would not be found again: {unknown['unidentified']}")
    scenes = [_scene(run) for run in _runs(list(zip(plan["stages"], takes, strict=True)))]
    return sorted((scene for scene in scenes if scene is not None), key=_length, reverse=True)


def _runs(stages: Sequence[tuple[Any, Any]]) -> Iterator[list[tuple[Any, Any]]]:
    """Stages between cuts and fades, with their takes."""
    run: list[tuple[Any, Any]] = []
    for stage, take in stages:
        if run and stage["transition"] != "smooth":
            yield run
            run = []
        run.append((stage, take))
    if run:
        yield run


def _scene(run: Sequence[tuple[Any, Any]]) -> Scene | None:
    new = [index for index, (_, take) in enumerate(run) if take["status"] == "new"]
    if not new:
        return None
    seconds = [run[index][1]["rendering_seconds"] for index in new]
    return Scene(
        numbers=tuple(run[index][0]["stage"] for index in new),
        keys=tuple(take["take"] for _, take in run[: new[-1] + 1] if take["take"]),
        frames=sum(run[index][0]["rendered_frames"] for index in new),
        seconds=None if None in seconds else sum(seconds),
    )


def _length(scene: Scene) -> tuple[float, int]:
    return (scene.frames if scene.seconds is None else scene.seconds, scene.frames)


def makespan(lengths: Iterable[float], servers: int) -> float:
    """How long work of these lengths takes, the longest first, each on the server that is free first."""
    free = [0.0] * servers
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def board_of(graph: Any, node: str | None = None) -> str:
    """The id of the Render Storyboard node of an API prompt.

    Args:
        node: its id, where there are several.

    Raises:
        NotAFilm: it is no API prompt, or has not exactly one such node.
    """
    if isinstance(graph, Mapping) and "nodes" in graph and "links" in graph:
        raise NotAFilm("this is a workflow as the canvas saves it; save it once more with Workflow > Export (API).")
    if not isinstance(graph, Mapping) or not all(
        isinstance(of, Mapping) and "class_type" in of for of in graph.values()
    ):
        raise NotAFilm("this is no prompt; save a workflow with Workflow > Export (API).")
    boards = [id for id, of in graph.items() if of["class_type"] == BOARD and node in (None, id)]
    if len(boards) != 1:
        which = f" with the id {node}" if node else ""
        hint = (
            ": name one with --node." if len(boards) > 1 else "; a farm divides a film at the cuts of its storyboard."
        )
        raise NotAFilm(f"it holds {len(boards)} Render Storyboard nodes{which}{hint}")
    if not isinstance(graph[boards[0]]["inputs"].get("storyboard"), str):
        raise NotAFilm("its storyboard comes from another node; write it into Render Storyboard itself.")
    if graph[boards[0]]["inputs"].get("approve"):
        raise NotAFilm("Render Storyboard waits for a yes after each stage; turn its input approve off for a farm.")
    return boards[0]


def storyboard_graph(graph: Graph, board: str) -> dict[str, Any]:
    """What renders a film and does nothing with it: the storyboard, and the nodes it is made from."""
    needed, waiting = set(), [board]
    while waiting:
        node = waiting.pop()
        if node in needed or node not in graph:
            continue
        needed.add(node)
        waiting += [value[0] for value in graph[node]["inputs"].values() if _is_link(value)]
    return _with_inputs({id: graph[id] for id in graph if id in needed}, board, validate_only=False)


def scene_graph(graph: Graph, board: str, stages: str) -> dict[str, Any]:
    """What renders some stages of a film, as "5-6", and does nothing with them."""
    return _with_inputs(storyboard_graph(graph, board), board, stages=stages)


def with_storyboard(graph: Graph, board: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return _with_inputs(graph, board, storyboard=json.dumps(document, ensure_ascii=False))


def with_seed(graph: Graph, board: str, document: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The same film with other seeds: those that its stages have, moved by `number`; 0 is the film as it is.

    Args:
        document: the storyboard, each stage with its seed written out.
    """
    stages = [{**stage, "seed": (stage.get("seed", 0) + number) % 2**53} for stage in document["stages"]]
    return with_storyboard(graph, board, {**document, "stages": stages})


def files_named(graph: Graph, document: Mapping[str, Any]) -> set[str]:
    """The files of ComfyUI's input folder that a film names."""
    names: set[str] = set()

    def note(name: str) -> str:
        names.add(name)
        return name

    with_files(graph, note)
    _renamed(document, note)
    return names


def with_files(graph: Graph, rename: Callable[[str], str]) -> dict[str, Any]:
    """The graph with other names for the files that its loaders name."""
    renamed = {}
    for id, node in graph.items():
        of = FILE_INPUTS.get(node["class_type"])
        value = node["inputs"].get(of) if of else None
        inputs = {**node["inputs"], of: rename(value)} if of and isinstance(value, str) else node["inputs"]
        renamed[id] = {**node, "inputs": inputs}
    return renamed


def document_with_files(document: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """The storyboard with other names for the files that it names."""
    renamed: dict[str, Any] = _renamed(document, rename)
    return renamed


def _renamed(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {
            name: rename(of) if name in FILE_FIELDS and isinstance(of, str) and of else _renamed(of, rename)
            for name, of in value.items()
        }
    if isinstance(value, list):
        return [_renamed(of, rename) for of in value]
    return value


def content_name(name: str, content: bytes) -> str:
    """A name for a file in a server's input folder that says what is in it, so that no two files have the same."""
    suffix = name.rpartition(".")[2].lower()
    return f"longtake/{hashlib.sha256(content).hexdigest()[:24]}.{suffix if suffix.isalnum() else 'bin'}"


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _with_inputs(graph: Graph, node: str, **inputs: Any) -> dict[str, Any]:
    return {**graph, node: {**graph[node], "inputs": {**graph[node]["inputs"], **inputs}}}
