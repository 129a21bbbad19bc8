"""Loaders: files or loaded models to a bundle, and back."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..pipelines.bundle import ModelFile, bundle_from_files, bundle_from_loaded
from ..pipelines.families.wan22 import WAN22
from ..pipelines.model import VideoModel
from .progress import say
from .types import CATEGORY, ModelBundle
from .upstream import source_of

NONE = "none"


def _file(folder: str, name: str) -> ModelFile:
    return ModelFile(name, folder_paths.get_full_path_or_raise(folder, name))


def _describe(model: VideoModel) -> str:
    variant = model.variant
    lines = [f"{model.family.title} {variant.name}, {model.fps} frames a second", *model.notes]
    return "\n".join(lines)


class LoadWan22(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        models = folder_paths.get_filename_list("diffusion_models")
        return io.Schema(
            node_id="LongtakeLoadWan22",
            display_name="Load Wan 2.2",
            category=CATEGORY,
            description="Chooses the files of a Wan 2.2 model. They are checked now and loaded when a stage "
            "first needs "
            "them, so a chain that has nothing to render loads nothing.",
            search_aliases=["wan loader", "wan 2.2 bundle", "t2v", "i2v", "ti2v 5b"],
            inputs=[
                io.Combo.Input(
                    "high_noise_model",
                    options=models,
                    tooltip="The high-noise expert of a 14B model, or the only model of TI2V-5B.",
                ),
                io.Combo.Input(
                    "low_noise_model",
                    options=[NONE, *models],
                    default=NONE,
                    tooltip="The low-noise expert of a 14B model. None for TI2V-5B and for single-model checkpoints.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=folder_paths.get_filename_list("text_encoders"),
                    tooltip="UMT5-XXL, for example umt5_xxl_fp8_e4m3fn_scaled.safetensors.",
                ),
                io.Combo.Input(
                    "vae",
                    options=folder_paths.get_filename_list("vae"),
                    tooltip="wan_2.1_vae for the 14B models, wan2.2_vae for TI2V-5B.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"],
                    default="default",
                    advanced=True,
                    tooltip="Precision the diffusion weights are held in; default keeps the file's own.",
                ),
            ],
            outputs=[ModelBundle.Output(display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, high_noise_model: str, low_noise_model: str, text_encoder: str, vae: str, weight_dtype: str
    ) -> io.NodeOutput:
        bundle = bundle_from_files(
            WAN22,
            _file("diffusion_models", high_noise_model),
            None if low_noise_model == NONE else _file("diffusion_models", low_noise_model),
            _file("text_encoders", text_encoder),
            _file("vae", vae),
            weight_dtype,
        )
        say(cls.hidden.unique_id, _describe(bundle))
        return io.NodeOutput(bundle)


class UseLoadedModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeUseLoadedModels",
            display_name="Use Loaded Models",
            category=CATEGORY,
            description="Makes a bundle of models from any other loader (GGUF, fp8, patched), so that they work with "
            "the stages of this pack.",
            search_aliases=["bundle", "gguf", "from loaders"],
            inputs=[
                io.Model.Input("model", tooltip="The high-noise expert, or the only diffusion model."),
                io.Clip.Input("clip", tooltip="The text encoder the model was trained with."),
                io.Vae.Input("vae", tooltip="The video VAE the model was trained with."),
                io.Model.Input("low_noise_model", optional=True, tooltip="The low-noise expert of a 14B model."),
                io.Vae.Input("audio_vae", optional=True, tooltip="The audio VAE of a model with sound."),
            ],
            outputs=[ModelBundle.Output(display_name="model")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, model, clip, vae, low_noise_model=None, audio_vae=None) -> io.NodeOutput:
        inputs = {
            "high": ("model", model),
            "low": ("low_noise_model", low_noise_model),
            "clip": ("clip", clip),
            "vae": ("vae", vae),
            "audio_vae": ("audio_vae", audio_vae),
        }
        graph, node_id = cls.hidden.prompt, cls.hidden.unique_id
        sources = {part: source_of(graph, node_id, name, loaded) for part, (name, loaded) in inputs.items()}
        bundle = bundle_from_loaded(model, low_noise_model, clip, vae, audio_vae, sources)
        say(cls.hidden.unique_id, _describe(bundle))
        return io.NodeOutput(bundle)


class SplitBundle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSplitBundle",
            display_name="Split Bundle",
            category=CATEGORY,
            description="Gives the parts of a bundle as ComfyUI's own MODEL, CLIP and VAE. This loads them.",
            search_aliases=["unbundle", "bundle to model"],
            inputs=[ModelBundle.Input("model", tooltip="The bundle to take apart.")],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Model.Output(display_name="low_noise_model"),
                io.Clip.Output(display_name="clip"),
                io.Vae.Output(display_name="vae"),
                io.Vae.Output(display_name="audio_vae"),
            ],
        )

    @classmethod
    def execute(cls, model: VideoModel) -> io.NodeOutput:
        def part_or_stop(part, what: str):
            return ExecutionBlocker(f"This bundle has no {what}.") if part is None else part.get()

        return io.NodeOutput(
            model.high.get(),
            part_or_stop(model.low, "low-noise model"),
            model.text_encoder.get(),
            model.vae.get(),
            part_or_stop(model.audio_vae, "audio VAE"),
        )


NODES = [LoadWan22, UseLoadedModels, SplitBundle]
