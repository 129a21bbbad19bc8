"""The graphs that ComfyUI's own Wan 2.2 templates use, as API prompts on the tiny models: what to compare with."""

from __future__ import annotations

from typing import Any

MODELS = {
    "t2v": (
        "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
        "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors",
    ),
    "i2v": (
        "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
        "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
    ),
    "ti2v": ("wan2.2_ti2v_5B_fp16.safetensors",),
}
TEXT_ENCODER = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
SIZE = {"width": 96, "height": 64, "batch_size": 1}
SHIFT, STEPS, SPLIT, CFG, SEED = 8.0, 4, 2, 3.5, 7

Graph = dict[str, dict[str, Any]]


def loaders(kind: str, vae: str) -> Graph:
    """Nodes high, low (where there is one), positive, negative and vae."""
    graph: Graph = {
        "clip": node("CLIPLoader", clip_name=TEXT_ENCODER, type="wan", device="default"),
        "positive": node("CLIPTextEncode", clip=["clip", 0], text="a red fox runs over the snow"),
        "negative": node("CLIPTextEncode", clip=["clip", 0], text="blurry"),
        "vae": node("VAELoader", vae_name=vae),
    }
    for name, file in zip(("high", "low"), MODELS[kind], strict=False):
        graph[f"{name}_file"] = node("UNETLoader", unet_name=file, weight_dtype="default")
        graph[name] = node("ModelSamplingSD3", model=[f"{name}_file", 0], shift=SHIFT)
    return graph


def both_experts(positive: list, negative: list, latent: list) -> Graph:
    """Nodes first and second: the high-noise expert up to SPLIT, the low-noise one from there."""
    common = {
        "steps": STEPS,
        "cfg": CFG,
        "sampler_name": "euler",
        "scheduler": "simple",
        "positive": positive,
        "negative": negative,
    }
    first = {"add_noise": "enable", "noise_seed": SEED, "start_at_step": 0, "end_at_step": SPLIT}
    second = {"add_noise": "disable", "noise_seed": 0, "start_at_step": SPLIT, "end_at_step": 10000}
    return {
        "first": node(
            "KSamplerAdvanced",
            **common,
            **first,
            model=["high", 0],
            latent_image=latent,
            return_with_leftover_noise="enable",
        ),
        "second": node(
            "KSamplerAdvanced",
            **common,
            **second,
            model=["low", 0],
            latent_image=["first", 0],
            return_with_leftover_noise="disable",
        ),
    }


def saved(latent: list, fps: float) -> Graph:
    return {
        "decode": node("VAEDecode", samples=latent, vae=["vae", 0]),
        "video": node("CreateVideo", images=["decode", 0], fps=fps),
        "save": node("SaveVideo", video=["video", 0], filename_prefix="stock/film", format="auto", codec="auto"),
    }


def t2v(frames: int) -> Graph:
    return {
        **loaders("t2v", "wan_2.1_vae.safetensors"),
        "latent": node("EmptyHunyuanLatentVideo", **SIZE, length=frames),
        **both_experts(["positive", 0], ["negative", 0], ["latent", 0]),
        **saved(["second", 0], fps=16),
    }


def i2v(frames: int, image: str) -> Graph:
    return {
        **loaders("i2v", "wan_2.1_vae.safetensors"),
        "image": node("LoadImage", image=image),
        "condition": node(
            "WanImageToVideo",
            positive=["positive", 0],
            negative=["negative", 0],
            vae=["vae", 0],
            start_image=["image", 0],
            **SIZE,
            length=frames,
        ),
        **both_experts(["condition", 0], ["condition", 1], ["condition", 2]),
        **saved(["second", 0], fps=16),
    }


def ti2v(frames: int, image: str) -> Graph:
    return {
        **loaders("ti2v", "wan2.2_vae.safetensors"),
        "image": node("LoadImage", image=image),
        "latent": node("Wan22ImageToVideoLatent", vae=["vae", 0], start_image=["image", 0], **SIZE, length=frames),
        "sample": node(
            "KSampler",
            model=["high", 0],
            seed=SEED,
            steps=STEPS,
            cfg=5.0,
            sampler_name="uni_pc",
            scheduler="simple",
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["latent", 0],
            denoise=1.0,
        ),
        **saved(["sample", 0], fps=24),
    }


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
