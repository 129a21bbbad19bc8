"""Which kind of model a diffusers folder is, by the pipeline that its index names."""

from __future__ import annotations

from ..bundle.model import VideoModel
from ..errors import Refusal
from . import wan
from .folder import DiffusersFolder

_LOADERS = {name: wan.wan_bundle for name in wan.PIPELINES}


def bundle_from_folder(folder: DiffusersFolder, weight_dtype: str = "default") -> VideoModel:
    """A bundle of a folder that is checked now and whose weights load when they are first needed.

    Raises:
        Refusal: a pipeline or a component of an unknown class, weights that are not whole, a config that ComfyUI does
            not compute.
    """
    loader = _LOADERS.get(folder.pipeline)
    if loader is None:
        raise Refusal(f"{folder.name} is a {folder.pipeline}; {', '.join(_LOADERS)} can be loaded.", field="folder")
    return loader(folder, weight_dtype)
