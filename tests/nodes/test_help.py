"""Every node has a help page under the name by which ComfyUI looks for it."""

from __future__ import annotations

import re

from tests.host.place import ROOT

PAGES = ROOT / "web" / "docs"


def node_ids() -> set[str]:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "nodes").glob("*.py")]
    return {name for source in sources for name in re.findall(r'node_id="(Longtake\w+)"', source)}


def test_every_node_has_a_help_page_and_every_page_a_node() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == node_ids()
