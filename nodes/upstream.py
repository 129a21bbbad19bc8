"""What identifies a model that another node loaded: the part of the queued graph that made it, and the files in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import folder_paths
from comfy_api.internal import _ComfyNodeInternal, first_real_override

import nodes as comfy_nodes

from ..pipelines.takes.identity import Source, Unidentified, digest

STARTED = time.time()
Graph = Mapping[str, Mapping[str, Any]]

# What a model file may end in; a text that ends so names a file, and a file that is not found cannot be compared.
SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin", ".pkl", ".onnx")


def source_of(graph: Graph | None, node_id: str | None, name: str, loaded: Any) -> Source | None:
    """What identifies the object that came into an input, or None where nothing does.

    The nodes it came from count with every constant in them, patches included, and every file they name counts by its
    content, as do the files that ComfyUI itself remembers to have loaded it from. A node that says of itself that its
    result depends on something else (`IS_CHANGED`, `fingerprint_inputs`) cannot be identified unless what it depends
    on is a file it names. Nor can a file that was written while ComfyUI ran: what is loaded may be older than it.
    """
    link = (graph or {}).get(node_id or "", {}).get("inputs", {}).get(name)
    if graph is None or not _is_link(link):
        return None
    try:
        files: set[str] = set(_loaded_from(loaded))
        upstream = digest([_node(graph, str(link[0]), files, ()), link[1]])
        if any(_written_since_start(path) for path in files):
            return None
        return Source(tuple(sorted(files)), upstream=upstream)
    except Unidentified:
        return None


def _node(graph: Graph, node_id: str, files: set[str], above: tuple[str, ...]) -> Any:
    """A node and what it is made from, without the ids, which differ between graphs that do the same."""
    if node_id in above or node_id not in graph:
        raise Unidentified(f"node {node_id} cannot be followed")
    kind = graph[node_id]["class_type"]
    inputs = graph[node_id].get("inputs", {})
    named = [path for value in inputs.values() for path in _files_named(value)]
    if not named and _depends_on_more(kind):
        raise Unidentified(f"{kind} depends on more than its inputs")
    files.update(named)

    def value_of(value: Any) -> Any:
        if _is_link(value):
            return {"from": _node(graph, str(value[0]), files, (*above, node_id)), "output": value[1]}
        return value

    return [kind, {name: value_of(value) for name, value in inputs.items()}]


def _depends_on_more(kind: str) -> bool:
    """Whether a node says that its result may differ between two runs with the same inputs."""
    node = comfy_nodes.NODE_CLASS_MAPPINGS.get(kind)
    if node is None or getattr(node, "NOT_IDEMPOTENT", False):
        return True
    if issubclass(node, _ComfyNodeInternal):
        return first_real_override(node, "fingerprint_inputs") is not None
    return hasattr(node, "IS_CHANGED")


def _files_named(value: Any) -> Iterator[str]:
    """Paths of the model and input files that a constant names."""
    if not isinstance(value, str) or not value or "\n" in value:
        return
    found = [path for folder in folder_paths.folder_names_and_paths if (path := _model_file(folder, value))]
    if not found and (path := _input_file(value)):
        found = [path]
    if not found and value.lower().endswith(SUFFIXES):
        raise Unidentified(f"{value} names a file that is not found")
    yield from found


def _model_file(folder: str, name: str) -> str | None:
    if folder in ("custom_nodes", "configs"):
        return None
    path = folder_paths.get_full_path(folder, name)
    return path if path and os.path.isfile(path) else None


def _input_file(name: str) -> str | None:
    try:
        path = folder_paths.get_annotated_filepath(name)
    except ValueError:
        return None
    return path if os.path.isfile(path) else None


def _loaded_from(loaded: Any) -> Iterator[str]:
    """The files that ComfyUI's own loaders noted on what they loaded, so that it can be loaded again."""
    patcher = getattr(loaded, "patcher", loaded)
    noted = getattr(patcher, "cached_patcher_init", None)
    for value in noted[1] if noted else ():
        for path in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(path, str) and os.path.isfile(path):
                yield path


def _written_since_start(path: str) -> bool:
    status = os.stat(path)
    return max(status.st_mtime, status.st_ctime) > STARTED


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
