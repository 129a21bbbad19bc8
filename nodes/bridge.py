"""Bridge Stage: one stage again, between neighbours that stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io, ui

from ..host.graph import Run
from ..host.progress import NodeProgress, say
from ..pipelines.takes import store
from .guides import guides_input
from .seed import seed_input
from .take_node import TakeNode
from .types import STAGE, Chain, ModelBundle, Sampling

if TYPE_CHECKING:
    import torch

    from ..pipelines.chain.chain import Chain as ChainValue
    from ..pipelines.model.bundle import VideoModel
    from ..pipelines.model.variant import Settings
    from ..pipelines.stage.guides import Guide


class BridgeStage(TakeNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeBridgeStage",
            display_name="Bridge Stage",
            category=STAGE,
            description="Renders one stage of a chain again between its neighbours, pinned to the end of the stage "
            "before and to the beginning of the stage after, so that nothing else has to be rendered.",
            search_aliases=["re-roll stage", "redo stage", "replace clip", "inbetween"],
            inputs=[
                ModelBundle.Input("model", tooltip="A model that can go to a last frame: Wan i2v-14b, ti2v-5b, LTX-2."),
                Chain.Input("chain", tooltip="The rendered chain, of a Chain Stage, a storyboard or Load Chain."),
                io.Int.Input("stage", default=2, min=1, max=1000, tooltip="Number of the stage, counted from 1."),
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, tooltip="What happens in it now."),
                io.String.Input("negative_prompt", multiline=True, tooltip="What to keep out.", advanced=True),
                seed_input(),
                io.Image.Input(
                    "start_image", optional=True, tooltip="First frame, where the stage is the first or follows a cut."
                ),
                Sampling.Input("sampling", optional=True, tooltip="Without it: the published values."),
                guides_input(),
            ],
            outputs=[
                Chain.Output(display_name="chain", tooltip="The same chain with this stage rendered again."),
                io.String.Output(display_name="report", tooltip="How well its end meets the stage after it."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        chain: ChainValue,
        stage: int,
        prompt: str,
        negative_prompt: str,
        seed: int,
        start_image: torch.Tensor | None = None,
        sampling: Settings | None = None,
        guides: dict[str, Guide] | None = None,
    ) -> io.NodeOutput:
        from ..host.ahead import look_ahead
        from ..pipelines.stage.bridge import bridge, check_bridge
        from ..pipelines.stage.guides import guided
        from ..pipelines.stage.stage import Stage
        from ..pipelines.timeline.clips import Join, Length

        run = Run.of(cls.hidden)
        new_stage = Stage(
            prompt=prompt,
            negative_prompt=negative_prompt,
            length=Length(frames=1),
            seed=seed,
            join=Join(),
            start_image=start_image,
            sampling=sampling,
        )
        new_stage = guided(new_stage, (guides or {}).values())
        ready = check_bridge(chain, stage, new_stage, model)[0]
        look_ahead(run, chain, (), model)
        frames = {stage: ready.clip.frames}
        progress = NodeProgress(cls.hidden.unique_id, len(chain.links), ready.sampling.steps, frames)
        bridged, error = bridge(store.here(), chain, stage, new_stage, model, progress)
        report = f"Stage {stage}: {error or 'the stage after does not continue it, so that no seam is there'}"
        say(cls.hidden.unique_id, report)
        return io.NodeOutput(bridged, report, ui=ui.PreviewText(report))


NODES = [BridgeStage]
