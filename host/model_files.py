"""The model files that ComfyUI lists, of the kinds that a loader can use."""

from __future__ import annotations

from collections.abc import Iterable

import folder_paths
from server import PromptServer

from ..pipelines.load.kinds import Kind, Kinds

FOLDERS = ("diffusion_models", "checkpoints", "text_encoders", "vae", "latent_upscale_models")


class Offered(list[str]):
    """Names of files that a canvas is shown, out of more that are accepted.

    ComfyUI refuses a prompt whose value is not among the options. A file of the wrong kind should get as far as its
    node, which says what is wrong with it.
    """

    def __init__(self, shown: Iterable[str], accepted: Iterable[str] = ()) -> None:
        super().__init__(shown)
        self._accepted = frozenset(accepted)

    def __contains__(self, name: object) -> bool:
        return name in self._accepted or super().__contains__(name)


class ModelFiles:
    """ComfyUI's lists of model files, once the server runs without those that a loader could not use."""

    def __init__(self) -> None:
        self._kinds = Kinds()
        self._started = False

    def holding(self, kind: Kind, folder: str, *others: str) -> Offered:
        """Names of the files in a models folder that hold `kind`, and of those that could not be looked into yet.

        Args:
            others: choices that stand before them.
        """
        if not self._started:
            return Offered((*others, *folder_paths.get_filename_list(folder)))
        paths = _paths(folder)
        self._kinds.read(paths.values())
        fitting = (name for name, path in paths.items() if self._kinds.may_be(kind, path))
        return Offered((*others, *fitting), (*others, *paths))

    def read_when_started(self) -> None:
        """Look into every file when the server is up: reading their headers must not hold up its start."""
        if PromptServer.instance is not None:
            PromptServer.instance.app.on_startup.append(self._read)

    async def _read(self, _: object) -> None:
        self._started = True
        self._kinds.read([path for folder in FOLDERS for path in _paths(folder).values()])


MODEL_FILES = ModelFiles()


def _paths(folder: str) -> dict[str, str]:
    names = folder_paths.get_filename_list(folder)
    return {name: path for name in names if (path := folder_paths.get_full_path(folder, name))}
