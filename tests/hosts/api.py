"""What the pack uses of ComfyUI, read from its source.

Names are followed where the source spells them: what is imported, and what is taken from it by dots. A method of an
object that ComfyUI handed over is not told by this.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

OURS = ("__init__.py", "nodes", "host", "pipelines")
TOP_LEVEL = (
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "comfyui_version",
    "execution",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "nodes",
    "server",
)
# Public is what ComfyUI offers to custom nodes by its words or its age; these modules are its own affair.
PRIVATE = ("comfy_api.internal", "comfy_extras", "execution", "server", "comfy_execution.utils")


@dataclass(frozen=True, order=True)
class Call:
    """A call that the pack makes; `positional` is None, `keywords` holds "**", where it hands on what it was given."""

    file: str
    line: int
    positional: int | None
    keywords: tuple[str, ...]


@dataclass
class Name:
    """A name of ComfyUI.

    Attributes:
        module: that it is imported from.
        path: of the name in it, with dots; empty for the module itself.
    """

    module: str
    path: str
    uses: int = 0
    files: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)

    @property
    def full(self) -> str:
        return f"{self.module}.{self.path}" if self.path else self.module

    @property
    def private(self) -> bool:
        """Whether ComfyUI may change it without a word."""
        own = any(self.module == module or self.module.startswith(f"{module}.") for module in PRIVATE)
        return own or any(part.startswith("_") and not part.endswith("__") for part in self.full.split("."))


def sources() -> Iterator[Path]:
    for name in OURS:
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else (path,)


def is_module(dotted: str, host: Path) -> bool:
    path = host.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


class _Reader(ast.NodeVisitor):
    """Names of one file; what a function imports is known in all of the file, since no name here means two things."""

    def __init__(self, file: str, host: Path, names: dict[str, Name]):
        self._file, self._host, self._names = file, host, names
        self._bound: dict[str, str] = {}

    def read(self, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self._import(node)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and self._of_host(node.module or ""):
                for alias in node.names:
                    dotted = f"{node.module}.{alias.name}"
                    self._bound[alias.asname or alias.name] = dotted
        self.visit(tree)

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            if self._of_host(alias.name):
                bound = alias.asname or alias.name.partition(".")[0]
                self._bound[bound] = alias.name if alias.asname else bound

    def _of_host(self, module: str) -> bool:
        return module.partition(".")[0] in TOP_LEVEL

    def _dotted(self, node: ast.AST) -> str | None:
        if isinstance(node, ast.Name):
            return self._bound.get(node.id)
        if isinstance(node, ast.Attribute):
            before = self._dotted(node.value)
            return f"{before}.{node.attr}" if before else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "import_module":
            (module,) = node.args
            return module.value if isinstance(module, ast.Constant) and self._of_host(str(module.value)) else None
        return None

    def _note(self, dotted: str) -> Name:
        parts = dotted.split(".")
        count = next(count for count in range(len(parts), 0, -1) if is_module(".".join(parts[:count]), self._host))
        name = self._names.setdefault(dotted, Name(".".join(parts[:count]), ".".join(parts[count:])))
        name.uses += 1
        name.files.add(self._file)
        return name

    def visit_Call(self, node: ast.Call) -> None:
        dotted = self._dotted(node.func)
        if dotted is None:
            self.visit(node.func)
        else:
            starred = any(isinstance(argument, ast.Starred) for argument in node.args)
            keywords = tuple(keyword.arg or "**" for keyword in node.keywords)
            positional = None if starred else len(node.args)
            self._note(dotted).calls.append(Call(self._file, node.lineno, positional, keywords))
        for child in (*node.args, *node.keywords):
            self.visit(child)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = self._dotted(node)
        if dotted is None:
            self.generic_visit(node)
        else:
            self._note(dotted)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id in self._bound:
            self._note(self._bound[node.id])


def names_used(host: Path) -> list[Name]:
    """Every name of ComfyUI that the pack uses, sorted.

    Args:
        host: a ComfyUI's folder, which tells modules from what is in them.
    """
    names: dict[str, Name] = {}
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        _Reader(path.relative_to(ROOT).as_posix(), host, names).read(tree)
    return sorted((name for name in names.values() if name.path), key=lambda name: (name.module, name.path))
