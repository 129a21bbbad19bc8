"""The rows of the parity table, and docs/parity.md which they write.

`python tests/run.py oracle.write` writes it, with the Python that ComfyUI runs on.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.host.place import ROOT

DOCUMENT = ROOT / "docs" / "parity.md"
GROUPS = ("wan_components", "wan_pipelines", "ltx2_components", "ltx2_pipelines", "loras", "samplers", "full_size")
Measure = Callable[[Any], float]

# The part of the document that tests/host/templates/table.py writes.
TEMPLATES = "## ComfyUI's own templates"

HEAD = """# Parity

What this pack computes, held against diffusers: an implementation of its own, by other people, of the same models. Tiny
random models saved with `save_pretrained`, the same weights, noise and embeddings on both sides, fp32 on a CPU. The
figure is the largest difference divided by the largest value; where it counts something, the row says so. The last
part holds whole films against ComfyUI's own templates.

Written by `python tests/run.py oracle.write`; every test run measures all of it again.
"""


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        ours, theirs: what is compared with what.
        bound: what the figure must not exceed.
    """

    group: str
    ours: str
    theirs: str
    bound: float
    measure: Measure

    @property
    def key(self) -> str:
        return f"{self.ours} | {self.theirs}"


_rows: list[Row] = []


def row(group: str, ours: str, theirs: str, bound: float = 1e-4) -> Callable[[Measure], Measure]:
    """Make a function a row of the table."""

    def enter(measure: Measure) -> Measure:
        _rows.append(Row(group, ours, theirs, bound, measure))
        return measure

    return enter


def rows() -> list[Row]:
    if not _rows:
        for name in GROUPS:
            importlib.import_module(f"tests.oracle.{name}")
    return list(_rows)


def written(figures: dict[str, float]) -> str:
    """The document for these figures, by the rows' keys; its part about ComfyUI's templates stays as it is."""
    lines = [HEAD]
    for group in dict.fromkeys(row.group for row in rows()):
        lines += [f"## {group}", "", "| this pack | diffusers | difference | bound |", "|---|---|---|---|"]
        for one in rows():
            if one.group == group:
                lines.append(f"| {one.key} | {figure(figures[one.key])} | {figure(one.bound)} |")
        lines.append("")
    _, heading, templates = DOCUMENT.read_text(encoding="utf-8").partition(TEMPLATES)
    return "\n".join([*lines, heading]) + templates


def figure(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def read() -> dict[str, tuple[str, str]]:
    """Key of each row of the document -> its figure and bound."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(TEMPLATES)[0]
    found = re.findall(r"^\| (.+ \| .+) \| (\d\S*) \| (\d\S*) \|$", text, re.MULTILINE)
    return {key: (value, bound) for key, value, bound in found}
