"""ComfyUI in this process with the pack's nodes among its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def pack(comfyui: Path) -> Iterator[Path]:
    """The folder that holds ComfyUI's input, output, temp and user folders."""
    from longtake.nodes import Longtake

    import nodes

    with pytest.MonkeyPatch.context() as patch:
        for node in asyncio.run(Longtake().get_node_list()):
            patch.setitem(nodes.NODE_CLASS_MAPPINGS, node.GET_SCHEMA().node_id, node)
        yield comfyui
