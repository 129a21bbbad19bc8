"""Seam Report: how well the seams of a film hold, in words and as a picture."""

from __future__ import annotations

import numpy as np
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from comfy_api.latest import io, ui

from ..host.decoding import decoding
from ..host.progress import say
from ..pipelines.chain.chain import Chain as ChainValue
from ..pipelines.film.seam_plot import plot
from ..pipelines.film.seams import measure
from .types import FILM, Chain


class SeamReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSeamReport",
            display_name="Seam Report",
            category=FILM,
            description="Measures every seam of a chain: how well the overlap was kept, how far colour and contrast "
            "drifted, and whether anything jumps. The plot shows the mean colour around each seam, as shown and as "
            "rendered.",
            search_aliases=["seam quality", "colour drift", "color drift", "psnr", "continuity"],
            inputs=[Chain.Input("chain", tooltip="The chain of rendered stages to look at.")],
            outputs=[
                io.String.Output(display_name="report", tooltip="One line for each seam."),
                io.Image.Output(display_name="plot", tooltip="One panel for each seam."),
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, chain: ChainValue) -> io.NodeOutput:
        seams = []
        bar = ProgressBar(max(1, len(chain.links) - 1), node_id=cls.hidden.unique_id)
        for seam in measure(chain, decoding(chain)):
            throw_exception_if_processing_interrupted()
            seams.append(seam)
            bar.update(1)
        report = "\n".join(map(str, seams)) or "One stage, no seam."
        say(cls.hidden.unique_id, report)
        picture = torch.from_numpy(plot(seams).astype(np.float32) / 255)[None]
        return io.NodeOutput(report, picture, ui=ui.PreviewImage(picture, cls=cls))


NODES = [SeamReport]
