"""A model bundle: a recipe whose parts load through ComfyUI when they are first needed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import Refusal
from ..takes.identity import Source, Unidentified, canonical
from .checkpoint import Outline, misfit, outline
from .safetensors_file import StoredWeights, stored_in

if TYPE_CHECKING:
    from ..families import Family, Variant
    from ..lora.apply import AppliedLora


class Part:
    """One model of a bundle. Bundles made from one another share their parts, so each is loaded once.

    Args:
        name: what errors call it, usually the file name.
        load: reads it through ComfyUI; called at most once, by the first `get`.
        source: what identifies its weights. None where nothing does: then takes made with it are kept and never found
            again.
        header: names and shapes of its weights as ComfyUI spells them, where its files tell them.
        stored: what a file holds that it could be read from, tensor by tensor; such a file need not be there.
        base: the part that it is a patched copy of.
        patch: what it is patched with.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Any],
        source: Source | None = None,
        *,
        header: Callable[[], Outline] | None = None,
        stored: Callable[[], StoredWeights] | None = None,
        base: Part | None = None,
        patch: Hashable = None,
    ):
        self.name = name
        self.source = source
        self.header = header
        self.stored = stored
        self.base = base
        self.patch = patch
        self._identity: Any = None
        self._load = load
        self._loaded: Any = None
        self._lock = threading.Lock()
        self._patched: weakref.WeakValueDictionary[Hashable, Part] = weakref.WeakValueDictionary()

    @classmethod
    def of(cls, name: str, loaded: Any, source: Source | None = None) -> Part:
        """A part that some other loader has loaded already."""
        part = cls(name, lambda: loaded, source)
        part.get()
        return part

    @property
    def loaded(self) -> bool:
        return self._loaded is not None

    @property
    def identity(self) -> Any:
        """What the key of a take counts of it: the content of its files at the time they were read, and its patches.

        Raises:
            Unidentified: nothing tells its weights from others.
        """
        if self._identity is None:
            if self.base is not None:
                self._identity = {"base": self.base.identity, "patch": canonical(self.patch)}
            elif self.source is not None:
                self._identity = canonical(self.source)
            else:
                raise Unidentified(f"the {self.name} comes from nodes that cannot be identified")
        return self._identity

    def get(self) -> Any:
        """The model, loaded where it is not yet.

        Raises:
            Refusal: its weights do not fit the model that ComfyUI builds for them.
        """
        with self._lock:
            if self._loaded is None:
                # A file that is replaced later is not what these weights came from.
                with suppress(Unidentified):
                    _ = self.identity
                try:
                    self._loaded = self._load()
                except RuntimeError as error:
                    refusal = misfit(self.name, error)
                    if refusal is None:
                        raise
                    raise refusal from error
            return self._loaded

    def patched(self, key: Hashable, patch: Callable[[Any], Any]) -> Part:
        """A part that is made from this one when it is first needed.

        Two stages that ask for the same `key` get the same part, so that ComfyUI sees one patched model and leaves its
        weights where they are between them.

        Args:
            key: what the patch depends on.
            patch: takes the loaded model and returns a patched clone that shares its weights.
        """
        with self._lock:
            part = self._patched.get(key)
            if part is None:
                part = Part(self.name, lambda: patch(self.get()), stored=self.stored, base=self, patch=key)
                self._patched[key] = part
            return part


@dataclass(frozen=True)
class VideoModel:
    """Everything one family needs to render: diffusion models, text encoder, VAE.

    Args:
        family, variant: found from the files' headers or the loaded model, never from a file name.
        high: the high-noise expert, or the only diffusion model.
        low: the low-noise expert, where there is one.
        audio_vae: what makes sound of latents; without one the bundle renders silent film.
        latent_upscaler: doubles width and height between two passes; without one there is one pass.
        second_pass: the diffusion model of the second pass, where LoRAs make it another than `high`.
        image_encoder: what Wan 2.1 looks at its images with, besides encoding them.
        frame_rate: frames a second to render at, where the family leaves a choice; None takes the variant's.
        loras: what the diffusion models were patched with, in order.
        notes: remarks for the person at the canvas, shown on the node that made the bundle.
    """

    family: Family
    variant: Variant
    high: Part
    low: Part | None
    text_encoder: Part
    vae: Part
    audio_vae: Part | None = None
    latent_upscaler: Part | None = None
    second_pass: Part | None = None
    image_encoder: Part | None = None
    frame_rate: Fraction | None = None
    loras: tuple[AppliedLora, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def fps(self) -> Fraction:
        """Frames a second of what it renders."""
        return self.frame_rate or self.variant.fps

    def encode_prompt(self, text: str) -> list[Any]:
        """ComfyUI's CONDITIONING for a text, as its CLIPTextEncode node makes it."""
        clip = self.text_encoder.get()
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))


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
        files = [outline(one) for one in (path, *others)]
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
