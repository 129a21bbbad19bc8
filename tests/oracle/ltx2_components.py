"""Each component of LTX-2 alone, loaded by the pack and by diffusers from the same folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.tiny.prompts import prompts

from .bench import Bench, difference, drawn
from .table import row

LTX_2_0, LTX_2_3 = "LTX-2", "LTX-2.3-Distilled"
GROUP = "LTX-2: components"
KNOWN = "the same, its gates at the other side's sigma as in Lightricks' code"
PROMPT = "一只红色的狐狸 runs over the snow, camera pans left"
FRAMES, HEIGHT, WIDTH, SOUND = 3, 2, 3, 5  # of a latent


@contextmanager
def gates_at_the_other_sigma(transformer: Any) -> Iterator[None]:
    """Let the gates between picture and sound see how noisy the other one is, as Lightricks' own code has it.

    diffusers gives them the timestep of their own side, which differs where a first frame is known
    (ltx_core/model/transformer/transformer_args.py, _prepare_cross_attention_timestep).
    """
    gates = (transformer.av_cross_attn_video_a2v_gate, transformer.av_cross_attn_audio_v2a_gate)
    sigma: list[float] = []

    def note(_: Any, positional: Any, named: Any) -> None:
        sigma[:] = [float(named["sigma"].flatten()[0])]

    def at_sigma(_: Any, given: Any) -> Any:
        return (torch.full_like(given[0], sigma[0]), *given[1:])

    hooks = [transformer.register_forward_pre_hook(note, with_kwargs=True)]
    hooks += [gate.register_forward_pre_hook(at_sigma) for gate in gates]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def packed(video: torch.Tensor) -> torch.Tensor:
    """`[B, C, T, h, w]` -> `[B, T*h*w, C]`."""
    return video.flatten(2).transpose(1, 2)


def packed_sound(audio: torch.Tensor) -> torch.Tensor:
    """`[B, 8, T, 16]` -> `[B, T, 128]`."""
    return audio.transpose(1, 2).flatten(2)


def _forward(bench: Bench, name: str, first_frame_known: bool = False) -> float:
    theirs, ours = bench.components(name)["transformer"], bench.bundle(name).high.get().model.diffusion_model
    video, audio = drawn(1, 128, FRAMES, HEIGHT, WIDTH, seed=1), drawn(1, 8, SOUND, 16, seed=2)
    newer = name == LTX_2_3
    width, sound_width = (48, 24) if newer else (32, 32)
    words, sound_words = drawn(1, 1024, width, seed=3), drawn(1, 1024, sound_width, seed=4)
    sigma = torch.tensor([0.7])
    known = torch.ones(1, 1, FRAMES, HEIGHT, WIDTH)
    if first_frame_known:
        known[:, :, 0] = 0
    timesteps = (known * 0.7).flatten(1)
    with gates_at_the_other_sigma(theirs):
        a, b = theirs(
            hidden_states=packed(video), audio_hidden_states=packed_sound(audio), encoder_hidden_states=words,
            audio_encoder_hidden_states=sound_words, timestep=timesteps * 1000,
            audio_timestep=torch.full((1, SOUND), 700.0), sigma=sigma * 1000, num_frames=FRAMES, height=HEIGHT,
            width=WIDTH, fps=24.0, audio_num_frames=SOUND, use_cross_timestep=False, return_dict=False,
        )  # fmt: skip
    given = (timesteps.unsqueeze(-1) if first_frame_known else sigma, sigma)
    c, d = ours(
        [video.clone(), audio.clone()], given, torch.cat((words, sound_words), -1), None, frame_rate=24.0,
        transformer_options={},
    )  # fmt: skip
    return difference((a, b), (packed(c), packed_sound(d)))


@row(GROUP, "transformer of LTX-2.0", "LTX2VideoTransformer3DModel")
def transformer_2_0(bench: Bench) -> float:
    return _forward(bench, LTX_2_0)


@row(GROUP, "transformer of LTX-2.3", "LTX2VideoTransformer3DModel, gated, prompts modulated")
def transformer_2_3(bench: Bench) -> float:
    return _forward(bench, LTX_2_3)


@row(
    GROUP,
    "transformer of LTX-2.0, first frame known",
    KNOWN,
)
def known_2_0(bench: Bench) -> float:
    return _forward(bench, LTX_2_0, first_frame_known=True)


@row(
    GROUP,
    "transformer of LTX-2.3, first frame known",
    KNOWN,
)
def known_2_3(bench: Bench) -> float:
    return _forward(bench, LTX_2_3, first_frame_known=True)


def _prompt(bench: Bench, name: str) -> float:
    pipeline = bench.pipeline(name, "LTX2Pipeline", tokenizer=bench.components(LTX_2_0)["tokenizer"])
    hidden, mask, _, _ = pipeline.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    picture, sound, _ = pipeline.connectors(hidden, mask, padding_side="left")
    model = bench.bundle(name)
    words = model.encode_prompt(PROMPT)[0][0]
    ours = model.high.get().model.diffusion_model.preprocess_text_embeds(words, unprocessed=True)
    return difference(torch.cat((picture, sound), -1), ours)


@row(GROUP, "prompt to embeddings of LTX-2.0", "GemmaTokenizer, Gemma3ForConditionalGeneration, LTX2TextConnectors")
def prompt_2_0(bench: Bench) -> float:
    return _prompt(bench, LTX_2_0)


@row(GROUP, "prompt to embeddings of LTX-2.3", "the same, one projection each for picture and sound")
def prompt_2_3(bench: Bench) -> float:
    return _prompt(bench, LTX_2_3)


def normalised(theirs: Any, latent: torch.Tensor) -> torch.Tensor:
    """A latent of diffusers' video VAE as the transformer sees it, which is as ComfyUI's VAE gives it."""
    mean, deviation = (one.view(1, -1, 1, 1, 1) for one in (theirs.latents_mean, theirs.latents_std))
    return (latent - mean) / deviation


def denormalised(theirs: Any, latent: torch.Tensor) -> torch.Tensor:
    """The other way."""
    mean, deviation = (one.view(1, -1, 1, 1, 1) for one in (theirs.latents_mean, theirs.latents_std))
    return latent * deviation + mean


def _video_vae(bench: Bench, name: str) -> float:
    theirs, ours = bench.components(name)["vae"], bench.bundle(name).vae.get()
    pixels = torch.rand(9, 64, 96, 3, generator=torch.Generator().manual_seed(3))
    latent = theirs.encode((pixels * 2 - 1).movedim(-1, 0)[None]).latent_dist.mode()
    frames = (theirs.decode(latent, None, return_dict=False)[0].clamp(-1, 1) + 1) / 2
    known = normalised(theirs, latent)
    return max(difference(known, ours.encode(pixels)), difference(frames.movedim(1, -1), ours.decode(known)))


@row(GROUP, "video VAE of LTX-2.0, both ways", "AutoencoderKLLTX2Video")
def video_vae_2_0(bench: Bench) -> float:
    return _video_vae(bench, LTX_2_0)


@row(GROUP, "video VAE of LTX-2.3, both ways", "AutoencoderKLLTX2Video, its scales in another order")
def video_vae_2_3(bench: Bench) -> float:
    return _video_vae(bench, LTX_2_3)


def sound_statistics(theirs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation `[1, 8, 1, 16]` of diffusers' latents of sound."""
    mean, deviation = (one.view(1, 8, 1, 16) for one in (theirs.latents_mean, theirs.latents_std))
    return mean, deviation


def _sound(bench: Bench, name: str) -> float:
    components, ours = bench.components(name), bench.bundle(name).audio_vae.get()
    theirs = components["audio_vae"]
    mean, deviation = sound_statistics(theirs)
    latent = drawn(1, 8, 6, 16, seed=4)
    wave = components["vocoder"](theirs.decode(latent * deviation + mean, return_dict=False)[0])
    spectrum = drawn(1, 2, 37, 64, seed=5)
    model = ours.first_stage_model
    encoded = model.normalizer.normalize(model.autoencoder.encode(spectrum)[:, :8])
    known = (theirs.encode(spectrum).latent_dist.mode() - mean) / deviation
    return max(difference(known, encoded), difference(wave, ours.decode(latent).movedim(-1, 1)))


@row(GROUP, "audio VAE and vocoder of LTX-2.0, both ways", "AutoencoderKLLTX2Audio and LTX2Vocoder")
def sound_2_0(bench: Bench) -> float:
    return _sound(bench, LTX_2_0)


@row(GROUP, "audio VAE and vocoder of LTX-2.3, both ways", "AutoencoderKLLTX2Audio and LTX2VocoderWithBWE")
def sound_2_3(bench: Bench) -> float:
    return _sound(bench, LTX_2_3)


@row(GROUP, "weights of both folders", "from_pretrained, every tensor", bound=0.0)
def weights(bench: Bench) -> float:
    from longtake.pipelines.load.diffusers import ltx2, ltx2_vae

    worst = 0.0
    for name in (LTX_2_0, LTX_2_3):
        theirs, ours = bench.components(name), bench.bundle(name)
        connectors, text = theirs["connectors"].state_dict(), ours.text_encoder.get().cond_stage_model
        vae, sound, vocoder = (theirs[key] for key in ("vae", "audio_vae", "vocoder"))
        pairs = [
            (
                ltx2.transformer_weights(theirs["transformer"].state_dict(), connectors),
                ours.high.get().model.diffusion_model,
            ),
            (ltx2_vae.video_vae_weights(vae.state_dict(), vae.config), ours.vae.get().first_stage_model),
            (
                ltx2_vae.audio_vae_weights(sound.state_dict(), vocoder.state_dict()),
                ours.audio_vae.get().first_stage_model,
            ),
            (ltx2.gemma_weights(theirs["text_encoder"].state_dict()), text.gemma3_12b.transformer),
        ]
        for one, module in pairs:
            loaded = module.state_dict()
            assert loaded.keys() == one.keys()
            worst = max(worst, *(float((one[key] - loaded[key]).abs().max()) for key in loaded))
    return worst


def _tokenizer(bench: Bench) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(bench.folders / LTX_2_0 / "tokenizer")


@row(GROUP, "Gemma's tokenizer.json in a folder", "AutoTokenizer: prompts of 1,000 with other tokens", bound=0.0)
def tokens(bench: Bench) -> float:
    from longtake.pipelines.load.diffusers.tokenizer import FolderTokenizer

    theirs = _tokenizer(bench)
    ours = FolderTokenizer(str(bench.folders / LTX_2_0 / "tokenizer" / "tokenizer.json"), add_bos=True)
    return float(sum(theirs(text)["input_ids"] != ours(text)["input_ids"] for text in prompts(1000)))


@row(GROUP, "Gemma's tokenizer.model without tokenizer.json", "AutoTokenizer: prompts of 1,000 with other tokens", 0.0)
def pieces(bench: Bench) -> float:
    from comfy.text_encoders.spiece_tokenizer import SPieceTokenizer

    theirs = _tokenizer(bench)
    path = str(bench.folders / LTX_2_3 / "tokenizer" / "tokenizer.model")
    ours = SPieceTokenizer(path, add_bos=True, add_eos=False)
    return float(sum(theirs(text)["input_ids"] != ours(text)["input_ids"] for text in prompts(1000)))
