"""Graphs of FFmpeg's filters, one behind another."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any


def in_a_row(format: str, width: int, height: int, filters: Sequence[tuple[str, str]], one_thread: bool = False) -> Any:
    """A graph that takes frames of one pixel format and size, a unit of time a second, through filters.

    Args:
        filters: name and options of each.
        one_thread: a pool costs more than it gains where a filter does little; PyAV 16 has none.
    """
    import av

    graph: Any = av.filter.Graph()
    if one_thread and hasattr(graph, "threads"):
        graph.threads = 1
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat(format), time_base=Fraction(1))
    row = [source, *(graph.add(name, options) for name, options in filters), graph.add("buffersink")]
    for before, after in pairwise(row):
        before.link_to(after)
    graph.configure()
    return graph
