"""ComfyUI on this machine's GPU, in this process, and what it holds of the GPU's memory."""

from __future__ import annotations

import gc
import importlib
import threading
import time
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.host.inprocess import enter_comfyui, use_folders
from tests.host.place import Place


class Memory(str, Enum):
    """How ComfyUI places weights."""

    DYNAMIC = "dynamic"  # page by page, as its server does on NVIDIA cards since 0.30
    PLAIN = "plain"  # whole models, by estimate, as with --disable-dynamic-vram
    LOW = "low"  # plain, with so much memory reserved that LOW_FREE is left
    CPU = "cpu"


LOW_FREE = 12 * 2**30


def enter(memory: Memory, folder: Path) -> None:
    """Make ComfyUI importable with its weights placed in this way, and its folders below `folder`.

    Raises:
        SystemExit: dynamic placement was asked for and does not start here.
    """
    comfyui = Place.here().comfyui
    if memory is Memory.CPU:
        enter_comfyui(comfyui)
    else:
        _enter_cuda(comfyui, memory)
    use_folders(folder)
    importlib.import_module("comfy.utils").PROGRESS_BAR_ENABLED = False


def _enter_cuda(comfyui: Path, memory: Memory) -> None:
    import torch

    options: dict[str, Any] = {"disable_dynamic_vram": memory is not Memory.DYNAMIC}
    if memory is Memory.LOW:
        options["reserve_vram"] = (torch.cuda.get_device_properties(0).total_memory - LOW_FREE) / 2**30
    if memory is Memory.DYNAMIC:
        importlib.import_module("comfy_aimdo.control").init()
    enter_comfyui(comfyui, cpu=False, **options)
    if memory is Memory.DYNAMIC:
        _place_by_page()


def _place_by_page() -> None:
    """What ComfyUI's main.py does once its server starts."""
    import comfy.memory_management
    import comfy.model_management
    import comfy.model_patcher
    import comfy_aimdo.control

    devices = [(device.index, 0) for device in comfy.model_management.get_all_torch_devices()]
    if not comfy_aimdo.control.init_devices(devices):
        raise SystemExit("comfy-aimdo does not start on this GPU; ask for --memory plain")
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    comfy.memory_management.aimdo_enabled = True


def on_gpu() -> bool:
    import comfy.model_management

    return comfy.model_management.get_torch_device().type == "cuda"


def end_node() -> None:
    """What ComfyUI does after every node, also one that failed, while it places weights by page."""
    import comfy.memory_management
    import comfy.model_management
    import comfy.model_prefetch
    import comfy_aimdo.model_vbar

    if comfy.memory_management.aimdo_enabled:
        comfy.model_management.reset_cast_buffers()
        comfy.model_prefetch.cleanup_prefetch_queues()
        comfy_aimdo.model_vbar.vbars_reset_watermark_limits()


def finish_gpu_work() -> None:
    """Wait for the GPU, so that a clock read next is true."""
    import torch

    if on_gpu():
        torch.cuda.synchronize()


def allocated() -> int:
    """Bytes that torch's tensors take on the GPU now; 0 without one. Weights placed by page are not among them."""
    import torch

    return torch.cuda.memory_allocated() if on_gpu() else 0


def free_everything() -> None:
    """Unload every model, as ComfyUI's Free button does."""
    import comfy.model_management

    comfy.model_management.unload_all_models()
    gc.collect()
    comfy.model_management.soft_empty_cache()


class Peaks:
    """The highest use of GPU memory while its block runs: by torch's tensors, and by everything on the card."""

    def __enter__(self) -> Peaks:
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self.restart()
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watch.join()

    def restart(self) -> None:
        import torch

        self._card = 0
        if on_gpu():
            torch.cuda.reset_peak_memory_stats()

    def read(self) -> dict[str, int]:
        """Bytes since the start or the last `restart`."""
        import torch

        if not on_gpu():
            return {"tensors": 0, "card": 0}
        return {"tensors": torch.cuda.max_memory_allocated(), "card": self._card}

    def _sample(self) -> None:
        import torch

        while on_gpu() and not self._over.is_set():
            free, total = torch.cuda.mem_get_info()
            self._card = max(self._card, total - free)
            time.sleep(0.02)


def describe() -> str:
    """GPU, its memory, and the versions that matter to its speed."""
    import torch

    if not on_gpu():
        return f"no GPU used; PyTorch {torch.__version__}"
    card = torch.cuda.get_device_properties(0)
    return f"{card.name}, {card.total_memory / 2**30:.0f} GiB; PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
