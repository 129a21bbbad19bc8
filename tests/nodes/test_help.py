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


def test_every_node_has_a_page_in_chinese_too() -> None:
    """The page asks for NODE/LANGUAGE.md first, then for NODE.md."""
    translated = sorted(PAGES.glob("*/*.md"))
    assert {page.stem for page in translated} == {"zh"}
    assert {page.parent.name for page in translated} == node_ids()
    for page in translated:
        assert re.search(r"[\u4e00-\u9fff]", page.read_text(encoding="utf-8"))


def test_every_picture_of_a_help_page_is_there() -> None:
    """The page looks for them below the folder of all help pages, whatever its language."""
    shown = [
        (page, name)
        for page in PAGES.rglob("*.md")
        for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert {page.relative_to(PAGES).parts[0].removesuffix(".md") for page, _ in shown} >= PICTURED
    assert [(page, name) for page, name in shown if not (PAGES / name).is_file()] == []


PICTURED = {"LongtakeChainStage", "LongtakeEncodeVideo", "LongtakeRenderStoryboard", "LongtakeSeamReport"}


def test_every_input_and_output_of_every_node_has_a_tooltip(comfyui: Path) -> None:
    from longtake.nodes import Longtake

    sockets = [
        (node.GET_SCHEMA().node_id, socket.id or socket.display_name, socket.tooltip)
        for node in asyncio.run(Longtake().get_node_list())
        for socket in (*node.GET_SCHEMA().inputs, *node.GET_SCHEMA().outputs)
    ]
    assert len(sockets) > 100
    assert [socket[:2] for socket in sockets if not socket[2]] == []
