"""Apply LoRA: files for the experts of a bundle."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io, ui

from ..pipelines.errors import Refusal
from ..pipelines.lora import AUTO, NONE, LoraChoice, apply_lora
from ..pipelines.model import VideoModel
from .progress import say
from .types import CATEGORY, ModelBundle

FOLDER = "loras"


def lora_names() -> list[str]:
    return folder_paths.get_filename_list(FOLDER)


def lora_path(name: str) -> str:
    """Where a LoRA file is; only files that ComfyUI lists are found."""
    path = folder_paths.get_full_path(FOLDER, name) if name in lora_names() else None
    if path is None:
        raise Refusal(f"there is no {name} in ComfyUI's loras folder.")
    return path


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
            category=CATEGORY,
            description="Puts LoRAs on the experts of a bundle and reports how much of each file fits. A file that "
            "does not fit stops the queue here, before anything is loaded. Chain this node for more.",
            search_aliases=["lora", "lora pair", "high low lora", "lightning", "lightx2v", "load lora"],
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
            ],
            outputs=[ModelBundle.Output(display_name="model"), io.String.Output(display_name="report")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: VideoModel,
        high_noise_lora: str,
        strength_high: float,
        low_noise_lora: str,
        strength_low: float,
    ) -> io.NodeOutput:
        choice = LoraChoice(high_noise_lora, low_noise_lora, strength_high, strength_low)
        bundle, reports, remarks = apply_lora(model, choice, lora_names(), lora_path)
        text = "\n".join([*remarks, *(line for report in reports for line in report.lines())])
        say(cls.hidden.unique_id, text)
        return io.NodeOutput(bundle, text, ui=ui.PreviewText(text))


NODES = [ApplyLora]
