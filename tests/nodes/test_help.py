"""Every node has a help page under the name by which ComfyUI looks for it, and every socket a tooltip."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

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


def test_every_input_and_output_of_every_node_has_a_tooltip(comfyui: Path) -> None:
    from longtake.nodes import Longtake

    sockets = [
        (node.GET_SCHEMA().node_id, socket.id or socket.display_name, socket.tooltip)
        for node in asyncio.run(Longtake().get_node_list())
        for socket in (*node.GET_SCHEMA().inputs, *node.GET_SCHEMA().outputs)
    ]
    assert len(sockets) > 100
    assert [socket[:2] for socket in sockets if not socket[2]] == []
