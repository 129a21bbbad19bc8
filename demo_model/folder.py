"""The model as a folder in diffusers' layout: written in half precision, and read back.

The pack's own tables of names are read backwards here, and read forwards when a folder is loaded.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import text, transformer, vae
from .model import Model

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "model"
ENCODER = HERE / "encoder.safetensors"  # the VAE's encoder as matrices
WEIGHTS = "diffusion_pytorch_model.safetensors"
EXPERTS = ("transformer", "transformer_2")

TRANSFORMER = {
    "_class_name": "WanTransformer3DModel",
    "num_attention_heads": transformer.CONFIG["num_heads"],
    "attention_head_dim": transformer.CONFIG["dim"] // transformer.CONFIG["num_heads"],
    "in_channels": transformer.IN_CHANNELS,
    "out_channels": vae.CHANNELS,
    "text_dim": transformer.CONFIG["text_dim"],
    "freq_dim": transformer.CONFIG["freq_dim"],
    "ffn_dim": transformer.CONFIG["ffn_dim"],
    "num_layers": transformer.CONFIG["num_layers"],
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "patch_size": [1, 2, 2],
    "image_dim": None,
    "added_kv_proj_dim": None,
    "rope_max_seq_len": 1024,
}
VAE = {"_class_name": "AutoencoderKLWan", "base_dim": vae.WIDTH, "dropout": 0.0, **vae.CONFIG}
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "shift": transformer.SHIFT,
    "num_train_timesteps": 1000,
}


def write(model: Model, folder: Path = FOLDER) -> None:
    """Write `folder` anew, and the matrices beside it."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from longtake.pipelines.load.diffusers.keys import WAN_2_1_VAE, WAN_TRANSFORMER

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file({name: m.contiguous() for name, m in model.matrices.items()}, folder.with_name(ENCODER.name))
    names = _diffusers_names(WanTransformer3DModel, TRANSFORMER, (WAN_TRANSFORMER,))
    for part, expert in zip(EXPERTS, model.experts, strict=True):
        _component(folder / part, TRANSFORMER, _renamed(expert.state_dict(), names), WEIGHTS)
    names = _diffusers_names(AutoencoderKLWan, VAE, WAN_2_1_VAE)
    _component(folder / "vae", VAE, _renamed(model.vae.state_dict(), names), WEIGHTS)
    pieces, vocabulary = text.tokenizer()
    _component(folder / "text_encoder", _text_config(vocabulary), text.encoder().state_dict(), "model.safetensors")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "spiece.model").write_bytes(pieces)
    _json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    _json(folder / "model_index.json", _index("WanImageToVideoPipeline"))


def write_text_to_video(folder: Path, source: Path = FOLDER) -> None:
    """Write what `source` does from text alone as a model of 16 channels of its own.

    Without a known frame the other 20 channels are zero, so the weights that read them can go.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    for part in EXPERTS:
        weights = load_file(folder / part / WEIGHTS)
        name = "patch_embedding.weight"
        weights[name] = weights[name][:, : vae.CHANNELS].contiguous()
        _component(folder / part, {**TRANSFORMER, "in_channels": vae.CHANNELS}, weights, WEIGHTS)
    _json(folder / "model_index.json", _index("WanPipeline"))


def read(folder: Path = FOLDER) -> Model:
    """The model of a folder in ComfyUI's classes, for the fast way through it."""
    from longtake.pipelines.load.diffusers.wan import transformer_weights, vae_weights

    def stored(part: str) -> dict[str, Tensor]:
        return {name: weight.float() for name, weight in load_file(folder / part / WEIGHTS).items()}

    experts = []
    for part in EXPERTS:
        expert = transformer.wan_transformer()
        expert.load_state_dict(transformer_weights(stored(part)))
        experts.append(expert.eval())
    whole = vae.wan_vae()
    whole.load_state_dict(vae_weights(stored("vae"), VAE))
    return Model(whole.eval(), load_file(ENCODER), (experts[0], experts[1]))


def size(folder: Path = FOLDER) -> int:
    """Bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _diffusers_names(kind: Any, config: Mapping[str, Any], tables: Sequence[Any]) -> dict[str, str]:
    """Native name -> diffusers' name, from a module of diffusers that holds shapes only."""
    from longtake.pipelines.load.diffusers.keys import renamed

    with torch.device("meta"):
        names = list(kind.from_config(config).state_dict())
    return dict(renamed({name: name for name in names}, *tables).items())


def _renamed(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    return {names[name]: weight for name, weight in weights.items()}


def _component(folder: Path, config: Mapping[str, Any], weights: Mapping[str, Tensor], name: str) -> None:
    _json(folder / "config.json", config)
    half = {key: weight.detach().half().contiguous() for key, weight in weights.items()}
    save_file(half, folder / name, {"format": "pt"})


def _json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _text_config(vocabulary: int) -> dict[str, Any]:
    sizes = {key: text.CONFIG[key] for key in ("d_ff", "d_kv", "d_model", "num_heads", "num_layers")}
    return {
        "architectures": ["UMT5EncoderModel"],
        "model_type": "umt5",
        "vocab_size": vocabulary,
        "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        **sizes,
    }


def _index(pipeline: str) -> dict[str, Any]:
    return {
        "_class_name": pipeline,
        "boundary_ratio": transformer.BOUNDARY,
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "image_encoder": [None, None],
        "image_processor": [None, None],
    }
