"""LTX-2 in diffusers' layout as a bundle on ComfyUI's own classes: 2.0 and 2.3, picture and sound."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ...errors import Refusal
from ...families.ltx2 import IS_LTX_2_5, LTX2
from ...identity import Source
from ...model.bundle import VideoModel
from ...model.part import Part
from ...model.variant import Training, Variant
from ...weights.outline import Outline, model_config
from ...weights.stored import StoredWeights
from ..files import ModelFile
from ..ltx2 import SILENT, in_two_passes, upscaler_part
from .folder import DiffusersFolder, check_fixed
from .gemma import gemma_shape, native_text_encoder, text_encoder_class
from .keys import GEMMA, GEMMA_UNUSED, LTX2_CONNECTORS, LTX2_PROJECTION, LTX2_TRANSFORMER, check_whole, renamed
from .ltx2_vae import (
    audio_vae_metadata,
    audio_vae_weights,
    manages_upscalers,
    native_upscaler,
    upscaler_config,
    video_vae_metadata,
    video_vae_weights,
)
from .parts import text_encoder_part, transformer_part, vae_part
from .tokenizer import gemma_tokenizer, tokenizer_of

PIPELINES = ("LTX2Pipeline", "LTX2ImageToVideoPipeline", "LTX2ConditionPipeline", "LTX2InContextPipeline")
TRANSFORMER = "LTX2VideoTransformer3DModel"
CONNECTORS = "LTX2TextConnectors"
TEXT_ENCODERS = ("Gemma3ForConditionalGeneration", "Gemma3ForCausalLM", "Gemma3Model", "Gemma3TextModel")
VIDEO_VAE = "AutoencoderKLLTX2Video"
AUDIO_VAE = "AutoencoderKLLTX2Audio"
VOCODERS = ("LTX2Vocoder", "LTX2VocoderWithBWE")

# diffusers' name of a size -> ComfyUI's, and diffusers' default for configs that leave it out.
_SIZES: Mapping[str, tuple[str, Any]] = {
    "in_channels": ("in_channels", 128),
    "num_attention_heads": ("num_attention_heads", 32),
    "attention_head_dim": ("attention_head_dim", 128),
    "cross_attention_dim": ("cross_attention_dim", 4096),
    "audio_in_channels": ("audio_in_channels", 128),
    "audio_num_attention_heads": ("audio_num_attention_heads", 32),
    "audio_attention_head_dim": ("audio_attention_head_dim", 64),
    "audio_cross_attention_dim": ("audio_cross_attention_dim", 2048),
    "num_layers": ("num_layers", 48),
    "caption_channels": ("caption_channels", 3840),
    "rope_theta": ("positional_embedding_theta", 10_000.0),
    "rope_type": ("rope_type", "interleaved"),
    "timestep_scale_multiplier": ("timestep_scale_multiplier", 1000),
    "cross_attn_timestep_scale_multiplier": ("av_ca_timestep_scale_multiplier", 1000),
    "gated_attn": ("apply_gated_attention", False),
    "cross_attn_mod": ("cross_attention_adaln", False),
}
_CONNECTOR_SIZES: Mapping[str, tuple[str, Any]] = {
    "video_connector_num_attention_heads": ("connector_num_attention_heads", 30),
    "video_connector_attention_head_dim": ("connector_attention_head_dim", 128),
    "audio_connector_num_attention_heads": ("audio_connector_num_attention_heads", 30),
    "audio_connector_attention_head_dim": ("audio_connector_attention_head_dim", 128),
    "video_connector_num_layers": ("connector_num_layers", 2),
    "video_gated_attn": ("connector_apply_gated_attention", False),
}

# What ComfyUI has in its code where diffusers has it in a config.
_FIXED: dict[str, Any] = {
    "patch_size": 1,
    "patch_size_t": 1,
    "audio_patch_size": 1,
    "audio_patch_size_t": 1,
    "vae_scale_factors": [8, 32, 32],
    "audio_scale_factor": 4,
    "audio_sampling_rate": 16_000,
    "audio_hop_length": 160,
    "activation_fn": "gelu-approximate",
    "qk_norm": "rms_norm_across_heads",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "attention_bias": True,
    "attention_out_bias": True,
    "audio_ff_bias": True,
}
_CONNECTORS_FIXED: dict[str, Any] = {
    "video_connector_num_learnable_registers": 128,
    "audio_connector_num_learnable_registers": 128,
    "connector_rope_base_seq_len": 4096,
    "rope_theta": 10_000.0,
    "rope_double_precision": True,
    "causal_temporal_positioning": False,
}


@dataclass(frozen=True)
class Ltx2Choices:
    """What a folder leaves open.

    Args:
        training: None takes what the folder's scheduler is made for.
        upscaler: a file, or `folder.OWN` for the folder's; with one, stages render in two passes.
        frame_rate: frames a second.
    """

    training: Training | None = None
    upscaler: ModelFile | str | None = None
    frame_rate: Fraction = Fraction(24)


def ltx2_folder_bundle(folder: DiffusersFolder, weight_dtype: str, choices: Ltx2Choices) -> VideoModel:
    """A bundle of a folder whose configs and headers are checked now and whose weights load when first needed.

    Raises:
        Refusal: a component is of an unknown class, not whole, or not what ComfyUI computes.
    """
    _refuse_2_5(folder)
    part = diffusion_model(folder, weight_dtype)
    variant, notes = _variant(folder, part, choices.training)
    audio = _audio_vae(folder)
    model = VideoModel(
        family=LTX2,
        variant=variant,
        high=part,
        low=None,
        text_encoder=_text_encoder(folder),
        vae=_video_vae(folder),
        audio_vae=audio,
        frame_rate=choices.frame_rate,
        notes=notes if audio else (*notes, SILENT),
    )
    if choices.upscaler is None:
        return model
    file = choices.upscaler
    return in_two_passes(model, upscaler_part(file) if isinstance(file, ModelFile) else _upscaler(folder))


def diffusion_model(folder: DiffusersFolder, weight_dtype: str) -> Part:
    """The transformer of a folder, with the connectors that ComfyUI has in it."""
    transformer, connectors = folder.component("transformer", TRANSFORMER), folder.component("connectors", CONNECTORS)
    where = f"{folder.name}/transformer"
    return transformer_part(
        where,
        [transformer, connectors],
        lambda read: transformer_weights(read(transformer), read(connectors)),
        transformer_metadata(transformer.config, connectors.config, where),
        weight_dtype,
        lambda: checkpoint(folder),
    )


def checkpoint(folder: DiffusersFolder) -> StoredWeights:
    """What a checkpoint of the folder holds, as LTX-2 is published for ComfyUI: all of its models but Gemma.

    The projection of the text encoder is in it, which LoRAs change as well.
    """
    transformer, connectors = folder.component("transformer", TRANSFORMER), folder.component("connectors", CONNECTORS)
    tensors = _below("model.diffusion_model.", transformer_weights(transformer.stored(), connectors.stored()))
    tensors |= projection_weights(connectors.stored())
    metadata = [transformer_metadata(transformer.config, connectors.config, folder.name)]
    vae = folder.component("vae", VIDEO_VAE)
    tensors |= _below("vae.", video_vae_weights(vae.stored(), vae.config))
    metadata.append(video_vae_metadata(vae.config, folder.name))
    if folder.has("audio_vae"):
        audio, vocoder = folder.component("audio_vae", AUDIO_VAE), folder.component("vocoder", *VOCODERS)
        sound = audio_vae_weights(audio.stored(), vocoder.stored())
        tensors |= {re.sub(r"^autoencoder\.", "audio_vae.", key): tensor for key, tensor in sound.items()}
        metadata.append(audio_vae_metadata(audio.config, vocoder.config, folder.name))
    config = {name: part for entry in metadata for name, part in json.loads(entry["config"]).items()}
    return StoredWeights(folder.name, tensors, {"config": json.dumps(config)}).arranged()


def _below(prefix: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + key: weight for key, weight in weights.items()}


def _refuse_2_5(folder: DiffusersFolder) -> None:
    config = folder.config("transformer") if folder.has("transformer") else {}
    newer = {"ff_bias": True, "use_prompt_adaln_single": True, "use_keyframes_abs_pos_embedding": False}
    gemma = folder.index.get("text_encoder")
    if (
        any(config.get(key, old) != old for key, old in newer.items())
        or folder.has("duration_head")
        or (isinstance(gemma, list) and "Gemma4" in str(gemma[-1]))
    ):
        raise Refusal(f"{folder.name} {IS_LTX_2_5}", field="folder")


def transformer_metadata(transformer: Mapping[str, Any], connectors: Mapping[str, Any], where: str) -> dict[str, str]:
    """What ComfyUI's detection cannot read from shapes, as the metadata that it takes it from.

    Raises:
        Refusal: a config says other than what ComfyUI computes.
    """
    sizes = {native: transformer.get(key, default) for key, (native, default) in _SIZES.items()}
    alike = {
        "out_channels": sizes["in_channels"],
        "audio_out_channels": sizes["audio_in_channels"],
        "audio_gated_attn": sizes["apply_gated_attention"],
        "audio_cross_attn_mod": sizes["cross_attention_adaln"],
    }
    # No number of output channels stands for that of the input.
    stated = {key: value for key, value in transformer.items() if value is not None}
    check_fixed(stated, _FIXED | alike, where)
    sizes |= {native: connectors.get(key, default) for key, (native, default) in _CONNECTOR_SIZES.items()}
    alike = {
        "audio_connector_num_layers": sizes["connector_num_layers"],
        "audio_gated_attn": sizes["connector_apply_gated_attention"],
        "rope_type": sizes["rope_type"],
    }
    check_fixed(connectors, _CONNECTORS_FIXED | alike, where.replace("transformer", "connectors"))
    if not transformer.get("use_prompt_embeddings", True):
        # LTX-2.3 brings prompts to its width in the text encoder.
        sizes |= {"caption_proj_before_connector": True, "caption_projection_first_linear": False}
    edges = (("pos_embed_max_pos", 20), ("base_height", 2048), ("base_width", 2048))
    sizes |= {
        "positional_embedding_max_pos": [transformer.get(key, default) for key, default in edges],
        "audio_positional_embedding_max_pos": [transformer.get("audio_pos_embed_max_pos", 20)],
        "causal_temporal_positioning": bool(transformer.get("causal_offset", 1)),
        "use_middle_indices_grid": True,
        "frequencies_precision": "float64" if transformer.get("rope_double_precision", True) else "float32",
    }
    return {"config": json.dumps({"transformer": sizes})}


def transformer_weights(transformer: Mapping[str, Any], connectors: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a transformer and its connectors by ComfyUI's names."""
    ours = renamed(connectors, *LTX2_CONNECTORS)
    return renamed(transformer, *LTX2_TRANSFORMER) | {
        key: weight for key, weight in ours.items() if not key.startswith(LTX2_PROJECTION)
    }


def projection_weights(connectors: Mapping[str, Any]) -> dict[str, Any]:
    """What brings Gemma's hidden states to the connectors, by ComfyUI's names."""
    ours = renamed(connectors, *LTX2_CONNECTORS)
    return {key: weight for key, weight in ours.items() if key.startswith(LTX2_PROJECTION)}


def gemma_weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Gemma's weights by ComfyUI's names, without what reads images."""
    return renamed({key: weight for key, weight in weights.items() if not re.match(GEMMA_UNUSED, key)}, GEMMA)


def _variant(folder: DiffusersFolder, part: Part, training: Training | None) -> tuple[Variant, tuple[str, ...]]:
    header = part.header() if part.header is not None else Outline("", {}, {})
    config = model_config(header)
    variant = None if config is None else LTX2.variant_of(config)
    if variant is None:
        raise Refusal(f"{header.name} is not a transformer of LTX-2.", field="folder")
    scheduled = _scheduled(folder)
    training = training or scheduled or Training.DISTILLED
    notes: tuple[str, ...] = ()
    if scheduled is not None and scheduled is not training:
        notes = (
            f"The scheduler of {folder.name} is that of {scheduled.value} models, and it is sampled as "
            f"{training.value}.",
        )
    return LTX2.variant(training, variant.release), notes


def _scheduled(folder: DiffusersFolder) -> Training | None:
    """How the models were trained that the folder's scheduler is made for.

    Dev models have their sigmas computed from the size.

    Raises:
        Refusal: it computes them otherwise than the dev models were published with.
    """
    if not folder.has("scheduler"):
        return None
    config = folder.config("scheduler", "scheduler_config.json")
    where = f"{folder.name}/scheduler"
    check_fixed(config, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, where)
    if not config.get("use_dynamic_shifting"):
        check_fixed(config, {"shift": 1.0}, where)
        return Training.DISTILLED
    # As `families.ltx2_sampling.computed_sigmas` has them.
    published = {
        "base_shift": 0.95,
        "max_shift": 2.05,
        "base_image_seq_len": 1024,
        "max_image_seq_len": 4096,
        "shift_terminal": 0.1,
        "time_shift_type": "exponential",
    }
    check_fixed(config, published, where)
    return Training.DEV


def _text_encoder(folder: DiffusersFolder) -> Part:
    gemma, connectors = folder.component("text_encoder", *TEXT_ENCODERS), folder.component("connectors", CONNECTORS)
    where = f"{folder.name}/text_encoder"
    shape = gemma_shape(gemma.config, where)
    states = {"caption_channels": shape["hidden_size"], "text_proj_in_factor": shape["num_hidden_layers"] + 1}
    check_fixed(connectors.config, states, f"{folder.name}/connectors")
    projection = {
        key.split(".")[1].removesuffix("aggregate_embed").rstrip("_"): int(tensor.shape[0])
        for key, tensor in projection_weights(connectors.outline()).items()
        if key.endswith(".weight")
    }
    tokenizer = tokenizer_of(folder)
    return text_encoder_part(
        where,
        [gemma, connectors],
        lambda read: [gemma_weights(read(gemma)), projection_weights(read(connectors))],
        native_text_encoder(shape, projection),
        shape,
        lambda dtype: text_encoder_class(shape, projection, dtype),
        (tokenizer, gemma_tokenizer(tokenizer, shape["hidden_size"])),
        {},
    )


def _video_vae(folder: DiffusersFolder) -> Part:
    component = folder.component("vae", VIDEO_VAE)
    where = f"{folder.name}/vae"
    metadata = video_vae_metadata(component.config, where)
    return vae_part(where, [component], lambda read: video_vae_weights(read(component), component.config), metadata)


def _audio_vae(folder: DiffusersFolder) -> Part | None:
    if not folder.has("audio_vae"):
        return None
    vae, vocoder = folder.component("audio_vae", AUDIO_VAE), folder.component("vocoder", *VOCODERS)
    where = f"{folder.name}/audio_vae"
    metadata = audio_vae_metadata(vae.config, vocoder.config, where)
    return vae_part(where, [vae, vocoder], lambda read: audio_vae_weights(read(vae), read(vocoder)), metadata)


def _upscaler(folder: DiffusersFolder) -> Part:
    """The folder's own latent upscaler, which no pipeline's index names."""
    import torch

    if not (folder.path / "latent_upsampler").is_dir():
        raise Refusal(f"{folder.name} has no latent_upsampler; choose a file, or none.", field="latent_upscaler")
    component = folder.component("latent_upsampler", "LTX2LatentUpsamplerModel", listed=False)
    where = f"{folder.name}/latent_upsampler"
    config = upscaler_config(component.config, where)
    with torch.device("meta"):
        check_whole(component.outline(), native_upscaler(config).state_dict(), where)

    def load() -> Any:
        # As ComfyUI's LatentUpscaleModelLoader does it.
        from comfy import model_management, model_patcher

        model = native_upscaler(config).to(model_management.vae_dtype(allowed_dtypes=[torch.bfloat16, torch.float32]))
        if not manages_upscalers():
            model.load_state_dict(component.load())
            return model
        model_management.archive_model_dtypes(model)
        device, offload = model_management.get_torch_device(), model_management.unet_offload_device()
        patcher = model_patcher.CoreModelPatcher(model, load_device=device, offload_device=offload)
        model.load_state_dict(component.load(), assign=patcher.is_dynamic())
        return patcher

    return Part(where, load, Source(component.files, (("config", json.dumps(config)),)))
