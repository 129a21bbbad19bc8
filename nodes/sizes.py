"""The size of what is rendered, as an input of its own."""

from __future__ import annotations

from comfy_api.latest import io

from .types import AUTOMATIC


def size_input(automatic: str) -> io.DynamicCombo.Input:
    """Width and height, or what goes without saying.

    Args:
        automatic: what size that is, for the tooltip.
    """
    step = "Pixels, a multiple of 16 (TI2V-5B, LTX-2: 32; LTX-2 in two passes: 64)."
    own = [
        io.Int.Input("width", default=832, min=1, max=16384, tooltip=step),
        io.Int.Input("height", default=480, min=1, max=16384, tooltip=step),
    ]
    return io.DynamicCombo.Input(
        "size",
        options=[io.DynamicCombo.Option(AUTOMATIC, []), io.DynamicCombo.Option("own", own)],
        tooltip=f"Automatic: {automatic}. Own: width and height. What is given is scaled to cover it, then cropped "
        "evenly.",
    )
