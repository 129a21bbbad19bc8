"""Loaders: files or loaded models to a bundle, and back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import folder_paths
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..host.graph import Run
from ..host.model_files import MODEL_FILES
from ..host.progress import say
from ..host.source import source_of
from ..pipelines.load.kinds import Kind
from ..pipelines.model.variant import Training
from .types import AUTOMATIC, LOAD, ModelBundle

if TYPE_CHECKING:
    from ..pipelines.load.files import ModelFile
    from ..pipelines.model.bundle import VideoModel

NONE = "none"
TILED = "tiled"


def model_file(folder: str, name: str) -> ModelFile:
    from ..pipelines.load.files import ModelFile

    return ModelFile(name, folder_paths.get_full_path_or_raise(folder, name))


def describe(model: VideoModel) -> str:
    variant = model.variant
    lines = [f"{model.family.title} {variant.name}, {model.fps} frames a second", *model.notes]
    return "\n".join(lines)


def wan22_bundle(
    high_noise_model: str, low_noise_model: str, text_encoder: str, vae: str, weight_dtype: str = "default"
) -> VideoModel:
    """What Load Wan 2.2 makes of its inputs; raises `Refusal` like `bundle_from_files`."""
    from ..pipelines.families.wan22 import WAN22
    from ..pipelines.load.files import bundle_from_files

    return bundle_from_files(
        WAN22,
        model_file("diffusion_models", high_noise_model),
        None if low_noise_model == NONE else model_file("diffusion_models", low_noise_model),
        model_file("text_encoders", text_encoder),
        model_file("vae", vae),
        weight_dtype,
    )


def decode_input() -> io.Combo.Input:
    return io.Combo.Input(
        "decode",
        options=[AUTOMATIC, TILED],
        default=AUTOMATIC,
        optional=True,
        advanced=True,
        tooltip="How latents become frames. Automatic: whole frames, and tiles where memory runs out. Tiled: always in "
        "tiles, where a system slows down instead of saying that memory runs out. No stage is rendered again for it.",
    )


class LoadWan22(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadWan22",
            display_name="Load Wan 2.2",
            category=LOAD,
            description="Chooses the files of a Wan 2.2 model. They are checked now and loaded when a stage "
            "first needs "
            "them, so a chain that has nothing to render loads nothing.",
            search_aliases=["wan loader", "wan 2.2 bundle", "t2v", "i2v", "ti2v 5b"],
            inputs=[
                io.Combo.Input(
                    "high_noise_model",
                    options=MODEL_FILES.holding(Kind.WAN, "diffusion_models"),
                    tooltip="The high-noise expert of a 14B model, or the only model of TI2V-5B.",
                ),
                io.Combo.Input(
                    "low_noise_model",
                    options=MODEL_FILES.holding(Kind.WAN, "diffusion_models", NONE),
                    default=NONE,
                    tooltip="The low-noise expert of a 14B model. None for TI2V-5B and for single-model checkpoints.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=MODEL_FILES.holding(Kind.WAN_TEXT, "text_encoders"),
                    tooltip="UMT5-XXL, for example umt5_xxl_fp8_e4m3fn_scaled.safetensors.",
                ),
                io.Combo.Input(
                    "vae",
                    options=MODEL_FILES.holding(Kind.WAN_VAE, "vae"),
                    tooltip="wan_2.1_vae for the 14B models, wan2.2_vae for TI2V-5B.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"],
                    default="default",
                    advanced=True,
                    tooltip="Precision the diffusion weights are held in; default keeps the file's own.",
                ),
                decode_input(),
            ],
            outputs=[
                ModelBundle.Output(display_name="model", tooltip="The bundle, for stages; it loads when first needed.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        high_noise_model: str,
        low_noise_model: str,
        text_encoder: str,
        vae: str,
        weight_dtype: str,
        decode: str = AUTOMATIC,
    ) -> io.NodeOutput:
        bundle = wan22_bundle(high_noise_model, low_noise_model, text_encoder, vae, weight_dtype)
        bundle = replace(bundle, tiled=decode == TILED)
        say(cls.hidden.unique_id, describe(bundle))
        return io.NodeOutput(bundle)


def upscaler_input(*others: str) -> io.Combo.Input:
    """Which latent upscaler LTX-2 renders with: none, one of the `others`, or a file."""
    return io.Combo.Input(
        "latent_upscaler",
        options=MODEL_FILES.holding(Kind.LTX2_UPSCALER, "latent_upscale_models", NONE, *others),
        default=NONE,
        tooltip="With one, stages render at half the size, double the latent and refine it in a second pass; width and "
        "height are then multiples of 64. None: one pass.",
    )


def frame_rate_input() -> io.Combo.Input:
    return io.Combo.Input(
        "frame_rate",
        options=["24", "25", "30", "50"],
        default="24",
        tooltip="Frames a second of the film. At 25 every frame falls on a latent of the sound.",
    )


class LoadLtx2(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        checkpoint = io.Combo.Input(
            "checkpoint",
            options=MODEL_FILES.holding(Kind.LTX2, "checkpoints"),
            tooltip="LTX-2.0 or 2.3 as published: transformer, video VAE, audio VAE and vocoder in one file.",
        )
        parts = [
            io.Combo.Input(
                "diffusion_model",
                options=MODEL_FILES.holding(Kind.LTX2, "diffusion_models"),
                tooltip="The transformer, with its metadata.",
            ),
            io.Combo.Input(
                "text_projection",
                options=MODEL_FILES.holding(Kind.LTX2_PROJECTION, "text_encoders"),
                tooltip="The file that holds text_embedding_projection.",
            ),
            io.Combo.Input(
                "video_vae",
                options=MODEL_FILES.holding(Kind.LTX2_VAE, "vae"),
                tooltip="The video VAE, with its metadata.",
            ),
            io.Combo.Input(
                "audio_vae",
                options=MODEL_FILES.holding(Kind.LTX2_AUDIO, "vae", NONE),
                default=NONE,
                tooltip="The audio VAE with its vocoder. None: silent film.",
            ),
        ]
        return io.Schema(
            node_id="LongtakeLoadLtx2",
            display_name="Load LTX-2",
            category=LOAD,
            description="Chooses the files of an LTX-2 model, which renders picture and sound. They are checked now "
            "and loaded when a stage first needs them.",
            search_aliases=["ltx loader", "ltx 2.3", "audio video", "ltxv"],
            inputs=[
                io.DynamicCombo.Input(
                    "files",
                    options=[
                        io.DynamicCombo.Option("checkpoint", [checkpoint]),
                        io.DynamicCombo.Option("parts", parts),
                    ],
                    tooltip="One checkpoint as published, or its parts in files of their own.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=MODEL_FILES.holding(Kind.LTX2_TEXT, "text_encoders"),
                    tooltip="Gemma 3 12B, for example gemma_3_12B_it_fp4_mixed.safetensors.",
                ),
                io.Combo.Input(
                    "sampled_as",
                    options=[AUTOMATIC, Training.DISTILLED.value, Training.DEV.value],
                    default=AUTOMATIC,
                    tooltip="How it was published: distilled (8 steps, no guidance) or dev (30 to 40 steps, guided). "
                    "The weights cannot tell; automatic goes by the name of the file. A dev model with the distilled "
                    "LoRA is sampled as distilled.",
                ),
                upscaler_input(),
                frame_rate_input(),
                decode_input(),
            ],
            outputs=[
                ModelBundle.Output(display_name="model", tooltip="The bundle, for stages; it loads when first needed.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        files: dict,
        text_encoder: str,
        sampled_as: str,
        latent_upscaler: str,
        frame_rate: str,
        decode: str = AUTOMATIC,
    ) -> io.NodeOutput:
        from ..pipelines.load.ltx2 import Ltx2Files, ltx2_bundle

        if files["files"] == "checkpoint":
            chosen = Ltx2Files.of_checkpoint(model_file("checkpoints", files["checkpoint"]))
        else:
            chosen = Ltx2Files(
                model_file("diffusion_models", files["diffusion_model"]),
                model_file("text_encoders", files["text_projection"]),
                model_file("vae", files["video_vae"]),
                None if files["audio_vae"] == NONE else model_file("vae", files["audio_vae"]),
            )
        bundle = ltx2_bundle(
            chosen,
            model_file("text_encoders", text_encoder),
            None if sampled_as == AUTOMATIC else Training(sampled_as),
            None if latent_upscaler == NONE else model_file("latent_upscale_models", latent_upscaler),
            Fraction(frame_rate),
        )
        bundle = replace(bundle, tiled=decode == TILED)
        say(cls.hidden.unique_id, describe(bundle))
        return io.NodeOutput(bundle)


class UseLoadedModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeUseLoadedModels",
            display_name="Use Loaded Models",
            category=LOAD,
            description="Makes a bundle of models from any other loader (GGUF, fp8, patched), so that they work with "
            "the stages of this pack.",
            search_aliases=["bundle", "gguf", "from loaders"],
            inputs=[
                io.Model.Input("model", tooltip="The high-noise expert, or the only diffusion model."),
                io.Clip.Input("clip", tooltip="The text encoder the model was trained with."),
                io.Vae.Input("vae", tooltip="The video VAE the model was trained with."),
                io.Model.Input("low_noise_model", optional=True, tooltip="The low-noise expert of a 14B model."),
                io.Vae.Input("audio_vae", optional=True, tooltip="The audio VAE of a model with sound."),
                decode_input(),
            ],
            outputs=[
                ModelBundle.Output(display_name="model", tooltip="The bundle, for stages; it loads when first needed.")
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    @classmethod
    def execute(cls, model, clip, vae, low_noise_model=None, audio_vae=None, decode: str = AUTOMATIC) -> io.NodeOutput:
        from ..pipelines.load.files import bundle_from_loaded

        inputs = {
            "high": ("model", model),
            "low": ("low_noise_model", low_noise_model),
            "clip": ("clip", clip),
            "vae": ("vae", vae),
            "audio_vae": ("audio_vae", audio_vae),
        }
        run = Run.of(cls.hidden)
        sources = {part: source_of(run, name, loaded) for part, (name, loaded) in inputs.items()}
        bundle = bundle_from_loaded(model, low_noise_model, clip, vae, audio_vae, sources)
        bundle = replace(bundle, tiled=decode == TILED)
        say(cls.hidden.unique_id, describe(bundle))
        return io.NodeOutput(bundle)


class SplitBundle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeSplitBundle",
            display_name="Split Bundle",
            category=LOAD,
            description="Gives the parts of a bundle as ComfyUI's own MODEL, CLIP and VAE. This loads them.",
            search_aliases=["unbundle", "bundle to model"],
            inputs=[ModelBundle.Input("model", tooltip="The bundle to take apart.")],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The only diffusion model, or the high-noise expert."),
                io.Model.Output(
                    display_name="low_noise_model", tooltip="The low-noise expert of a 14B model; else empty."
                ),
                io.Clip.Output(display_name="clip", tooltip="The text encoder."),
                io.Vae.Output(display_name="vae", tooltip="The video VAE."),
                io.Vae.Output(display_name="audio_vae", tooltip="The audio VAE of a model with sound; else empty."),
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


NODES = [LoadWan22, LoadLtx2, UseLoadedModels, SplitBundle]
