"""Files of ComfyUI's input folder that a storyboard names, read as ComfyUI's own nodes read them."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from typing import Any

import av
import folder_paths
import node_helpers
import numpy as np
import torch
from PIL import Image, ImageOps

from ..pipelines.errors import Refusal


def is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it; both with their links followed."""
    same_drive = os.path.splitdrive(path)[0] == os.path.splitdrive(folder)[0]
    return same_drive and os.path.commonpath((folder, path)) == folder


def input_path(name: str, what: str) -> str:
    """Where a file of the input folder is; only what lies inside that folder is found.

    Args:
        what: the file is, for errors: "image".
    """
    folder = os.path.realpath(folder_paths.get_input_directory())
    path = os.path.realpath(os.path.join(folder, name))
    if not is_inside(path, folder):
        raise Refusal(f"{name!r} lies outside ComfyUI's input folder; only files in it can be used.")
    if not os.path.isfile(path):
        raise Refusal(f"there is no {what} {name!r} in ComfyUI's input folder.")
    return path


def input_image(name: str) -> torch.Tensor:
    """An image `[1, H, W, 3]` in 0..1, as Load Image reads it.

    Raises:
        Refusal: the name leads outside the input folder, or there is no such image.
    """
    path = input_path(name, "image")
    try:
        image = node_helpers.pillow(Image.open, path)
        image = node_helpers.pillow(ImageOps.exif_transpose, image)
        pixels = np.array(image.convert("RGB")).astype(np.float32) / 255.0
    # Pillow names a file that is torn or no image in many ways.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Refusal(f"{name!r} cannot be read as an image ({error}).") from error
    return torch.from_numpy(pixels)[None,]


def input_sound(name: str) -> dict[str, Any]:
    """The sound of a file as ComfyUI's AUDIO, as Load Audio reads it.

    Raises:
        Refusal: the name leads outside the input folder, there is no such file, or it holds no sound.
    """
    from comfy_extras.nodes_audio import load

    path = input_path(name, "sound")
    try:
        waveform, sample_rate = load(path)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise Refusal(f"{name!r} cannot be read as sound ({error}).") from error
    return {"waveform": waveform[None], "sample_rate": sample_rate}


def state_of(name: str) -> tuple[str, int, int]:
    """What changes when a file of the input folder is exchanged for another of its name."""
    path = os.path.join(folder_paths.get_input_directory(), name)
    try:
        status = os.stat(path)
    except OSError:
        return name, 0, 0
    return name, status.st_size, status.st_mtime_ns


class InputFiles:
    """The images and sounds that one storyboard names. Each sound is read once, and few images are held at a time."""

    def __init__(self) -> None:
        # A few: an image that many stages share is read once, and those of a thousand stages are not held.
        self.image = lru_cache(4)(input_image)
        self.sound = cache(input_sound)

    def check_image(self, name: str) -> None:
        input_path(name, "image")
