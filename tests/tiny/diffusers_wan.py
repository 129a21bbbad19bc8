"""Tiny Wan pipelines of diffusers' own classes, to be saved as folders and compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline
from diffusers import WanTransformer3DModel as Transformer
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Tokenizer, UMT5Config, UMT5EncoderModel

from .tokenizer import tokenizer_model, unigram_model
from .weights import random_weights

TEXT_WIDTH = 32


def transformer(in_channels: int, out_channels: int, seed: int, **changes: Any) -> Transformer:
    shape = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "text_dim": TEXT_WIDTH,
        "freq_dim": 32,
        "ffn_dim": 48,
        "num_layers": 2,
    }
    return filled(Transformer(**(shape | changes)), seed)


def vae_2_1(seed: int) -> AutoencoderKLWan:
    return filled(AutoencoderKLWan(base_dim=4, z_dim=16), seed)


def vae_2_2(seed: int) -> AutoencoderKLWan:
    """Of a width that ComfyUI loads only with the shim."""
    from comfy.latent_formats import Wan22

    native = Wan22()
    return filled(
        AutoencoderKLWan(
            base_dim=8,
            decoder_base_dim=8,
            z_dim=48,
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=16,
            latents_mean=native.latents_mean.flatten().tolist(),
            latents_std=native.latents_std.flatten().tolist(),
        ),
        seed,
    )


def text_encoder(seed: int, vocabulary: int) -> UMT5EncoderModel:
    config = UMT5Config(
        d_ff=64, d_kv=8, d_model=TEXT_WIDTH, num_heads=2, num_layers=2, vocab_size=vocabulary,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return filled(UMT5EncoderModel(config), seed)


def unipc(shift: float, order: int = 2) -> UniPCMultistepScheduler:
    """The scheduler that Wan's diffusers repositories come with."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=shift,
        solver_order=order,
    )


def t2v_folder(folder: Path) -> None:
    """T2V-A14B in small, its weights in several files each."""
    pipeline = WanPipeline(
        **_shared(100, unipc(3.0)),
        transformer=transformer(16, 16, 102),
        transformer_2=transformer(16, 16, 103),
        boundary_ratio=0.875,
    )
    save(pipeline, folder, max_shard_size="150KB")


def i2v_folder(folder: Path) -> None:
    """I2V-A14B in small, with a tokenizer.json made by transformers."""
    pieces, vocabulary = unigram_model()
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True)
    (tokenizer / "spiece.model").write_bytes(pieces)
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    own = {"text_encoder": text_encoder(200, vocabulary), "tokenizer": T5Tokenizer.from_pretrained(tokenizer)}
    pipeline = WanImageToVideoPipeline(
        **(_shared(200, unipc(5.0)) | own),
        transformer=transformer(36, 16, 202),
        transformer_2=transformer(36, 16, 203),
        boundary_ratio=0.9,
        image_processor=None,
        image_encoder=None,
    )
    save(pipeline, folder, pieces)


def ti2v_folder(folder: Path) -> None:
    """TI2V-5B in small."""
    pipeline = WanPipeline(
        **(_shared(300, unipc(5.0)) | {"vae": vae_2_2(301)}),
        transformer=transformer(48, 48, 302),
        expand_timesteps=True,
    )
    save(pipeline, folder)


def wan_2_1_i2v_folder(folder: Path) -> None:
    """Wan 2.1 I2V-14B in small, with the CLIP it looks at its image with, which cannot be narrower than 1280."""
    i2v = transformer(36, 16, 502, image_dim=1280, added_kv_proj_dim=24)
    pipeline = WanImageToVideoPipeline(
        **_shared(500, unipc(3.0)), transformer=i2v, image_encoder=image_encoder(503), image_processor=None
    )
    save(pipeline, folder)


def wan_2_1_flf2v_folder(folder: Path) -> None:
    """Wan 2.1 FLF2V-14B in small: the same with a place for a last frame."""
    flf2v = transformer(36, 16, 602, image_dim=1280, added_kv_proj_dim=24, pos_embed_seq_len=514)
    pipeline = WanImageToVideoPipeline(
        **_shared(600, unipc(3.0)), transformer=flf2v, image_encoder=image_encoder(603), image_processor=None
    )
    save(pipeline, folder)


def image_encoder(seed: int) -> CLIPVisionModel:
    """Of ViT-H's width; its weights are those that fp16 can hold, in which ComfyUI keeps it."""
    config = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=32, num_hidden_layers=2, num_attention_heads=16, image_size=224,
        patch_size=14, projection_dim=16, hidden_act="gelu",
    )  # fmt: skip
    return filled(CLIPVisionModel(config), seed).half().float()


def wan_2_1_folder(folder: Path) -> None:
    """Wan 2.1 T2V-1.3B in small: one transformer, and its weights as the variant fp16 only."""
    pipeline = WanPipeline(**_shared(400, unipc(8.0)), transformer=transformer(16, 16, 402))
    for module in (pipeline.transformer, pipeline.vae, pipeline.text_encoder):
        module.half()
    save(pipeline, folder, variant="fp16")


def _shared(seed: int, scheduler: Any) -> dict[str, Any]:
    encoder = text_encoder(seed, tokenizer_model()[1])
    return {"tokenizer": None, "text_encoder": encoder, "vae": vae_2_1(seed + 1), "scheduler": scheduler}


def save(pipeline: Any, folder: Path, pieces: bytes | None = None, **options: Any) -> None:
    """Save with `save_pretrained`, and a spiece.model as Wan's repositories hold it."""
    pipeline.save_pretrained(folder, **options)
    (folder / "tokenizer").mkdir(exist_ok=True)
    (folder / "tokenizer" / "spiece.model").write_bytes(pieces or tokenizer_model()[0])


def filled(module: Any, seed: int) -> Any:
    """The module in evaluation mode, with the deterministic weights of the other tiny models."""
    module.load_state_dict(random_weights(module, seed))
    return module.eval()
