"""ComfyUI newer than any that can be installed here: signatures as they were read in its public sources.

`newest.json` has them by file, each with the commit it was read at. Parameters are written as Python has them, with
stand-ins for defaults; a class stands for its `__init__`. What is not in there was not read.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.api import Call, Name

FILE = Path(__file__).with_name("newest.json")

# comfy_api.latest gathers its names from these; an input or output without an __init__ of its own has the base's.
GATHERED = {
    "io": "comfy_api.latest._io",
    "ui": "comfy_api.latest._ui",
    "Types": "comfy_api.latest._util.video_types",
    "InputImpl": "comfy_api.latest._input_impl.video_types",
}
BASES = {"Input": "comfy_api.latest._io.Input", "Output": "comfy_api.latest._io.Output"}


@dataclass(frozen=True)
class Newest:
    signatures: Mapping[str, inspect.Signature]
    names: frozenset[str]

    @classmethod
    def read(cls) -> Newest:
        signatures: dict[str, inspect.Signature] = {}
        names: set[str] = set()
        for path, told in json.loads(FILE.read_text(encoding="utf-8"))["files"].items():
            module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for name, parameters in told.get("signatures", {}).items():
                signatures[f"{module}.{name}"] = signature_of(parameters)
            names.update(f"{module}.{name}" for name in told.get("names", ()))
        return cls(signatures, frozenset(names))

    def signature(self, name: Name) -> inspect.Signature | None:
        """Of what the pack calls by that name; None where it was not read."""
        full = _gathered_from(name)
        return self.signatures.get(full) or self.signatures.get(BASES.get(full.rpartition(".")[2], ""))

    def knows(self, name: Name) -> bool:
        """Whether the name was seen in what was read."""
        full = _gathered_from(name)
        return full in self.names or full.endswith(".io_type") or self.signature(name) is not None


def _gathered_from(name: Name) -> str:
    """The full name of what `comfy_api.latest` hands on under another."""
    first, _, rest = name.path.partition(".")
    gathered = GATHERED.get(first) if name.module == "comfy_api.latest" and rest else None
    return f"{gathered}.{rest}" if gathered else name.full


def signature_of(parameters: str) -> inspect.Signature:
    """Of parameters as Python writes them: "a, b=None, *, c=0"."""
    arguments = ast.parse(f"def f({parameters}): ...").body[0].args  # type: ignore[attr-defined]
    kinds = inspect.Parameter
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [kinds.empty] * (len(positional) - len(arguments.defaults)) + [None] * len(arguments.defaults)
    read = [
        kinds(argument.arg, kinds.POSITIONAL_OR_KEYWORD, default=default)
        for argument, default in zip(positional, defaults, strict=True)
    ]
    if arguments.vararg:
        read.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        read.append(kinds(argument.arg, kinds.KEYWORD_ONLY, default=kinds.empty if default is None else None))
    if arguments.kwarg:
        read.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(read)


def misfit(signature: inspect.Signature, call: Call) -> str | None:
    """Why a call does not fit, or None; of what is handed on with stars only the rest is looked at."""
    keywords = {keyword: None for keyword in call.keywords if keyword != "**"}
    open_ended = call.positional is None or "**" in call.keywords
    bind = signature.bind_partial if open_ended else signature.bind
    try:
        bind(*[None] * (call.positional or 0), **keywords)
    except TypeError as error:
        return f"{call.file}:{call.line}: {error}"
    return None
