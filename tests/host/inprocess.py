"""ComfyUI inside this process, for tests that need its classes but no server; on the CPU unless asked otherwise."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

FOLDERS = ("diffusion_models", "text_encoders", "vae", "loras", "checkpoints", "latent_upscale_models", "diffusers")


def enter_comfyui(comfyui: Path, **options: Any) -> None:
    """Make `import comfy`, `import nodes` and the like reach `comfyui` from here on.

    Args:
        options: of ComfyUI's command line, `reserve_vram=4.0` for --reserve-vram 4; in CPU mode unless `cpu=False`.
    """
    if "comfy" in sys.modules:
        return
    # First on the path: the repository has a folder `nodes` too.
    sys.path.insert(0, str(comfyui))
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        from comfy.cli_args import args
    finally:
        sys.argv = arguments
    # Read once, when comfy.model_management is imported.
    for name, value in {"cpu": True, **options}.items():
        setattr(args, name, value)
    importlib.import_module("comfy.model_management")
    # Early, as its main.py has it: `nodes` of ComfyUI 0.24 puts a folder with another `utils` first on the path.
    importlib.import_module("utils")
    if args.cpu:
        importlib.import_module("torch").set_num_threads(1)


def use_models(models: Path) -> None:
    """Make ComfyUI find the tiny models by name, and let its loaders take them."""
    folder_paths = importlib.import_module("folder_paths")
    for name in FOLDERS:
        folder_paths.add_model_folder_path(name, str(models / name), is_default=True)
    importlib.import_module("tests.tiny.shim")


def use_folders(folder: Path) -> None:
    """Keep ComfyUI's input, output, temp and user files below `folder`."""
    folder_paths = importlib.import_module("folder_paths")
    for name in ("input", "output", "temp", "user"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        getattr(folder_paths, f"set_{name}_directory")(str(folder / name))
