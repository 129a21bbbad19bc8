"""What comes over a link is what its socket says, or is refused in a sentence; the page is told each refusal.

ComfyUI compares the types of sockets and never what goes over them, and a wildcard output fits every socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any

import torch
from comfy_api.latest import io

from ..host.refused import announce_refusal
from ..pipelines.errors import Refusal
from .types import Chain, ModelBundle, Sampling


def _has(*names: str) -> Callable[[Any], bool]:
    # Other packs' models need not be ComfyUI's own classes.
    return lambda value: all(hasattr(value, name) for name in names)


def _is_bundle(value: Any) -> bool:
    from ..pipelines.model.bundle import VideoModel

    return isinstance(value, VideoModel)


def _is_chain(value: Any) -> bool:
    from ..pipelines.chain.chain import Chain as ChainValue

    return isinstance(value, ChainValue)


def _is_sound(value: Any) -> bool:
    return isinstance(value, Mapping) and {"waveform", "sample_rate"} <= set(value)


def _is_image(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 4


# By type of socket: what is needed, in words, and whether a value is one.
SOCKETS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    ModelBundle.io_type: ("a model bundle of a Longtake loader", _is_bundle),
    Chain.io_type: ("a chain", _is_chain),
    Sampling.io_type: ("what Wan Sampling or LTX-2 Sampling gives", _has("steps", "check", "filled", "facts")),
    io.Image.io_type: ("images [frames, height, width, channels]", _is_image),
    io.Audio.io_type: ("audio", _is_sound),
    io.Video.io_type: ("a video", _has("get_components", "get_stream_source")),
    io.Model.io_type: ("a diffusion model", _has("model", "model_options")),
    io.Clip.io_type: ("a text encoder (CLIP)", _has("tokenize", "encode_from_tokens_scheduled")),
    io.Vae.io_type: ("a VAE", _has("encode", "decode")),
}


def guarded(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The node, refusing what its sockets do not mean before it runs, and telling the page what it refuses."""
    execute = node.execute.__func__

    @wraps(execute)
    def checked(cls: type[io.ComfyNode], *args: Any, **values: Any) -> Any:
        try:
            for name, (kind, optional) in _sockets(node).items():
                if name in values and not (optional and values[name] is None):
                    check(name, kind, values[name])
            return execute(cls, *args, **values)
        except Refusal as refusal:
            announce_refusal(refusal)
            raise

    node.execute = classmethod(checked)
    return node


def check(name: str, kind: str, value: Any) -> None:
    """Raise `Refusal` where a value is not what sockets of type `kind` carry."""
    needed, fits = SOCKETS[kind]
    if not fits(value):
        shape = f" of shape {list(value.shape)}" if isinstance(value, torch.Tensor) else ""
        arrived = "nothing" if value is None else f"a {type(value).__name__}{shape}"
        raise Refusal(f"{arrived} came over the link; what is needed: {needed}.", field=name)


@cache
def _sockets(node: type[io.ComfyNode]) -> dict[str, tuple[str, bool]]:
    """Type, and whether it may be empty, of each socket that is known here."""
    inputs = node.define_schema().inputs
    return {socket.id: (socket.io_type, bool(socket.optional)) for socket in inputs if socket.io_type in SOCKETS}
