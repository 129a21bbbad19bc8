"""The nodes a person sees."""

from comfy_api.latest import ComfyExtension, io

from ..host.model_files import MODEL_FILES
from . import (
    bridge,
    chain,
    chains,
    diffusers,
    encode,
    extend,
    images,
    load,
    lora,
    ltx2,
    retake,
    routes,
    sampling,
    seams,
    stage,
    stills,
    storyboard,
)


class Longtake(ComfyExtension):
    async def on_load(self) -> None:
        routes.add_routes()
        MODEL_FILES.read_when_started()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        modules = (
            load,
            diffusers,
            lora,
            sampling,
            ltx2,
            stage,
            storyboard,
            stills,
            images,
            extend,
            bridge,
            retake,
            chain,
            chains,
            encode,
            seams,
        )
        return [node for module in modules for node in module.NODES]
