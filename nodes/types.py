"""The pack's own socket types, and what may come over a socket."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.bundle.model import VideoModel
from ..pipelines.chain import Chain as ChainValue
from ..pipelines.errors import Refusal
from ..pipelines.families import Keyframe

ModelBundle = io.Custom("LONGTAKE_MODEL")
Chain = io.Custom("LONGTAKE_CHAIN")
Sampling = io.Custom("LONGTAKE_SAMPLING")
Keyframes = io.Custom("LONGTAKE_KEYFRAMES")

CATEGORY = "Longtake"


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: all(hasattr(value, name) for name in names)


def _is_keyframes(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(key, Keyframe) for key in value)


def _is_images(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 4


def _is_sound(value: Any) -> bool:
    return isinstance(value, Mapping) and {"waveform", "sample_rate"} <= value.keys()


# Type of a socket -> what its values are like, and what they are called.
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "LONGTAKE_MODEL": (lambda value: isinstance(value, VideoModel), "a model bundle, as Longtake's loaders give it,"),
    "LONGTAKE_CHAIN": (lambda value: isinstance(value, ChainValue), "a chain, as Chain Stage gives it,"),
    "LONGTAKE_SAMPLING": (_has("steps", "filled", "facts"), "what Sampling Settings or LTX-2 Sampling gives"),
    "LONGTAKE_KEYFRAMES": (_is_keyframes, "what Keyframe gives"),
    "IMAGE": (_is_images, "an image"),
    "AUDIO": (_is_sound, "sound"),
    "VIDEO": (_has("get_components", "get_dimensions"), "a video"),
    "MODEL": (_has("model", "clone"), "a diffusion model"),
    "CLIP": (_has("tokenize", "encode_from_tokens_scheduled"), "a text encoder"),
    "VAE": (_has("decode", "encode"), "a VAE"),
}


def checked(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The node, made to refuse what is not of the type of its socket: a link of any type can bring anything."""

    @functools.cache
    def sockets() -> list[io.Input]:
        return [socket for socket in node.define_schema().inputs if socket.get_io_type() in _VALUES]

    def execute(cls: type[io.ComfyNode], **inputs: Any) -> io.NodeOutput:
        for socket in sockets():
            if socket.id in inputs:
                _check(socket, inputs[socket.id])
        return node.execute.__func__(cls, **inputs)

    return type(node.__name__, (node,), {"execute": classmethod(execute), "__module__": node.__module__})


def _check(socket: io.Input, value: Any) -> None:
    fits, wanted = _VALUES[socket.get_io_type()]
    if value is None and socket.optional:
        return
    if not fits(value):
        came = "nothing" if value is None else f"a value of type {type(value).__name__}"
        raise Refusal(f"{came} comes over the link; {wanted} is needed.", field=socket.id)
