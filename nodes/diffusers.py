"""Models in diffusers' layout, and diffusers' own schedulers."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io

from ..pipelines.diffusers_bundle import bundle_from_folder
from ..pipelines.diffusers_folder import DEFAULT, VARIANTS, folders_below, open_folder
from .load import describe
from .progress import say
from .types import CATEGORY, ModelBundle


class LoadDiffusersFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadDiffusersFolder",
            display_name="Load Diffusers Folder",
            category=CATEGORY,
            description="A model as diffusers saves it, run by ComfyUI's own code. Configs and headers are checked "
            "now; weights load when a stage first needs them.",
            search_aliases=["diffusers loader", "huggingface repo", "from_pretrained", "model_index"],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=list(folders_below(folder_paths.get_folder_paths("diffusers"))),
                    tooltip="A folder with a model_index.json below models/diffusers.",
                ),
                io.Combo.Input(
                    "variant",
                    options=list(VARIANTS),
                    default=DEFAULT,
                    tooltip="Which weights are read where a folder holds several: fp16 is "
                    "diffusion_pytorch_model.fp16.safetensors. default: those without a variant in their names.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"],
                    default="default",
                    advanced=True,
                    tooltip="Precision the diffusion weights are held in; default keeps the files' own.",
                ),
            ],
            outputs=[ModelBundle.Output(display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, folder: str, variant: str, weight_dtype: str) -> io.NodeOutput:
        opened = open_folder(folder, folder_paths.get_folder_paths("diffusers"), variant)
        bundle = bundle_from_folder(opened, weight_dtype)
        say(cls.hidden.unique_id, describe(bundle))
        return io.NodeOutput(bundle)


NODES = [LoadDiffusersFolder]
