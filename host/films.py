"""Saved films, and the chain that one says it was made of."""

from __future__ import annotations

import json
import os

import av
import folder_paths

from ..pipelines.errors import Refusal
from ..pipelines.files.reading import Damaged
from ..pipelines.film.stitch import CHAIN_TAG
from ..pipelines.takes.chains import StoredChain
from .inputs import is_inside


def chain_in(name: str) -> StoredChain | None:
    """The chain that a film in ComfyUI's output or input folder was made of; None where no such file is there.

    Raises:
        Refusal: the file is no film, or says nothing of a chain.
    """
    path = _found(name)
    if path is None:
        return None
    try:
        with av.open(path) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
        return StoredChain.read(json.loads(tags[CHAIN_TAG]))
    except (av.error.FFmpegError, KeyError, ValueError, TypeError, Damaged) as error:
        raise Refusal(
            f"{name!r} does not say what chain it was made of; films that Encode Video saves with metadata do.",
            field="chain",
        ) from error


def _found(name: str) -> str | None:
    for folder in (folder_paths.get_output_directory(), folder_paths.get_input_directory()):
        folder = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(folder, name))
        if os.path.isfile(path) and is_inside(path, folder):
            return path
    return None
