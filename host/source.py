"""What identifies a model that another node loaded: the part of the graph that made it, and the files in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from ..pipelines.identity import Source, Unidentified, digest
from .graph import Graph, Loop, Node, Run, class_of

STARTED = time.time()

# What a model file may end in; a text that ends so names a file, and a file that is not found cannot be compared.
SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin", ".pkl", ".onnx")


def source_of(run: Run, name: str, loaded: Any) -> Source | None:
    """What identifies the object that came into an input of the running node, or None where nothing does.

    The nodes it came from count with every constant in them, patches included, and every file they name counts by its
    content, as do the files that ComfyUI itself remembers to have loaded it from. A node that says of itself that its
    result depends on something else (`IS_CHANGED`, `fingerprint_inputs`) cannot be identified unless what it depends
    on is a file it names. Nor can a file that was written while ComfyUI ran: what is loaded may be older than it.
    """
    link = run.node.links.get(name) if run.node else None
    if link is None:
        return None
    try:
        upstream, files = _made_by(run.graph, link[0])
        files |= set(_loaded_from(loaded))
        if any(_written_since_start(path) for path in files):
            return None
        return Source(tuple(sorted(files)), upstream=digest([upstream, link[1]]))
    except (Unidentified, Loop):
        return None


def _made_by(graph: Graph, node_id: str) -> tuple[str, set[str]]:
    """A hash of a node and all it is made from, without their ids, and the files they name.

    Ids differ between graphs that do the same.
    """
    digests: dict[str, str] = {}
    files: set[str] = set()
    for node in graph.sources_first(node_id):
        named = [path for value in node.inputs.values() for path in _files_named(value)]
        if not named and _depends_on_more(node.kind):
            raise Unidentified(f"{node.kind} depends on more than its inputs")
        files.update(named)
        digests[node.id] = digest([node.kind, {name: _value(node, name, digests) for name in node.inputs}])
    if node_id not in digests:
        raise Unidentified(f"node {node_id} is not there")
    return digests[node_id], files


def _value(node: Node, name: str, digests: dict[str, str]) -> Any:
    link = node.links.get(name)
    if link is None:
        return node.inputs[name]
    if link[0] not in digests:
        raise Unidentified(f"node {link[0]} is not there")
    return {"from": digests[link[0]], "output": link[1]}


def _depends_on_more(kind: str) -> bool:
    """Whether a node says that its result may differ between two runs with the same inputs; unknown counts as yes."""
    node = class_of(kind)
    if node is None or getattr(node, "NOT_IDEMPOTENT", False):
        return True
    try:
        from comfy_api.internal import _ComfyNodeInternal, first_real_override

        if issubclass(node, _ComfyNodeInternal):
            return first_real_override(node, "fingerprint_inputs") is not None
    except (ImportError, TypeError, ValueError):
        return True
    return hasattr(node, "IS_CHANGED")


def _files_named(value: Any) -> Iterator[str]:
    """Paths of the model and input files that a constant names."""
    if not isinstance(value, str) or not value or "\n" in value:
        return
    import folder_paths

    paths = [path for folder in folder_paths.folder_names_and_paths if (path := _model_file(folder, value))]
    if not paths and (path := _input_file(value)):
        paths = [path]
    if not paths and value.lower().endswith(SUFFIXES):
        raise Unidentified(f"{value} names a file that is not found")
    yield from paths


def _model_file(folder: str, name: str) -> str | None:
    import folder_paths

    if folder in ("custom_nodes", "configs"):
        return None
    path = folder_paths.get_full_path(folder, name)
    return path if path and os.path.isfile(path) else None


def _input_file(name: str) -> str | None:
    import folder_paths

    try:
        path = folder_paths.get_annotated_filepath(name)
    except ValueError:
        return None
    return path if os.path.isfile(path) else None


def _loaded_from(loaded: Any) -> Iterator[str]:
    """The files that ComfyUI's own loaders noted on what they loaded, so that it can be loaded again."""
    patcher = getattr(loaded, "patcher", loaded)
    noted = getattr(patcher, "cached_patcher_init", None)
    for value in noted[1] if isinstance(noted, tuple) and len(noted) > 1 else ():
        for path in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(path, str) and os.path.isfile(path):
                yield path


def _written_since_start(path: str) -> bool:
    status = os.stat(path)
    return max(status.st_mtime, status.st_ctime) > STARTED
