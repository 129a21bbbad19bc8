"""Run a template and its counterpart in one prompt, and measure how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.host.server import Server
from tests.host.stock import node

from .cases import Case
from .template import ObjectInfo

# Decoder and vocoder look ahead: where one film has a latent more, it is heard in the 58 ms before it too.
AHEAD = 3  # latents, 120 ms
SAVED_BY = {"latent": "SaveLatent", "sound_latent": "SaveLatent", "frames": "SaveImage", "sound": "SaveAudio"}
SAVED_AS = {"SaveLatent": ("samples", "latents"), "SaveImage": ("images", "images"), "SaveAudio": ("audio", "audio")}


@dataclass(frozen=True)
class Difference:
    """How far two films are apart.

    Attributes:
        latent: largest difference of the picture's latents, by their largest value.
        frames: largest difference of the frames, in 8-bit codes.
        mean_frames: the mean of it.
        sound_latent: as `latent`, of the sound that both have; None in a silent film.
        sound: largest difference of the samples that both have, in 16-bit codes.
        sound_latents: how many ours has, and theirs.
    """

    latent: float
    frames: int
    mean_frames: float
    sound_latent: float | None = None
    sound: int | None = None
    sound_latents: tuple[int, int] | None = None


def measure(server: Server, case: Case, known: ObjectInfo) -> Difference:
    """Render both films of a case and compare them.

    Args:
        known: the nodes of the server, as /object_info tells them.
    """
    compared = case.graph(known)
    graph = dict(compared.graph)
    for name, pair in compared.pairs.items():
        kind = SAVED_BY[name]
        for side, source in zip(("ours", "theirs"), pair, strict=True):
            saved_as = {SAVED_AS[kind][0]: source, "filename_prefix": f"templates/{name}_{side}"}
            graph[f"save_{name}_{side}"] = node(kind, **saved_as)
    result = server.run(graph)
    assert result.ok, result.why()

    def both(name: str) -> tuple[Any, Any]:
        key = SAVED_AS[SAVED_BY[name]][1]
        files = [result.outputs[f"save_{name}_{side}"][key] for side in ("ours", "theirs")]
        first, second = ([server.output / f["subfolder"] / f["filename"] for f in some] for some in files)
        return READERS[SAVED_BY[name]](first), READERS[SAVED_BY[name]](second)

    frames = np.abs(np.subtract(*both("frames"), dtype=np.int64))
    picture = (relative(*both("latent")), int(frames.max()), float(frames.mean()))
    if not case.sound:
        return Difference(*picture)
    ours, theirs = both("sound_latent")
    latents = min(ours.shape[2], theirs.shape[2])
    heard, there = both("sound")
    samples = min(heard.shape[1], there.shape[1])
    if ours.shape != theirs.shape:
        samples -= AHEAD * samples // latents
    return Difference(
        *picture,
        relative(ours[:, :, :latents], theirs[:, :, :latents]),
        round(float(np.abs(heard[:, :samples] - there[:, :samples]).max())),
        (ours.shape[2], theirs.shape[2]),
    )


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference by the largest value."""
    assert ours.shape == theirs.shape, f"{ours.shape} here, {theirs.shape} there"
    assert theirs.std() > 0.01
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def read_latent(files: list[Path]) -> np.ndarray:
    from safetensors.numpy import load_file

    return load_file(files[0])["latent_tensor"]


def read_images(files: list[Path]) -> np.ndarray:
    from PIL import Image

    return np.stack([np.asarray(Image.open(file)) for file in files])


def read_sound(files: list[Path]) -> np.ndarray:
    """Samples `[channels, n]` in 16-bit codes."""
    import av

    with av.open(str(files[0])) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(container.streams.audio[0])]
        channels = container.streams.audio[0].channels
    heard = np.concatenate(blocks, axis=1).astype(np.float64)
    scale = {"int16": 1.0, "int32": 65536.0, "float32": 1 / 32768}[str(blocks[0].dtype)]
    return (heard.reshape(-1, channels).T if heard.shape[0] == 1 else heard) / scale


READERS = {"SaveLatent": read_latent, "SaveImage": read_images, "SaveAudio": read_sound}
