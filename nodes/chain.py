"""Chain to Latent: a stage's latent, for whatever ComfyUI can do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..pipelines.errors import Refusal
from .types import FILM, Chain

if TYPE_CHECKING:
    from ..pipelines.chain.chain import Chain as ChainValue


class ChainToLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeChainToLatent",
            display_name="Chain to Latent",
            category=FILM,
            description="Gives the latent of one stage as it was rendered, overlap included, and that of its sound.",
            search_aliases=["stage latent"],
            inputs=[
                Chain.Input("chain", tooltip="The chain that holds the stage."),
                io.Int.Input(
                    "stage", default=0, min=0, max=1000, tooltip="Number of the stage, counted from 1. 0: the last one."
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The stage's video latent, its overlap included."),
                io.Latent.Output(display_name="audio_latent", tooltip="Its sound; empty without."),
            ],
        )

    @classmethod
    def execute(cls, chain: ChainValue, stage: int) -> io.NodeOutput:
        if stage > len(chain.links):
            raise Refusal(f"{stage} given; the chain has {len(chain.links)} stages.", field="stage")
        link = chain.links[stage - 1]
        if link.footage is not None:
            raise Refusal(
                "the chain begins with a video there, which has no latent.", stage=stage or None, field="stage"
            )
        audio = link.rendered.audio()
        heard = ExecutionBlocker("This stage is silent.") if audio is None else {"samples": audio, "type": "audio"}
        return io.NodeOutput({"samples": link.rendered.latent()}, heard)


NODES = [ChainToLatent]
