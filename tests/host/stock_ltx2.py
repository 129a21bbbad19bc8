"""The graphs that ComfyUI's own LTX-2 templates use, as API prompts on the tiny models: what to compare with."""

from __future__ import annotations

from typing import Any

from .stock import Graph, node

DISTILLED, DEV = "ltx-2-19b-distilled.safetensors", "ltx-2-19b-dev-fp8.safetensors"
DISTILLED_2_3, DEV_2_3 = "ltx-2.3-22b-distilled-fp8.safetensors", "ltx-2.3-22b-dev-fp8.safetensors"
TEXT_ENCODER = "gemma_3_12B_it_fp4_mixed.safetensors"
UPSCALER = "ltx-2-spatial-upscaler-x2-1.0.safetensors"
WIDTH, HEIGHT, FPS, SEED = 192, 128, 24.0, 7
SIGMAS = "1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0"
SIGMAS_2 = "0.909375, 0.725, 0.421875, 0.0"
PROMPT, NEGATIVE = "a red fox runs over the snow, music plays softly", "blurry"


def loaders(checkpoint: str = DISTILLED, fps: float = FPS) -> Graph:
    """Nodes checkpoint (model, -, vae), audio_vae and prompts (positive, negative)."""
    return {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "audio_vae": node("LTXVAudioVAELoader", ckpt_name=checkpoint),
        "clip": node("LTXAVTextEncoderLoader", text_encoder=TEXT_ENCODER, ckpt_name=checkpoint, device="default"),
        "positive": node("CLIPTextEncode", clip=["clip", 0], text=PROMPT),
        "negative": node("CLIPTextEncode", clip=["clip", 0], text=NEGATIVE),
        "prompts": node("LTXVConditioning", positive=["positive", 0], negative=["negative", 0], frame_rate=fps),
    }


def empty(frames: int, width: int = WIDTH, height: int = HEIGHT, fps: float = FPS) -> Graph:
    """Nodes video and audio: latents of nothing."""
    return {
        "video": node("EmptyLTXVLatentVideo", width=width, height=height, length=frames, batch_size=1),
        "audio": node(
            "LTXVEmptyLatentAudio", frames_number=frames, frame_rate=fps, batch_size=1, audio_vae=["audio_vae", 0]
        ),
    }


def sampled(
    name: str,
    video: list,
    audio: list,
    prompts: str = "prompts",
    sigmas: str = SIGMAS,
    seed: int = SEED,
    cfg: float = 1.0,
    sampler: str = "euler",
    schedule: dict[str, Any] | None = None,
    model: str = "checkpoint",
) -> Graph:
    """Nodes both_NAME, NAME and parts_NAME (video, audio): one pass over picture and sound."""
    return {
        f"both_{name}": node("LTXVConcatAVLatent", video_latent=video, audio_latent=audio),
        f"noise_{name}": node("RandomNoise", noise_seed=seed),
        f"guider_{name}": node("CFGGuider", model=[model, 0], positive=[prompts, 0], negative=[prompts, 1], cfg=cfg),
        f"sampler_{name}": node("KSamplerSelect", sampler_name=sampler),
        f"sigmas_{name}": schedule or node("ManualSigmas", sigmas=sigmas),
        name: node(
            "SamplerCustomAdvanced",
            noise=[f"noise_{name}", 0],
            guider=[f"guider_{name}", 0],
            sampler=[f"sampler_{name}", 0],
            sigmas=[f"sigmas_{name}", 0],
            latent_image=[f"both_{name}", 0],
        ),
        f"parts_{name}": node("LTXVSeparateAVLatent", av_latent=[name, 0]),
    }


def saved(video: list, audio: list, fps: float = FPS) -> Graph:
    return {
        "decode": node("VAEDecode", samples=video, vae=["checkpoint", 2]),
        "heard": node("LTXVAudioVAEDecode", samples=audio, audio_vae=["audio_vae", 0]),
        "film": node("CreateVideo", images=["decode", 0], fps=fps, audio=["heard", 0]),
        "save": node("SaveVideo", video=["film", 0], filename_prefix="stock/ltx2", format="auto", codec="auto"),
    }


def t2v(frames: int, checkpoint: str = DISTILLED) -> Graph:
    """Text to picture and sound in one pass."""
    return {
        **loaders(checkpoint),
        **empty(frames),
        **sampled("pass", ["video", 0], ["audio", 0]),
        **saved(["parts_pass", 0], ["parts_pass", 1]),
    }


def two_passes(frames: int, checkpoint: str = DISTILLED) -> Graph:
    """Text to picture and sound: half the size, the latent doubled, refined."""
    return {
        **loaders(checkpoint),
        **empty(frames, WIDTH // 2, HEIGHT // 2),
        **sampled("half", ["video", 0], ["audio", 0]),
        "upscaler": node("LatentUpscaleModelLoader", model_name=UPSCALER),
        "doubled": node(
            "LTXVLatentUpsampler", samples=["parts_half", 0], upscale_model=["upscaler", 0], vae=["checkpoint", 2]
        ),
        **sampled("refined", ["doubled", 0], ["parts_half", 1], sigmas=SIGMAS_2, seed=SEED),
        **saved(["parts_refined", 0], ["parts_refined", 1]),
    }
