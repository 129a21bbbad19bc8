"""Seam Report: how well the seams of a film hold, in words and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from comfy_api.latest import io, ui

from ..host.decoding import decoding
from ..host.progress import say
from ..pipelines.takes import store
from ..pipelines.takes.derived import Derived
from .types import FILM, Chain

if TYPE_CHECKING:
    from ..pipelines.chain.chain import Chain as ChainValue


class SeamReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSeamReport",
            display_name="Seam Report",
            category=FILM,
            description="Says of every smooth seam of a chain whether it is good, visible or broken, and why: what "
            "jumps, at once or a little later, and by how much colour, sharpness and sound change. The plot shows the "
            "whole film.",
            search_aliases=["seam quality", "colour drift", "color drift", "transition", "continuity", "jump"],
            inputs=[Chain.Input("chain", tooltip="The chain of rendered stages to look at.")],
            outputs=[
                io.String.Output(display_name="report", tooltip="The film in a sentence, then a line for each seam."),
                io.Image.Output(display_name="plot", tooltip="Change and colour over the film, with its seams."),
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, chain: ChainValue) -> io.NodeOutput:
        from ..pipelines.film.seam_plot import plot
        from ..pipelines.film.seams import measure
        from ..pipelines.film.soundtrack import soundtrack

        bar = ProgressBar(chain.frames, node_id=cls.hidden.unique_id)

        def watch(done: int, frames: int) -> None:
            throw_exception_if_processing_interrupted()
            bar.update_absolute(done, frames)

        report = measure(chain, decoding(chain), soundtrack(chain), watch, Derived(store.here()))
        picture = torch.from_numpy(plot(report).astype(np.float32) / 255)[None]
        say(cls.hidden.unique_id, str(report))
        # What was said is gone after a reload; an output comes again.
        shown = {**ui.PreviewImage(picture, cls=cls).as_dict(), "text": [str(report)]}
        return io.NodeOutput(str(report), picture, ui=shown)


NODES = [SeamReport]
