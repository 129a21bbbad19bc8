"""The tiny models under the file names that the shipped workflows use.

`python tests/run.py tiny.models FOLDER` makes them there, with the Python that ComfyUI runs on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.host.place import ROOT, Place

Recipe = Callable[[Path], None]


def recipes() -> dict[str, Recipe]:
    """Name below the models folder -> what makes that file, or that folder in diffusers' layout."""
    import torch

    from . import diffusers_ltx2, diffusers_wan, ltx, ltx2, wan
    from .weights import save

    t2v = partial(wan.diffusion_model, in_channels=16, out_channels=16)
    i2v = partial(wan.diffusion_model, in_channels=36, out_channels=16)
    ti2v = partial(wan.diffusion_model, in_channels=48, out_channels=48)
    return {
        "diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors": partial(t2v, seed=1),
        "diffusion_models/wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors": partial(t2v, seed=2),
        "diffusion_models/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors": partial(i2v, seed=3),
        "diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors": partial(i2v, seed=4),
        "diffusion_models/wan2.2_ti2v_5B_fp16.safetensors": partial(ti2v, seed=5),
        "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors": partial(wan.text_encoder, seed=11),
        "vae/wan_2.1_vae.safetensors": partial(wan.vae_2_1, seed=21),
        "vae/wan2.2_vae.safetensors": partial(wan.vae_2_2, seed=22),
        "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors": partial(wan.lora, seed=31),
        "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors": partial(wan.lora, seed=32),
        "loras/wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors": partial(wan.lora, seed=33),
        "loras/wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors": partial(wan.lora, seed=34),
        "loras/ltx-2-19b-distilled-lora-384.safetensors": partial(ltx2.lora, seed=35),
        # What ComfyUI's own LTX-2.3 templates name; the one for Gemma is listed there and, without its prompt writer,
        # never put on.
        "loras/ltx_2.3_22b_distilled_1.1_lora_dynamic_fro09_avg_rank_111_bf16.safetensors": partial(
            ltx2.lora, seed=36, projection=False
        ),
        "loras/gemma-3-12b-it-abliterated_lora_rank64_bf16.safetensors": partial(ltx2.lora, seed=37, projection=False),
        "latent_upscale_models/ltx-2.3-spatial-upscaler-x2-1.1.safetensors": partial(ltx2.upsampler, seed=73),
        "checkpoints/ltx-2-19b-distilled.safetensors": partial(ltx2.checkpoint, seed=51, version="2.0"),
        "checkpoints/ltx-2-19b-dev-fp8.safetensors": partial(ltx2.checkpoint, seed=55, version="2.0"),
        "checkpoints/ltx-2.3-22b-distilled-fp8.safetensors": partial(ltx2.checkpoint, seed=61, version="2.3"),
        "checkpoints/ltx-2.3-22b-dev-fp8.safetensors": partial(ltx2.checkpoint, seed=65, version="2.3"),
        **ltx2_parts(),
        "text_encoders/gemma_3_12B_it_fp4_mixed.safetensors": partial(ltx2.text_encoder, seed=71),
        "latent_upscale_models/ltx-2-spatial-upscaler-x2-1.0.safetensors": partial(ltx2.upsampler, seed=72),
        "diffusers/Wan2.2-T2V-A14B-Diffusers": diffusers_wan.t2v_folder,
        "diffusers/Wan2.2-I2V-A14B-Diffusers": diffusers_wan.i2v_folder,
        "diffusers/Wan2.2-TI2V-5B-Diffusers": diffusers_wan.ti2v_folder,
        "diffusers/Wan2.1-T2V-1.3B-Diffusers": diffusers_wan.wan_2_1_folder,
        "diffusers/Wan2.1-I2V-14B-480P-Diffusers": diffusers_wan.wan_2_1_i2v_folder,
        "diffusers/Wan2.1-FLF2V-14B-720P-diffusers": diffusers_wan.wan_2_1_flf2v_folder,
        "diffusers/LTX-2": diffusers_ltx2.folder_2_0,
        "diffusers/LTX-2.3-Distilled": diffusers_ltx2.folder_2_3,
        "checkpoints/ltx-2-19b-silent.safetensors": partial(ltx2.checkpoint, seed=52, version="2.0", sound=False),
        # What an LTX-2 loader must refuse.
        "checkpoints/ltx-2-without-metadata.safetensors": partial(
            ltx2.checkpoint, seed=53, version="2.0", metadata=False
        ),
        "checkpoints/ltx-2.5.safetensors": partial(ltx2.checkpoint, seed=54, version="2.3", biases=False),
        # What a Wan 2.2 loader must refuse: other models, and files that hold no model.
        "diffusion_models/ltx-video-2b-v0.9.5.safetensors": partial(ltx.diffusion_model, seed=41),
        "diffusion_models/wan2.1_i2v_480p_14B_fp16.safetensors": partial(i2v, seed=42, kind="i2v"),
        "diffusion_models/no_model.safetensors": partial(save, {"weight": torch.zeros(4)}),
        "diffusion_models/torn_download.safetensors": lambda path: path.write_bytes(b"\x00\x01half a header"),
    }


def ltx2_parts() -> dict[str, Recipe]:
    """The distilled checkpoint once more, in files of its parts; `make_models` makes the checkpoint before them."""
    from . import ltx2

    def of(keep: tuple[str, ...], strip: str = "") -> Recipe:
        def recipe(path: Path) -> None:
            whole = path.parents[1] / "checkpoints" / "ltx-2-19b-distilled.safetensors"
            ltx2.part(path, whole=whole, keep=keep, strip=strip)

        return recipe

    model = "model.diffusion_model."
    return {
        "diffusion_models/ltx-2-19b-distilled_transformer.safetensors": of((model,), model),
        "text_encoders/ltx-2-19b-text-projection.safetensors": of(("text_embedding_projection.",)),
        "vae/ltx-2-19b-video-vae.safetensors": of(("vae.",), "vae."),
        "vae/ltx-2-19b-audio-vae.safetensors": of(("audio_vae.", "vocoder.")),
    }


def make_models(folder: Path) -> None:
    """Make every tiny model below `folder`."""
    for name, recipe in recipes().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        recipe(path)


def tiny_models(place: Place) -> Path:
    """Return the models folder of this version of the recipes, making it on the first call.

    It is made under another name and renamed, so that it exists whole or not at all.
    """
    folder = place.cache / f"tiny-{recipe_key(place)}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
    command = [str(place.python), "tests/run.py", "tiny.models", str(unfinished)]
    made = subprocess.run(
        command, cwd=ROOT, env=place.environment(), capture_output=True, text=True, errors="replace", check=False
    )
    if made.returncode:
        raise RuntimeError(f"making the tiny models failed:\n{made.stdout}{made.stderr}")
    try:
        unfinished.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(unfinished, ignore_errors=True)
        if not folder.is_dir():
            raise
    return folder


def recipe_key(place: Place) -> str:
    """Hash of the source that makes the models and of the ComfyUI whose classes it uses."""
    key = hashlib.sha256(str(place.comfyui).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        key.update(source.read_bytes())
    return key.hexdigest()[:10]


def main() -> None:
    from tests.host.inprocess import enter_comfyui

    started = time.monotonic()
    enter_comfyui(Place.here().comfyui)
    make_models(Path(sys.argv[1]))
    print(f"tiny models made in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
