"""Which places of the loaders a model file can fill: told by its header, known until the file changes."""

from __future__ import annotations

import enum
import os
import threading
from collections.abc import Callable, Iterable

from ..errors import Refusal
from ..weights.outline import Outline, model_config, outline, vae_channels


class Kind(enum.Flag):
    """What a file holds; a whole checkpoint holds several."""

    OTHER = 0
    WAN = enum.auto()
    WAN_TEXT = enum.auto()
    WAN_VAE = enum.auto()
    LTX2 = enum.auto()
    LTX2_TEXT = enum.auto()
    LTX2_PROJECTION = enum.auto()
    LTX2_VAE = enum.auto()
    LTX2_AUDIO = enum.auto()
    LTX2_UPSCALER = enum.auto()


def kind_of(file: Outline) -> Kind:
    """Everything that a file can be used as, by the rules its loader checks it with."""
    # Asked of the first file, once the server is up; the lists alone need no rules.
    from ..families.ltx2 import LTX2
    from ..families.wan22 import WAN22
    from .ltx2 import holds_audio_vae, holds_projection, holds_video_vae, is_upscaler

    config = model_config(file)
    tests: dict[Kind, Callable[[Outline], object]] = {
        Kind.WAN: lambda _: config and WAN22.variant_of(config),
        Kind.WAN_TEXT: lambda file: WAN22.is_text_encoder(file.tensors),
        Kind.WAN_VAE: vae_channels,
        Kind.LTX2: lambda _: config and LTX2.variant_of(config),
        Kind.LTX2_TEXT: lambda file: LTX2.is_text_encoder(file.tensors),
        Kind.LTX2_PROJECTION: holds_projection,
        Kind.LTX2_VAE: holds_video_vae,
        Kind.LTX2_AUDIO: holds_audio_vae,
        Kind.LTX2_UPSCALER: is_upscaler,
    }
    kinds = Kind.OTHER
    for kind, test in tests.items():
        try:
            if test(file):
                kinds |= kind
        except Refusal:
            # Nearly of that kind: choosing it tells what is wrong with it.
            kinds |= kind
    return kinds


class Kinds:
    """What files hold, read beside everything else, since a folder of checkpoints takes seconds to read."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], Kind]] = {}
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None

    def may_be(self, kind: Kind, path: str) -> bool:
        """Whether a file holds `kind`; True until its header has been read."""
        read = self._known.get(path)
        return read is None or bool(read[1] & kind)

    def read(self, paths: Iterable[str]) -> None:
        """Have the headers read that are not known as they are now, in the background."""
        new = [path for path in paths if self._known.get(path, (None,))[0] != _state(path)]
        with self._lock:
            if new and (self._reader is None or not self._reader.is_alive()):
                self._reader = threading.Thread(target=self._read, args=(new,), name="longtake-kinds", daemon=True)
                self._reader.start()

    def _read(self, paths: Iterable[str]) -> None:
        for path in paths:
            state = _state(path)
            if state is None:
                continue
            try:
                kind = kind_of(outline(path))
            except Refusal:
                # No safetensors file, or a torn one; no loader of this pack can use it.
                kind = Kind.OTHER
            self._known[path] = state, kind


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
