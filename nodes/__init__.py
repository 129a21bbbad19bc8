"""The nodes a person sees.

ComfyUI imports every shell at each start, used or not. So a module here imports at its head what its schemas say, and
in `execute` what it does its work with.
"""

from comfy_api.latest import ComfyExtension, io

from ..host import routes
from ..host.model_files import MODEL_FILES
from . import (
    border,
    bridge,
    chain,
    chains,
    diffusers,
    encode,
    extend,
    guides,
    images,
    load,
    lora,
    ltx2,
    ltx2_mlx,
    retake,
    sampling,
    seams,
    stage,
    stills,
    stitch,
    storyboard,
)


class Longtake(ComfyExtension):
    async def on_load(self) -> None:
        routes.add_routes()
        MODEL_FILES.read_when_started()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        # In the order of the node library: what one looks for first stands first.
        modules = (
            stage,
            storyboard,
            guides,
            sampling,
            ltx2,
            extend,
            bridge,
            retake,
            ltx2_mlx,
            stills,
            images,
            load,
            lora,
            diffusers,
            stitch,
            encode,
            seams,
            chain,
            chains,
        )
        return [border.guarded(node) for module in modules for node in module.NODES]
