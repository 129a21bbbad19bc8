"""Apply LoRA, files for the experts of a bundle; Fuse and Save, merged checkpoints of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import comfy.utils
import folder_paths
from comfy_api.latest import io, ui

from ..host.loras import lora_names, lora_path, state_of_loras
from ..host.progress import say
from ..pipelines.files.whole import CountedName
from ..pipelines.lora.choice import AUTO, NONE, LoraChoice, Passes
from .types import LOAD, ModelBundle

if TYPE_CHECKING:
    from ..pipelines.model.bundle import VideoModel
    from ..pipelines.weights.stored import StoredWeights


def _strength(name: str, expert: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=1.0,
        min=-100.0,
        max=100.0,
        step=0.01,
        tooltip=f"How strongly the {expert} is changed; 0 leaves it as it is, negative values turn the change around.",
    )


class ApplyLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        names = lora_names()
        return io.Schema(
            node_id="LongtakeApplyLora",
            display_name="Apply LoRA",
            category=LOAD,
            description="Puts LoRAs on the experts of a bundle and reports how much of each file fits. A file that "
            "does not fit stops the queue here, before anything is loaded. Chain this node for more.",
            search_aliases=["lora", "svi", "lora pair", "high low lora", "lightning", "lightx2v", "load lora"],
            inputs=[
                ModelBundle.Input("model", tooltip="The bundle; it stays as it is, and the output shares its weights."),
                io.Combo.Input(
                    "high_noise_lora",
                    options=[NONE, AUTO, *names],
                    default=NONE,
                    tooltip="LoRA of the high-noise expert, or of the only model. auto: the other half of the "
                    "low-noise file, found by its name.",
                ),
                _strength("strength_high", "high-noise expert, or the only model,"),
                io.Combo.Input(
                    "low_noise_lora",
                    options=[AUTO, NONE, *names],
                    default=AUTO,
                    tooltip="LoRA of the low-noise expert. auto: the other half of the high-noise file, found by its "
                    "name. none: the high-noise expert alone.",
                ),
                _strength("strength_low", "low-noise expert"),
                io.Combo.Input(
                    "passes",
                    options=[passes.value for passes in Passes],
                    default=Passes.BOTH.value,
                    optional=True,
                    tooltip="Which passes are changed of an LTX-2 bundle that renders in two. second: for the "
                    "distilled LoRA of a dev model.",
                ),
            ],
            outputs=[
                ModelBundle.Output(display_name="model", tooltip="The bundle with the LoRA on it."),
                io.String.Output(display_name="report", tooltip="Which parts of the LoRA fit, and what they change."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(
        cls, high_noise_lora: str | None = None, low_noise_lora: str | None = None, **_: object
    ) -> list[tuple[str, int, int]]:
        """The node runs again where a file was exchanged for another of the same name; a linked name is not known."""
        return state_of_loras({name for name in (high_noise_lora, low_noise_lora) if name is not None})

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        high_noise_lora: str,
        strength_high: float,
        low_noise_lora: str,
        strength_low: float,
        passes: str = Passes.BOTH.value,
    ) -> io.NodeOutput:
        from ..pipelines.model.lora import apply_lora

        choice = LoraChoice(high_noise_lora, low_noise_lora, strength_high, strength_low, Passes(passes))
        bundle, reports, remarks = apply_lora(model, choice, lora_names(), lora_path)
        text = "\n".join(warnings_first([*remarks, *(line for report in reports for line in report.lines())]))
        say(cls.hidden.unique_id, text)
        return io.NodeOutput(bundle, text, ui=ui.PreviewText(text))


def warnings_first(lines: list[str]) -> list[str]:
    """The lines of a report, those first that a node must not leave below its fold."""
    warnings = [line for line in lines if line.lstrip().startswith("WARNING")]
    return [*(line.lstrip() for line in warnings), *(line for line in lines if line not in warnings)]


class FuseAndSave(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeFuseAndSave",
            display_name="Fuse and Save",
            category=LOAD,
            description="Writes the diffusion models of a bundle with their LoRAs merged in, one file for each expert "
            "that has any. Every loader that loads the original loads the merged file; of a diffusers folder it is a "
            "file as ComfyUI's loaders read them.",
            search_aliases=["merge lora", "bake lora", "save merged model", "save checkpoint"],
            inputs=[
                ModelBundle.Input(
                    "model", tooltip="A bundle of files, or of a diffusers folder, with LoRAs from Apply LoRA."
                ),
                io.String.Input(
                    "filename_prefix",
                    default="merged",
                    tooltip="Name of the files, in the diffusion_models or checkpoints folder of ComfyUI's output, "
                    "where its loaders find them.",
                ),
            ],
            outputs=[io.String.Output(display_name="paths", tooltip="The saved files, one a line.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model: VideoModel, filename_prefix: str) -> io.NodeOutput:
        from ..pipelines.model.fuse import experts_to_fuse, fuse

        chosen = experts_to_fuse(model)
        folder, filename, counter, _, _ = folder_paths.get_save_image_path(
            f"{_models_folder(chosen[0][1])}/{filename_prefix}", folder_paths.get_output_directory()
        )
        bar = comfy.utils.ProgressBar(len(chosen) * 1000, node_id=cls.hidden.unique_id)
        said = []
        for number, (noise, source) in enumerate(chosen):
            expert = f"_{noise.value}_noise" if model.low is not None else ""
            target = CountedName(Path(folder), f"{filename}_", f"{expert}.safetensors", counter)
            say(cls.hidden.unique_id, f"Merging into {source.name}")
            fused = fuse(
                source,
                model.loras_of(noise),
                model.family,
                target,
                lambda done, total, before=number: bar.update_absolute(before * 1000 + done * 1000 // max(1, total)),
            )
            counter = target.number  # the other expert's file goes by the same number
            said.append((str(fused.path), f"{target.name}: {fused.weights} weights of {source.name} changed"))
        text = "\n".join(line for _, line in said)
        say(cls.hidden.unique_id, text)
        return io.NodeOutput("\n".join(path for path, _ in said), ui=ui.PreviewText(text))


def _models_folder(source: StoredWeights) -> str:
    """The folder of models that such a file belongs in: ComfyUI's loaders look into those of the output too."""
    return "checkpoints" if any(name.startswith("vae.") for name in source.tensors) else "diffusion_models"


NODES = [ApplyLora, FuseAndSave]
