"""Longtake: long, continuous video with Wan 2.2 and LTX-2 in ComfyUI."""

from .nodes import Longtake

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Longtake:
    return Longtake()
