"""The names of ComfyUI that the pack uses: all there, called as they can be called, and on the page."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.host.place import Place
from tests.hosts.api import ROOT, Name, names_used
from tests.hosts.newest import Newest, misfit, signature_of
from tests.hosts.page import BEGIN, PAGE, table, with_table

# Set on the class while a server runs.
OF_A_SERVER = "server.PromptServer.instance"


@cache
def used(comfyui: Path) -> tuple[Name, ...]:
    return tuple(names_used(comfyui))


@pytest.fixture(scope="session")
def names(place: Place) -> tuple[Name, ...]:
    return used(place.comfyui)


def found(name: Name) -> Any:
    value = import_module(name.module)
    for part in name.path.split("."):
        value = getattr(value, part)
    return value


def test_the_page_of_hosts_has_every_name_of_comfyui_that_the_pack_uses(place: Place) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert page == with_table(page, table(place.comfyui)), "write it anew with: python tests/run.py hosts.page"


def test_names_are_found_as_they_are_written(names: tuple[Name, ...]) -> None:
    known = {name.full: name for name in names}
    assert known["folder_paths.get_full_path_or_raise"].calls  # import folder_paths
    assert known["comfy.utils.load_torch_file"].calls  # import comfy.utils
    assert "metadata" in known["comfy.sd.load_diffusion_model_state_dict"].calls[0].keywords  # from comfy.sd import
    assert known["comfy_api.latest.io.Schema"].calls
    assert known["comfy_execution.utils.get_executing_context"].private
    assert not known["comfy_execution.graph_utils.ExecutionBlocker"].private


def test_every_name_is_there_and_takes_what_it_is_given(comfyui: Path, names: tuple[Name, ...]) -> None:
    wrong = []
    for name in names:
        if name.full.startswith(OF_A_SERVER):
            continue
        try:
            value = found(name)
        except (ImportError, AttributeError) as error:
            wrong.append(f"{name.full}: {error}")
            continue
        try:
            signature = inspect.signature(value) if callable(value) else None
        except ValueError:  # written in C
            continue
        wrong += [why for call in name.calls if signature and (why := misfit(signature, call))]
    assert not wrong


def test_the_newest_comfyui_takes_what_it_is_given_as_far_as_it_was_read(names: tuple[Name, ...]) -> None:
    newest, wrong, read = Newest.read(), [], 0
    for name in names:
        signature = newest.signature(name)
        if signature is not None:
            read += 1
            wrong += [why for call in name.calls if (why := misfit(signature, call))]
    assert not wrong
    assert read > 90


def methods(path: str, kind: str) -> dict[str, inspect.Signature]:
    """The methods of a class of the pack, as written."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    cls = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == kind)
    written = [method for method in cls.body if isinstance(method, ast.FunctionDef)]
    return {method.name: signature_of(", ".join(_parameters(method.args))) for method in written}


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    """Without what they are annotated with."""
    required = len(arguments.args) - len(arguments.defaults)
    yield from (f"{one.arg}=0" if place >= required else one.arg for place, one in enumerate(arguments.args))
    if arguments.kwarg:
        yield f"**{arguments.kwarg.arg}"


@pytest.mark.parametrize(
    ("path", "kind", "base"),
    [
        ("pipelines/media/video.py", "LazyVideo", "comfy_api.latest._input.video_types.VideoInput"),
        ("pipelines/families/ltx2_sampling.py", "TwoModalityGuider", "comfy.samplers.CFGGuider"),
    ],
)
def test_what_the_newest_comfyui_calls_on_ours_takes_what_it_passes(path: str, kind: str, base: str) -> None:
    newest, ours, compared = Newest.read(), methods(path, kind), 0
    for full, asked in newest.signatures.items():
        owner, _, method = full.rpartition(".")
        if owner == base and method in ours:
            compared += 1
            keywords = asked.parameters.keys() - {"self"}
            ours[method].bind(None, **dict.fromkeys(keywords))
    assert compared
