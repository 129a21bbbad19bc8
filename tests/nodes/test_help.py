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


def test_a_translated_page_is_of_a_node_and_in_its_language() -> None:
    """The page asks for NODE/LANGUAGE.md first, then for NODE.md."""
    translated = sorted(PAGES.glob("*/*.md"))
    assert {page.stem for page in translated} == {"zh"}
    for page in translated:
        assert page.parent.name in node_ids()
        assert re.search(r"[\u4e00-\u9fff]", page.read_text(encoding="utf-8"))
