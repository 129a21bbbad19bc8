"""What a clip looks and sounds like: its take decoded when somebody first asks, and kept beside it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import Refusal
from ..media.frames import from_float
from ..takes.decoded import frames_file, read_frames, read_sound, write_frames, write_sound

if TYPE_CHECKING:
    import torch

    from ..media.footage import FootageFrames
    from ..takes.take import Take
    from .chain import Chain, Link


def sound_offset(take: Take) -> Fraction:
    """Seconds from frame 0 of a take to its first latent of sound."""
    return Fraction(take.facts().get("sound_offset", 0))


def kept_sound(take: Take) -> tuple[np.ndarray, int] | None:
    """The sound of a take as `decoded_sound` gives it, where it has been decoded; None where it is not kept."""
    kept = read_sound(take)
    return None if kept is None else _from_frame_0(take, *kept)


def _from_frame_0(take: Take, sound: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    shift = round(sound_offset(take) * rate)
    return (np.pad(sound, ((0, 0), (shift, 0))) if shift > 0 else sound[:, -shift:]), rate


def decoded_sound(link: Link) -> tuple[np.ndarray, int] | None:
    """The sound of a take `[channels, samples]` float32 from its frame 0 on, and its samples a second; None if silent.

    It is decoded once, when it is first asked for, and kept beside its take.
    """
    take = link.rendered
    kept = kept_sound(take)
    if kept is not None:
        return kept
    audio = take.audio()
    if audio is None or (sound_model := link.model.family.sound) is None:
        return None
    samples, rate = sound_model.decode(link.model, audio)
    write_sound(take, samples, rate)
    return _from_frame_0(take, samples.detach().cpu().float().numpy(), rate)


def frames_path(link: Link) -> Path:
    """Where the decoded frames of a clip are, or would be."""
    return frames_file(link.rendered, link.model.tiled)


def decoded(link: Link, chain: Chain | None = None) -> np.ndarray | FootageFrames:
    """All frames of a clip `[T, H, W, 3]`, 16 bits a channel, mapped from disk or read from a video.

    A clip is decoded once, when its frames are first asked for, and kept as long as there is room.

    Args:
        chain: the film that is being read; what it reads next is kept rather than what it has passed.
    """
    if link.footage is not None:
        return link.footage.frames()
    path = frames_path(link)
    kept = read_frames(path)
    if kept is not None:
        return kept
    import torch

    # ComfyUI says so for the thread that runs prompts, and a film is read in another.
    with torch.inference_mode():
        frames = link.model.family.decode(link.model, link.rendered.latent())
    if len(frames) != link.clip.frames:
        raise RuntimeError(f"the VAE decoded {len(frames)} frames where {link.clip.frames} were rendered")
    stage = None if chain is None else chain.links.index(link) + 1
    film = [] if chain is None else [frames_path(other) for other in chain.links if other.take is not None]
    write_frames(path, tuple(frames.shape), lambda array: _quantise(frames, array, stage), film)
    return np.load(path, mmap_mode="r")


def _quantise(frames: torch.Tensor, array: np.ndarray, stage: int | None) -> None:
    # Frame by frame: a second copy of a whole clip is what must not be held.
    for index in range(len(frames)):
        frame = frames[index].float().cpu().numpy()
        if not np.isfinite(frame).all():
            raise Refusal(
                f"frame {index} of its clip, counted from 0, is decoded to values that are not finite numbers (NaN or "
                "infinity): its rendering or the VAE went wrong. Render it with another seed or sampling, or run the "
                "VAE at full precision (--fp32-vae).",
                stage=stage,
            )
        array[index] = from_float(frame)
