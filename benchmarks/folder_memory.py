"""What loading a diffusers folder takes in memory and time, beside the same weights in ComfyUI's own single file.

    <the host's python> benchmarks/folder_memory.py

Random bf16 weights of published widths: Wan 2.1 1.3B whole, LTX-2.0 with 2 of its 48 blocks. The folder is sharded; the
file holds the same tensors under ComfyUI's names. Each is loaded in a process of its own, as a stage loads it. Prints a
table, writes it to benchmarks/results/folder_memory.md, and exits with 1 where a folder takes over 5 % more memory than
the file. Linux only: it reads /proc.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from peak import Peak

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "folder_memory.md"
ALLOWED = 1.05
SHARDS = 4
REPEATS = 3
MODELS = {"wan": "Wan 2.1 1.3B", "ltx2": "LTX-2.0, 2 blocks"}


def components(name: str) -> dict[str, Any]:
    """Name of a component -> a module of diffusers without weights."""
    from accelerate import init_empty_weights
    from diffusers import LTX2VideoTransformer3DModel, WanTransformer3DModel
    from diffusers.pipelines.ltx2 import LTX2TextConnectors

    with init_empty_weights():
        if name == "wan":
            return {"transformer": WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30)}
        return {
            "transformer": LTX2VideoTransformer3DModel(rope_type="split", num_layers=2),
            "connectors": LTX2TextConnectors(rope_type="split"),
        }


def part_of(name: str, folder: Path) -> Any:
    """The diffusion model of a folder."""
    from longtake.pipelines.load.diffusers import ltx2, wan
    from longtake.pipelines.load.diffusers.folder import open_folder

    opened = open_folder(name, [str(folder)])
    return wan.expert(opened, "transformer", "default")[0] if name == "wan" else ltx2.diffusion_model(opened, "default")


def write(name: str, folder: Path) -> int:
    """Write a sharded folder, and its weights as a single file beside it; returns the bytes of that."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    here, stem = folder / name, "diffusion_pytorch_model"
    here.mkdir()
    modules = components(name)
    index = {"_class_name": "a pipeline"} | {key: ["diffusers", type(one).__name__] for key, one in modules.items()}
    (here / "model_index.json").write_text(json.dumps(index))
    for key, module in modules.items():
        module.save_config(here / key)
        shapes = {at: one.shape for at, one in module.state_dict().items()}
        files = {at: f"{stem}-{i * SHARDS // len(shapes) + 1:05}.safetensors" for i, at in enumerate(shapes)}
        for file in sorted(set(files.values())):
            shard = {
                at: torch.randn(shape, generator=generator).bfloat16()
                for at, shape in shapes.items()
                if files[at] == file
            }
            save_file(shard, here / key / file)
        (here / key / f"{stem}.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    part, single = part_of(name, folder), folder / f"{name}.safetensors"
    weights = part.get().model.diffusion_model.state_dict()
    save_file({at: one.bfloat16() for at, one in weights.items()}, single, metadata=part.header().metadata)
    return single.stat().st_size


def load(way: str, name: str, folder: Path) -> dict[str, float]:
    """Load once in this process."""
    import comfy.sd

    started = time.perf_counter()
    with Peak() as peak:
        if way == "folder":
            model = part_of(name, folder).get()
        else:
            model = comfy.sd.load_diffusion_model(str(folder / f"{name}.safetensors"))
    assert model is not None
    return {"bytes": peak.grown, "seconds": time.perf_counter() - started}


def in_fresh_process(*arguments: str) -> Any:
    command = [sys.executable, __file__, *arguments]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit(made.stderr)
    return json.loads(made.stdout.splitlines()[-1])


def measured(name: str, folder: Path) -> tuple[str, float]:
    """A row of the table, and the folder's memory in parts of the file's."""
    size = in_fresh_process("write", name, str(folder))
    turns = [{way: in_fresh_process(way, name, str(folder)) for way in ("folder", "single")} for _ in range(REPEATS)]
    best = {
        way: {key: min(turn[way][key] for turn in turns) for key in ("bytes", "seconds")}
        for way in ("folder", "single")
    }
    more = best["folder"]["bytes"] / best["single"]["bytes"]
    row = (
        f"| {MODELS[name]} | {size / 1e9:.2f} GB | {best['folder']['bytes'] / 1e6:.0f} MB "
        f"| {best['single']['bytes'] / 1e6:.0f} MB | {more:.3f} "
        f"| {best['folder']['seconds'] / best['single']['seconds']:.2f} |"
    )
    return row, more


def main() -> int:
    rows = []
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(name, Path(folder)))
    text = f"""# Memory of loading a diffusers folder

Made by `benchmarks/folder_memory.py`: random bf16 weights at published widths, {SHARDS} shards a component, each way in
{REPEATS} processes taken in turns, the least of each. Memory is peak RssAnon above the process after its imports: pages
of mapped files do not count. Time includes checking the folder's headers.

| model | file | folder | single file | memory, folder / file | time, folder / file |
|---|---|---|---|---|---|
{chr(10).join(row for row, _ in rows)}

Allowed: {ALLOWED} times the memory. On a CPU ComfyUI copies weights into the modules it builds, either way,
in the precision it computes in there.
"""
    print(text)
    RESULTS.write_text(text, encoding="utf-8")
    return int(any(more > ALLOWED for _, more in rows))


def enter() -> None:
    """Make ComfyUI and the pack importable."""
    runpy.run_path(str(ROOT / "tests" / "run.py"))["name_packages"]()
    sys.path.pop(0)  # the repository's `nodes` is not ComfyUI's
    from tests.host.inprocess import enter_comfyui
    from tests.host.place import Place

    enter_comfyui(Place.here().comfyui)
    import comfy.sd  # noqa: F401 - not counted


if __name__ == "__main__":
    if len(sys.argv) == 1:
        raise SystemExit(main())
    way, name, folder = sys.argv[1:]
    enter()
    print(json.dumps(write(name, Path(folder)) if way == "write" else load(way, name, Path(folder))))
