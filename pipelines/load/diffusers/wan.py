"""Wan in diffusers' layout as a bundle on ComfyUI's own classes: 2.2 T2V-A14B, I2V-A14B and TI2V-5B, and 2.1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...errors import Refusal
from ...families.wan22 import WAN22
from ...families.wan22_sampling import SamplingSettings, Split
from ...mlx.process import FIELD, Weights
from ...mlx.wan22 import Transformer, by_mlx
from ...model.bundle import VideoModel
from ...model.part import Part
from ...model.variant import Mode, Variant
from ...timeline.clips import Carry
from ...weights.outline import Outline, model_config
from ...weights.pairs import Noise
from ..parts import check_vae
from .clip_vision import image_encoder_part
from .folder import Component, DiffusersFolder, check_fixed
from .keys import UMT5, WAN_2_1_VAE, WAN_2_2_VAE, WAN_TRANSFORMER, WAN_VAE_RESNETS, renamed
from .parts import text_encoder_part, transformer_part, vae_part
from .tokenizer import tokenizer_of, umt5_tokenizer

PIPELINES = ("WanPipeline", "WanImageToVideoPipeline", "WanVideoToVideoPipeline")
TRANSFORMER = "WanTransformer3DModel"
VAE = "AutoencoderKLWan"
TEXT_ENCODER = "UMT5EncoderModel"

# wan/configs/shared_config.py and wan_t2v_14B.py of the Wan 2.1 release.
WAN_2_1 = SamplingSettings(steps=50, cfg_high=5.0, cfg_low=5.0, shift=5.0, split=Split.SINGLE)
# What image to video of Wan 2.1 can do: one model from a first frame, another from a first to a last.
FIRST = frozenset({Mode.IMAGE, Mode.CONTINUE})
FIRST_AND_LAST = frozenset({Mode.FIRST_LAST, Mode.CONTINUE_TO_LAST})


def wan_bundle(folder: DiffusersFolder, weight_dtype: str, mlx: Weights | None = None) -> VideoModel:
    """A bundle of a folder whose configs and headers are checked now and whose weights load when first needed.

    Args:
        mlx: what its weights are held in where MLX renders its stages; None where ComfyUI does.

    Raises:
        Refusal: a component is of an unknown class, not whole, or not what ComfyUI computes, or MLX if that renders.
    """
    high, variant = expert(folder, "transformer", weight_dtype)
    low = None
    if folder.has("transformer_2"):
        low, other = expert(folder, "transformer_2", weight_dtype)
        if other != variant:
            raise Refusal(
                f"{folder.name}: transformer is {variant.name}, transformer_2 {other.name}; both must be one kind.",
                field="folder",
            )
    variant, notes = _published(folder, variant, experts=1 if low is None else 2)
    bundle = VideoModel(
        family=WAN22,
        variant=variant,
        high=high,
        low=low,
        text_encoder=_text_encoder(folder),
        vae=_vae(folder, variant),
        image_encoder=image_encoder_part(folder) if _looks_at_images(high) else None,
        notes=notes,
    )
    return bundle if mlx is None else _by_mlx(bundle, folder, weight_dtype, mlx)


def _by_mlx(bundle: VideoModel, folder: DiffusersFolder, weight_dtype: str, weights: Weights) -> VideoModel:
    if weight_dtype != "default":
        raise Refusal(
            f"{weight_dtype} given, which is a precision of PyTorch's; choose default here, and {FIELD} says what MLX "
            "holds weights in.",
            field="weight_dtype",
        )
    transformers = {Noise.HIGH: _transformer(folder, "transformer")}
    if bundle.low is not None:
        transformers[Noise.LOW] = _transformer(folder, "transformer_2")
    return by_mlx(bundle, transformers, weights)


def _transformer(folder: DiffusersFolder, name: str) -> Transformer:
    component = folder.component(name, TRANSFORMER)
    config = _complete(component, f"{folder.name}/{name}")
    return Transformer(component.files, config, transformer_weights({key: key for key in component.outline()}))


def transformer_metadata(config: Mapping[str, Any]) -> dict[str, str]:
    """What ComfyUI's detection cannot read from shapes, as the metadata that it takes it from."""
    shape = {
        "num_heads": config["num_attention_heads"],
        "text_dim": config["text_dim"],
        "freq_dim": config["freq_dim"],
        "eps": config["eps"],
        "cross_attn_norm": config["cross_attn_norm"],
        "patch_size": list(config["patch_size"]),
    }
    return {"config": json.dumps({"transformer": shape})}


def transformer_weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """A transformer's weights by ComfyUI's names."""
    # Wan 2.1 image to video: diffusers makes it together with norm_added_k and never uses it.
    return renamed({key: weight for key, weight in weights.items() if "norm_added_q" not in key}, WAN_TRANSFORMER)


def vae_weights(weights: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A VAE's weights by ComfyUI's names."""
    return renamed(weights, *(WAN_2_2_VAE if config.get("is_residual") else WAN_2_1_VAE))


def text_encoder_weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """A text encoder's weights by ComfyUI's names."""
    return renamed(weights, UMT5)


def expert(folder: DiffusersFolder, name: str, weight_dtype: str) -> tuple[Part, Variant]:
    """One diffusion model of a folder, and what it can do."""
    component = folder.component(name, TRANSFORMER)
    where = f"{folder.name}/{name}"
    metadata = transformer_metadata(_complete(component, where))
    variant = _variant(Outline(where, transformer_weights(component.outline()), metadata), where)
    part = transformer_part(
        where, [component], lambda read: transformer_weights(read(component)), metadata, weight_dtype
    )
    return part, variant


def _complete(component: Component, where: str) -> Mapping[str, Any]:
    """A transformer's config, with diffusers' defaults for what older ones leave out."""
    defaults = {
        "num_attention_heads": 40,
        "text_dim": 4096,
        "freq_dim": 256,
        "eps": 1e-6,
        "cross_attn_norm": True,
        "patch_size": (1, 2, 2),
        "attention_head_dim": 128,
    }
    check_fixed(component.config, {"qk_norm": "rms_norm_across_heads"}, where)
    return {**defaults, **component.config}


def _variant(header: Outline, where: str) -> Variant:
    config = model_config(header)
    if config is not None and config.get("model_type") == "i2v":
        modes = FIRST_AND_LAST if "flf_pos_embed_token_number" in config else FIRST
        i2v = next(variant for variant in WAN22.variants if variant.name == "i2v-14b")
        return replace(i2v, experts=1, modes=modes, carries=i2v.carries - {Carry.SVI}, sampling=WAN_2_1)
    variant = None if config is None else WAN22.variant_of(config)
    if variant is None:
        raise Refusal(
            f"{where} is not one of {', '.join(v.name for v in WAN22.variants)}, by the channels it takes and gives.",
            field="folder",
        )
    return variant


def _published(folder: DiffusersFolder, variant: Variant, experts: int) -> tuple[Variant, tuple[str, ...]]:
    """The variant with what the folder says for itself: shift, boundary, and how timesteps meet a known first frame."""
    sampling: Any = variant.sampling
    boundary = folder.index.get("boundary_ratio")
    notes: tuple[str, ...] = ()
    if experts == 2 and boundary is None:
        notes += (
            f"{folder.name} gives no boundary_ratio; {sampling.boundary} is what {variant.name} was published with.",
        )
    if experts == 1 and variant.experts == 2:  # Wan 2.1 from text has the shapes of 2.2
        variant = replace(variant, experts=1, sampling=WAN_2_1)
    if variant.sampling == WAN_2_1:
        sampling = WAN_2_1
        notes += (f"One model, as Wan 2.1 has it: {WAN_2_1.steps} steps, guidance {WAN_2_1.cfg_high:g}.",)
    shift = _shift(folder)
    sampling = replace(
        sampling,
        shift=sampling.shift if shift is None else shift,
        boundary=sampling.boundary if boundary is None else float(boundary),
    )
    expand = bool(folder.index.get("expand_timesteps", False))
    if expand and not variant.keeps_slots:
        raise Refusal(
            f"{folder.name}: expand_timesteps is set for a model of {variant.latent_channels} channels; ComfyUI gives "
            "timesteps to single frames of TI2V-5B (48 channels) only.",
            field="folder",
        )
    if variant.keeps_slots and not expand:
        # Such a model has never seen a clean frame among noisy ones.
        variant = replace(variant, modes=frozenset({Mode.TEXT}), carries=frozenset())
        notes += ("expand_timesteps is not set in its index, so it renders from text alone.",)
    return replace(variant, sampling=sampling), notes


def _shift(folder: DiffusersFolder) -> float | None:
    """The flow shift of the folder's scheduler, or None where it states none."""
    if not folder.has("scheduler"):
        return None
    config = folder.config("scheduler", "scheduler_config.json")
    kind = config.get("_class_name")
    flow = config.get("prediction_type") == "flow_prediction" and config.get("use_flow_sigmas")
    if kind == "FlowMatchEulerDiscreteScheduler" and not config.get("use_dynamic_shifting"):
        shift = config.get("shift")
    elif kind in ("UniPCMultistepScheduler", "DPMSolverMultistepScheduler") and flow:
        shift = config.get("flow_shift")
    else:
        raise Refusal(
            f"{folder.name}: its scheduler is {kind}{'' if flow else ' without flow prediction'}; Wan is sampled with "
            "UniPCMultistepScheduler, DPMSolverMultistepScheduler or FlowMatchEulerDiscreteScheduler at a fixed shift.",
            field="folder",
        )
    return None if shift is None else float(shift)


def _vae(folder: DiffusersFolder, variant: Variant) -> Part:
    component = folder.component("vae", VAE)
    where, config = f"{folder.name}/vae", component.config
    _check_vae_config(config, where)
    check_vae(variant, where, int(config.get("z_dim", 16)))
    width = vae_weights(component.outline(), config)["encoder.conv1.weight"].shape[0]
    if config.get("base_dim", width) != width:
        raise Refusal(
            f"{where}: base_dim is {config['base_dim']}, and its weights have a width of {width}.", field="folder"
        )
    return vae_part(where, [component], lambda read: vae_weights(read(component), config))


def _check_vae_config(config: Mapping[str, Any], where: str) -> None:
    """Raise `Refusal` where a config says other than what ComfyUI has fixed in its code."""
    from comfy import latent_formats

    fixed = {
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": WAN_VAE_RESNETS,
        "attn_scales": [],
        "temperal_downsample": [False, True, True],
    }
    check_fixed(config, fixed, where)
    native: Any = latent_formats.Wan22() if config.get("z_dim", 16) == 48 else latent_formats.Wan21()
    for key in ("latents_mean", "latents_std"):
        stated, computed = config.get(key), getattr(native, key).flatten().tolist()
        if stated is None:
            continue
        if len(stated) != len(computed) or max(abs(a - b) for a, b in zip(stated, computed)) > 1e-5:  # noqa: B905
            raise Refusal(f"{where}: its {key} are not those that ComfyUI normalises latents with.", field="folder")


def _text_encoder(folder: DiffusersFolder) -> Part:
    component = folder.component("text_encoder", TEXT_ENCODER)
    where = f"{folder.name}/text_encoder"
    shape = text_encoder_shape(component.config, where)
    tokenizer = tokenizer_of(folder)

    def encoder(dtype: Any) -> Any:
        from comfy.text_encoders.wan import te

        return te(dtype_t5=dtype)

    return text_encoder_part(
        where,
        [component],
        lambda read: [text_encoder_weights(read(component))],
        native_text_encoder(shape),
        shape,
        encoder,
        (tokenizer, umt5_tokenizer(tokenizer, int(shape["d_model"]))),
        {"umt5xxl_model_config": shape},
    )


def text_encoder_shape(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """ComfyUI's config of a UMT5 of any size.

    Raises:
        Refusal: it computes otherwise than ComfyUI's class.
    """
    fixed = {
        "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
    }
    check_fixed(config, fixed, where)
    sizes = {key: config[key] for key in ("d_ff", "d_kv", "d_model", "num_heads", "num_layers", "vocab_size")}
    return {**sizes, "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True, "model_type": "umt5"}


def native_text_encoder(shape: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights of ComfyUI's class for a UMT5, as meta tensors."""
    import torch
    from comfy import ops
    from comfy.text_encoders.t5 import T5

    return dict(T5(shape, torch.float32, torch.device("meta"), ops.manual_cast).state_dict())


def _looks_at_images(model: Part) -> bool:
    return model.header is not None and "img_emb.proj.1.weight" in model.header().tensors
