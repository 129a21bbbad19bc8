"""Render Stills: many prompts, one image each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths
import torch
from comfy_api.latest import io, ui

from ..host.graph import Run
from ..host.jobs import unfinished_until_rendered
from ..host.progress import NodeProgress
from ..host.stage_inputs import size_of
from ..pipelines.document import read_prompts
from ..pipelines.errors import Refusal
from ..pipelines.files.whole import CountedName
from ..pipelines.takes import store
from ..pipelines.takes.temp import temp_folder
from .seed import seed_input
from .sizes import size_input
from .types import STAGE, ModelBundle, Sampling

if TYPE_CHECKING:
    from ..pipelines.model.bundle import VideoModel
    from ..pipelines.model.variant import Settings
    from ..pipelines.stage.stills import Still
    from ..pipelines.takes.take import Take


class RenderStills(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeRenderStills",
            display_name="Render Stills",
            category=STAGE,
            description="Renders one image for each prompt with the model loaded once. Each is stored as it lands: "
            "queued again, only what is new is rendered. A prompt that fails is reported and the others are rendered.",
            search_aliases=["text to image", "batch images", "keyframes"],
            inputs=[
                ModelBundle.Input("model", tooltip="A model that can render from text alone: t2v-14b or ti2v-5b."),
                io.String.Input(
                    "prompts",
                    multiline=True,
                    tooltip="One prompt a line, or a JSON list of texts. Lines that begin with # are left out.",
                ),
                io.String.Input(
                    "negative_prompt", multiline=True, tooltip="What to keep out. Has no effect where cfg is 1."
                ),
                size_input("the size the model was published with"),
                seed_input("Seed of the first image; it goes up by one from prompt to prompt."),
                Sampling.Input(
                    "sampling",
                    optional=True,
                    tooltip="From Wan Sampling or LTX-2 Sampling. Without it: the values the model was published with.",
                ),
                io.Boolean.Input(
                    "zip",
                    default=False,
                    optional=True,
                    tooltip="Save all images to one ZIP file in the output folder, as longtake/stills_00001_.zip.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The pictures that could be rendered."),
                io.String.Output(display_name="report", tooltip="A line for each prompt."),
                io.String.Output(display_name="zip", tooltip="Where the ZIP file was saved; empty without one."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        prompts: str,
        negative_prompt: str,
        size: dict,
        seed: int,
        sampling: Settings | None = None,
        zip: bool = False,
    ) -> io.NodeOutput:
        from ..pipelines.stage.stills import plan_stills, render_stills

        ready = plan_stills(read_prompts(prompts), model, negative_prompt, *size_of(size), seed, sampling)
        steps = sum(still.sampling.steps for still in ready)
        frames = {still.number: 1 for still in ready}
        progress = NodeProgress(cls.hidden.unique_id, len(ready), steps, frames, each="Image")
        stills, shown = [], []
        with unfinished_until_rendered(Run.of(cls.hidden)):
            for still in render_stills(store.here(), ready, progress):
                stills.append(still)
                if still.take is not None and still.image is not None:
                    shown.append(_show(still, still.take, progress))
        report = "\n".join(map(str, stills))
        images = [still.image for still in stills if still.image is not None]
        if not images:
            raise Refusal(f"no prompt could be rendered.\n{report}", field="prompts")
        path, saved = _save_zip(stills, images[0]) if zip else ("", [])
        outputs = {"images": [output for output in shown if output is not None], "text": [report], "files": saved}
        return io.NodeOutput(
            torch.cat(images), report, path, ui={name: output for name, output in outputs.items() if output}
        )


def _show(still: Still, take: Take, progress: NodeProgress) -> ui.SavedResult | None:
    """Show a still on the node as soon as it is there; it is stored, and no worse where that fails."""
    picture = still.picture()
    saved = None
    try:
        path = temp_folder() / f"{take.key}.still.png"
        picture.save(path, compress_level=1)
        saved = ui.SavedResult(path.name, path.parent.name, io.FolderType.temp)
    except OSError as error:
        progress.doing(f"stored, but it cannot be shown: {error}")
    progress.landed(picture, take.key, saved)
    return saved


def _save_zip(stills: Sequence[Still], image: torch.Tensor) -> tuple[str, list[ui.SavedResult]]:
    from ..pipelines.stage.stills import write_zip

    _, height, width, _ = image.shape
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        "longtake/stills", folder_paths.get_output_directory(), width, height
    )
    archive = CountedName(Path(folder), f"{name}_", "_.zip", counter)
    write_zip(archive, stills)
    return str(archive.path), [ui.SavedResult(archive.name, subfolder, io.FolderType.output)]


NODES = [RenderStills]
