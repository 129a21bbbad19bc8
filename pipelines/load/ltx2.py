"""Putting an LTX-2 bundle together: everything in one checkpoint, or in files of its own.

What the tensors mean (heads, positions, timestep scales, the layout of both VAEs) stands in each file's metadata. A
file without it loads in silence and renders noise, so it is refused here, by its header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ..errors import Refusal
from ..families.ltx2 import IS_LTX_2_5, LTX2
from ..families.ltx2_sampling import SECOND_SIGMAS
from ..identity import Source
from ..model.bundle import VideoModel
from ..model.part import Part
from ..model.variant import Training, Variant
from ..weights.outline import Outline, model_config, outline
from .files import ModelFile
from .parts import checkpoint_part, diffusion_part, text_encoder_part

SILENT = "There is no audio VAE in these files: the film will be silent."
PROJECTION = "text_embedding_projection."
VOCODERS = ("vocoder.resblocks.0.convs1.0.weight", "vocoder.vocoder.resblocks.0.convs1.0.weight")


@dataclass(frozen=True)
class Ltx2Files:
    """Where the parts lie; a checkpoint is named in all four places.

    Args:
        model: the transformer.
        projection: what brings Gemma's hidden states to the transformer's width.
        audio_vae: with the vocoder; None for silent film.
    """

    model: ModelFile
    projection: ModelFile
    vae: ModelFile
    audio_vae: ModelFile | None

    @classmethod
    def of_checkpoint(cls, checkpoint: ModelFile) -> Ltx2Files:
        return cls(checkpoint, checkpoint, checkpoint, checkpoint)

    @property
    def whole(self) -> bool:
        """Whether one checkpoint holds them all."""
        return self.model == self.vae


def ltx2_bundle(
    files: Ltx2Files,
    text_encoder: ModelFile,
    training: Training | None,
    upscaler: ModelFile | None,
    frame_rate: Fraction,
) -> VideoModel:
    """A bundle of files that are checked now, by their headers, and loaded when they are first needed.

    Args:
        training: the weights of both kinds have the same shapes and the same metadata. None goes by the name of the
            file, and a note says so.
        upscaler: with one, stages render in two passes.

    Raises:
        Refusal: a file is of another kind than its place asks for, or has lost its metadata.
    """
    variant, notes = _variant(files, training)
    _check_text(_read(text_encoder, "text_encoder"), _read(files.projection, "text_projection"))
    _check_vae(_read(files.vae, "vae"))
    audio = None if files.audio_vae is None else _audio_part(files.audio_vae, required=not files.whole)
    if audio is None:
        notes.append(SILENT)
    model = VideoModel(
        family=LTX2,
        variant=variant,
        high=checkpoint_part(files.model.path, files.model.name)
        if files.whole
        else diffusion_part(files.model.path, files.model.name, "default"),
        low=None,
        text_encoder=text_encoder_part(
            text_encoder.path, text_encoder.name, LTX2.text_encoder_kind, files.projection.path
        ),
        vae=_vae_part(files.vae, {"vae.": ""}, "vae."),
        audio_vae=audio,
        frame_rate=frame_rate,
        notes=tuple(notes),
    )
    return model if upscaler is None else in_two_passes(model, upscaler_part(upscaler))


def in_two_passes(model: VideoModel, upscaler: Part) -> VideoModel:
    """The bundle that renders at half the size and refines the doubled latent."""
    notes = model.notes
    if model.variant.training is Training.DEV:
        notes += (
            "The second pass of dev models was published with the distilled LoRA on it: put that on with Apply LoRA, "
            "passes second.",
        )
    # Half the width and height must still be on the model's grid.
    sampling: Any = model.variant.sampling
    two_passes = replace(sampling, second_sigmas=SECOND_SIGMAS)
    variant = replace(model.variant, size_step=2 * model.variant.size_step, sampling=two_passes)
    return replace(model, variant=variant, latent_upscaler=upscaler, notes=notes)


def _variant(files: Ltx2Files, training: Training | None) -> tuple[Variant, list[str]]:
    field = "checkpoint" if files.whole else "diffusion_model"
    file = _read(files.model, field)
    config = model_config(file)
    try:
        variant = None if config is None else LTX2.variant_of(config)
        if variant is not None and not any(key.endswith("transformer_blocks.0.ff.net.2.bias") for key in file.tensors):
            raise Refusal(f"this {IS_LTX_2_5}")
    except Refusal as refusal:
        raise Refusal(f"{file.name}: {refusal.message}", field=field) from None
    if variant is None:
        what = "no diffusion model" if config is None else str(config.get("image_model"))
        older = ", an LTX-Video model from before LTX-2" if what == "ltxv" else ""
        raise Refusal(f"{file.name} is {what}{older}; LTX-2.0 or 2.3 is needed.", field=field)
    if training is None:
        training = training_by_name(file.name)
        notes = [f"Sampled as {training.value}, as the name of the file suggests."]
        return LTX2.variant(training, variant.release), notes
    other = Training.DEV if training is Training.DISTILLED else Training.DISTILLED
    name, notes = file.name.lower(), []
    if other.value in name and training.value not in name:
        notes.append(f"The name {file.name} says {other.value}, and it is sampled as {training.value}.")
    return LTX2.variant(training, variant.release), notes


def holds_projection(file: Outline) -> bool:
    """Whether a file has what brings Gemma's hidden states to the transformer's width."""
    return bool(_projections(file))


def holds_video_vae(file: Outline) -> bool:
    """Whether a file has an LTX-2 video VAE in it."""
    return any("decoder.up_blocks.0.res_blocks.0.conv1.conv.weight" in key for key in file.tensors)


def holds_audio_vae(file: Outline) -> bool:
    """Whether a file has an LTX-2 audio VAE with its vocoder in it."""
    return any(key.endswith(VOCODERS) for key in file.tensors)


def is_upscaler(file: Outline) -> bool:
    """Whether a file is a latent upscaler of LTX-2, whatever it multiplies."""
    return "post_upsample_res_blocks.0.conv2.bias" in file.tensors and _config(file).get("in_channels") == 128


def training_by_name(name: str) -> Training:
    """How a model was most likely published, as far as the name of its file tells."""
    return Training.DEV if "dev" in name.lower() and "distilled" not in name.lower() else Training.DISTILLED


def _projections(file: Outline) -> list[Any]:
    return [t for key, t in file.tensors.items() if key.startswith(PROJECTION) and key.endswith("weight")]


def _check_text(gemma: Outline, projection: Outline) -> None:
    if not LTX2.is_text_encoder(gemma.tensors):
        raise Refusal(
            f"{gemma.name} is not {LTX2.text_encoder_hint}, which LTX-2 reads prompts with.", field="text_encoder"
        )
    weights = _projections(projection)
    if not weights:
        raise Refusal(
            f"{projection.name} holds no text projection; use a whole LTX-2 checkpoint, or the file of parts that has "
            "it.",
            field="text_projection",
        )
    width = gemma.tensors["model.embed_tokens.weight"].shape[1]
    layers = len({key.split(".")[2] for key in gemma.tensors if key.startswith("model.layers.")})
    # The projection takes the hidden states of every layer and the embedding, side by side.
    if weights[0].shape[1] != width * (layers + 1):
        raise Refusal(
            f"{gemma.name} has {layers} layers of {width}; this LTX-2 was trained with another size of it: "
            f"{LTX2.text_encoder_hint}.",
            field="text_encoder",
        )


def _check_vae(file: Outline) -> None:
    if not holds_video_vae(file):
        raise Refusal(f"{file.name} holds no LTX-2 video VAE.", field="vae")
    if "vae" not in _config(file):
        raise Refusal(_no_metadata(file, "video VAE"), field="vae")


def _audio_part(file: ModelFile, required: bool) -> Part | None:
    header = _read(file, "audio_vae")
    if not holds_audio_vae(header):
        if required:
            raise Refusal(f"{file.name} holds no LTX-2 audio VAE with its vocoder.", field="audio_vae")
        return None
    if not {"audio_vae", "vocoder"} <= _config(header).keys():
        raise Refusal(_no_metadata(header, "audio VAE"), field="audio_vae")
    return _vae_part(file, {"audio_vae.": "autoencoder.", "vocoder.": "vocoder."}, "audio_vae.")


def _check_upscaler(file: Outline) -> None:
    config = _config(file)
    doubles = config.get("spatial_upsample") and not config.get("temporal_upsample")
    if not is_upscaler(file):
        raise Refusal(f"{file.name} is no latent upscaler of LTX-2.", field="latent_upscaler")
    if not doubles or float(config.get("spatial_scale", 2.0)) != 2.0:
        raise Refusal(
            f"{file.name} does not double width and height; ltx-2-spatial-upscaler-x2-1.0.safetensors does.",
            field="latent_upscaler",
        )


def _vae_part(file: ModelFile, prefixes: Mapping[str, str], mark: str) -> Part:
    """A VAE from a file of its own or out of a checkpoint, where its keys begin with `mark`."""

    def load() -> Any:
        import comfy.sd
        import comfy.utils

        weights, metadata = comfy.utils.load_torch_file(file.path, return_metadata=True)
        if any(key.startswith(mark) for key in weights):
            weights = comfy.utils.state_dict_prefix_replace(weights, dict(prefixes), filter_keys=True)
        vae = comfy.sd.VAE(sd=weights, metadata=metadata)
        vae.throw_exception_if_invalid()
        return vae

    return Part(file.name, load, Source((file.path,), (("part", mark),)))


def upscaler_part(file: ModelFile) -> Part:
    """A latent upscaler from disk.

    Raises:
        Refusal: the file holds something else, or one that does not double width and height.
    """
    _check_upscaler(_read(file, "latent_upscaler"))

    def load() -> Any:
        from comfy_extras.nodes_hunyuan import LatentUpscaleModelLoader

        return LatentUpscaleModelLoader.execute(file.name)[0]

    return Part(file.name, load, Source((file.path,)))


def _read(file: ModelFile, field: str) -> Outline:
    try:
        return outline(file.path)
    except Refusal as refusal:
        raise refusal.at(field=field) from None


def _config(file: Outline) -> dict[str, Any]:
    try:
        return dict(json.loads(file.metadata.get("config", "{}")))
    except ValueError:
        return {}


def _no_metadata(file: Outline, what: str) -> str:
    return (
        f"{file.name} has lost the metadata that says how its {what} is laid out. Use the file as it was published, or "
        "a conversion that keeps its metadata."
    )
