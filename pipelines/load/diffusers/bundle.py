"""Which kind of model a diffusers folder is, by the pipeline that its index names."""

from __future__ import annotations

from ...errors import Refusal
from ...mlx.process import FIELD, Weights
from ...model.bundle import VideoModel
from . import ltx2, wan
from .folder import DiffusersFolder


def bundle_from_folder(
    folder: DiffusersFolder,
    weight_dtype: str = "default",
    choices: ltx2.Ltx2Choices | None = None,
    mlx: Weights | None = None,
) -> VideoModel:
    """A bundle of a folder that is checked now and whose weights load when they are first needed.

    Args:
        choices: what LTX-2 leaves open; None for Wan, and for LTX-2 as its folder says.
        mlx: what its weights are held in where MLX renders its stages; None where ComfyUI does.

    Raises:
        Refusal: a pipeline or a component of an unknown class, weights that are not whole, a config that ComfyUI does
            not compute, another family than the choices are for, what MLX cannot render.
    """
    if folder.pipeline in wan.PIPELINES:
        if choices is not None:
            raise Refusal(f"{folder.name} is Wan, which leaves nothing to choose: choose automatic.", field="family")
        return wan.wan_bundle(folder, weight_dtype, mlx)
    if folder.pipeline in ltx2.PIPELINES:
        if mlx is not None:
            raise Refusal(
                f"{folder.name} is LTX-2, and MLX renders folders of Wan alone: choose ComfyUI, or the node Render "
                "LTX-2 by MLX with weights made for it.",
                field=FIELD,
            )
        return ltx2.ltx2_folder_bundle(folder, weight_dtype, choices or ltx2.Ltx2Choices())
    loadable = ", ".join((*wan.PIPELINES, *ltx2.PIPELINES))
    raise Refusal(f"{folder.name} is a {folder.pipeline}; {loadable} can be loaded.", field="folder")
