"""Parts of a bundle, read from files as ComfyUI's own loaders read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from ..identity import Source
from ..model.part import Part
from ..weights.outline import Outline, outline
from ..weights.stored import stored_in

if TYPE_CHECKING:
    from ..model.variant import Variant


def check_vae(variant: Variant, name: str, channels: int | None) -> None:
    """Raise `Refusal` if a VAE's latent channels are not the variant's; None (not known yet) passes."""
    if channels is not None and channels != variant.latent_channels:
        raise Refusal(
            f"{name} has {channels} latent channels; {variant.name} needs {variant.latent_channels} "
            f"({variant.vae_hint}).",
            field="vae",
        )


def diffusion_part(path: str, name: str, weight_dtype: str) -> Part:
    """A diffusion model from disk, as ComfyUI's own loader reads it."""

    def load() -> Any:
        from comfy.sd import load_diffusion_model

        return load_diffusion_model(path, model_options=weight_options(weight_dtype))

    source = Source((path,), (("weight_dtype", weight_dtype),))
    return Part(name, load, source, header=lambda: outline(path), stored=lambda: stored_in(path))


def weight_options(weight_dtype: str) -> dict[str, Any]:
    """ComfyUI's `model_options` for the precision that diffusion weights are held in."""
    import torch

    options: dict[str, Any] = {}
    if weight_dtype != "default":
        options["dtype"] = getattr(
            torch, {"fp8_e4m3fn_fast": "float8_e4m3fn"}.get(weight_dtype, f"float8_{weight_dtype[4:]}")
        )
    if weight_dtype == "fp8_e4m3fn_fast":
        options["fp8_optimizations"] = True
    return options


def checkpoint_part(path: str, name: str) -> Part:
    """The diffusion model in a checkpoint that holds other models too, as ComfyUI's own loader reads it."""

    def load() -> Any:
        from comfy.sd import load_checkpoint_guess_config

        return load_checkpoint_guess_config(path, output_vae=False, output_clip=False)[0]

    return Part(name, load, Source((path,)), header=lambda: outline(path), stored=lambda: stored_in(path))


def text_encoder_part(path: str, name: str, kind: str, *others: str) -> Part:
    """A text encoder from disk.

    Args:
        kind: a member name of ComfyUI's `CLIPType`.
        others: further files that hold parts of it.
    """

    def load() -> Any:
        import comfy.sd
        import folder_paths

        return comfy.sd.load_clip(
            ckpt_paths=[path, *others],
            embedding_directory=folder_paths.get_folder_paths("embeddings"),
            clip_type=getattr(comfy.sd.CLIPType, kind),
        )

    def header() -> Outline:
        files = [outline(file) for file in (path, *others)]
        return Outline(name, {key: tensor for file in files for key, tensor in file.tensors.items()}, {})

    return Part(name, load, Source((path, *others), (("kind", kind),)), header=header)


def vae_part(path: str, name: str, variant: Variant) -> Part:
    """A VAE from disk; its latent channels are checked against the variant once it is loaded."""

    def load() -> Any:
        import comfy.sd
        import comfy.utils

        weights, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
        vae = comfy.sd.VAE(sd=weights, metadata=metadata)
        vae.throw_exception_if_invalid()
        check_vae(variant, name, vae.latent_channels)
        return vae

    return Part(name, load, Source((path,)))
