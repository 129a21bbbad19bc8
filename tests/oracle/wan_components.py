"""Each component of Wan alone, loaded by the pack and by diffusers from the same folder."""

from __future__ import annotations

from typing import Any

import torch

from tests.tiny.prompts import prompts

from .bench import Bench, difference, drawn
from .table import row

T2V, I2V, TI2V = (f"Wan2.2-{name}-Diffusers" for name in ("T2V-A14B", "I2V-A14B", "TI2V-5B"))
I2V_2_1, FLF2V = "Wan2.1-I2V-14B-480P-Diffusers", "Wan2.1-FLF2V-14B-720P-diffusers"
GROUP = "Wan: components"


def _forward(bench: Bench, name: str, first_frame_known: bool = False) -> float:
    theirs, ours = bench.components(name)["transformer"], bench.bundle(name).high.get().model.diffusion_model
    x, context = drawn(2, theirs.config.in_channels, 3, 4, 6, seed=1), drawn(2, 24, 32, seed=2)
    timestep = given = torch.tensor([700.0, 350.0])
    if first_frame_known:
        timestep = torch.tensor([[0.0, 700.0, 700.0]]).expand(2, 3)
        given = timestep.repeat_interleave(2 * 3, dim=1)  # a timestep for each patch
    a = theirs(hidden_states=x, timestep=given, encoder_hidden_states=context, return_dict=False)[0]
    return difference(a, ours(x, timestep, context))


@row(GROUP, "transformer of T2V-A14B", "WanTransformer3DModel")
def t2v(bench: Bench) -> float:
    return _forward(bench, T2V)


@row(GROUP, "transformer of I2V-A14B", "WanTransformer3DModel, 36 channels")
def i2v(bench: Bench) -> float:
    return _forward(bench, I2V)


@row(GROUP, "transformer of TI2V-5B", "WanTransformer3DModel, 48 channels")
def ti2v(bench: Bench) -> float:
    return _forward(bench, TI2V)


@row(GROUP, "transformer of TI2V-5B, first frame known", "the same, a timestep for each token")
def ti2v_known(bench: Bench) -> float:
    return _forward(bench, TI2V, first_frame_known=True)


def squeezed(image: torch.Tensor) -> torch.Tensor:
    """An image `[1, H, W, 3]` as Wan 2.1 gives it to CLIP: a square, nothing cropped."""
    from comfy.clip_model import clip_preprocess

    return clip_preprocess(image, crop=False)


@row(GROUP, "image encoder of Wan2.1 I2V", "CLIPVisionModel, its last but one layer")
def clip(bench: Bench) -> float:
    image = torch.rand(1, 64, 96, 3, generator=torch.Generator().manual_seed(4))
    theirs = bench.components(I2V_2_1)["image_encoder"](squeezed(image), output_hidden_states=True).hidden_states[-2]
    ours = bench.bundle(I2V_2_1).image_encoder.get().encode_image(image, crop=False)
    return difference(theirs, ours.penultimate_hidden_states)


@row(GROUP, "transformer of Wan2.1 I2V", "WanTransformer3DModel with 257 tokens of an image")
def i2v_2_1(bench: Bench) -> float:
    return _with_image(bench, I2V_2_1, 257)


@row(GROUP, "transformer of Wan2.1 FLF2V", "WanTransformer3DModel with 2 x 257 tokens of images, placed")
def flf2v(bench: Bench) -> float:
    return _with_image(bench, FLF2V, 514)


def _with_image(bench: Bench, name: str, tokens: int) -> float:
    theirs, ours = bench.components(name)["transformer"], bench.bundle(name).high.get().model.diffusion_model
    # diffusers takes the last 512 tokens for those of the prompt.
    x, words, seen = drawn(1, 36, 3, 4, 6, seed=1), drawn(1, 512, 32, seed=2), drawn(1, tokens, 1280, seed=3)
    timestep = torch.tensor([700.0])
    each = seen.reshape(-1, 257, 1280)  # diffusers counts images as a batch
    a = theirs(
        hidden_states=x, timestep=timestep, encoder_hidden_states=words, encoder_hidden_states_image=each,
        return_dict=False,
    )[0]  # fmt: skip
    return difference(a, ours(x, timestep, words, clip_fea=seen))


def _vae(bench: Bench, name: str) -> float:
    theirs, ours = bench.components(name)["vae"], bench.bundle(name).vae.get()
    pixels = torch.rand(5, 64, 96, 3, generator=torch.Generator().manual_seed(3))
    latent = theirs.encode((pixels * 2 - 1).movedim(-1, 0)[None]).latent_dist.mode()
    frames = (theirs.decode(latent, return_dict=False)[0].clamp(-1, 1) + 1) / 2
    return max(difference(latent, ours.encode(pixels)), difference(frames.movedim(1, -1), ours.decode(latent)))


@row(GROUP, "VAE of the 14B models, both ways", "AutoencoderKLWan")
def vae_2_1(bench: Bench) -> float:
    return _vae(bench, T2V)


@row(GROUP, "VAE of TI2V-5B, both ways", "AutoencoderKLWan, residual")
def vae_2_2(bench: Bench) -> float:
    return _vae(bench, TI2V)


@row(GROUP, "how latents are normalised", "latents_mean and latents_std of both VAEs")
def normalised(bench: Bench) -> float:
    worst = 0.0
    for name in (T2V, TI2V):
        config, model = bench.components(name)["vae"].config, bench.bundle(name).high.get().model
        latent = drawn(1, config.z_dim, 2, 4, 4)
        mean, deviation = (torch.tensor(config[key]).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
        worst = max(worst, difference((latent - mean) / deviation, model.process_latent_in(latent)))
    return worst


@row(GROUP, "prompt to embeddings", "AutoTokenizer and UMT5EncoderModel, zero behind the prompt")
def prompt(bench: Bench) -> float:
    text = "一只红色的狐狸 runs over the snow, camera pans left"
    encoder = bench.components(I2V)["text_encoder"]
    given = _tokenizer(bench)(text, padding="max_length", max_length=512, return_tensors="pt")
    hidden = encoder(given.input_ids, given.attention_mask).last_hidden_state * given.attention_mask[..., None]
    return difference(hidden, bench.bundle(I2V).encode_prompt(text)[0][0])


@row(GROUP, "weights of sharded folders", "from_pretrained, every tensor", bound=0.0)
def weights(bench: Bench) -> float:
    from longtake.pipelines.load.diffusers.wan import transformer_weights, vae_weights

    worst = 0.0
    for name in (T2V, I2V, TI2V):
        components, bundle = bench.components(name), bench.bundle(name)
        pairs = [(transformer_weights(components["transformer"].state_dict()), bundle.high.get().model.diffusion_model)]
        if bundle.low is not None:
            second = transformer_weights(components["transformer_2"].state_dict())
            pairs.append((second, bundle.low.get().model.diffusion_model))
        vae = components["vae"]
        pairs.append((vae_weights(vae.state_dict(), vae.config), bundle.vae.get().first_stage_model))
        for theirs, ours in pairs:
            loaded = ours.state_dict()
            assert loaded.keys() == theirs.keys()
            worst = max(worst, *(difference(theirs[key], loaded[key]) for key in loaded))
    return worst


@row(GROUP, "tokenizer.json of a folder", "AutoTokenizer: prompts of 1,000 with other tokens", bound=0.0)
def tokens(bench: Bench) -> float:
    from longtake.pipelines.load.diffusers.tokenizer import FolderTokenizer

    theirs, ours = _tokenizer(bench), FolderTokenizer(str(bench.folders / I2V / "tokenizer" / "tokenizer.json"))
    return float(sum(theirs(text)["input_ids"] != ours(text)["input_ids"] for text in prompts(1000)))


@row(GROUP, "spiece.model of a folder without tokenizer.json", "AutoTokenizer: prompts of 1,000 with other tokens", 0.0)
def pieces(bench: Bench) -> float:
    from comfy.text_encoders.spiece_tokenizer import SPieceTokenizer

    theirs, ours = _tokenizer(bench), SPieceTokenizer(str(bench.folders / I2V / "tokenizer" / "spiece.model"))
    return float(sum(theirs(text)["input_ids"] != ours(text)["input_ids"] for text in prompts(1000)))


def _tokenizer(bench: Bench) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(bench.folders / I2V / "tokenizer")
