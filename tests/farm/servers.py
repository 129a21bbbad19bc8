"""Servers of a farm whose models take a while, and films for them."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.host import graphs
from tests.host.place import Place
from tests.host.server import Server, link
from tests.host.stock import MODELS, Graph
from tests.run import ROOT

WAIT = 0.06  # seconds that a call of a model takes
COMMON = "of all servers"
ONLY_FIRST = "only_on_the_first.safetensors"


def lay_out(place: Place, folder: Path, models: Path) -> None:
    """The base folder of the servers, which share all but temp and user folders, and a model of the first's own."""
    Server(place, folder, models).lay_out()
    link(ROOT / "tests" / "farm" / "pack", folder / "custom_nodes" / "longtake-test-wait")
    model = models / "diffusion_models" / MODELS["ti2v"][0]
    link(model, folder / "more" / "diffusion_models" / ONLY_FIRST)
    (folder / "more.yaml").write_text(f"more:\n  base_path: {folder / 'more'}\n  diffusion_models: diffusion_models\n")


def environment(place: Place, folder: Path, number: int) -> dict[str, str]:
    """Of the worker that starts a server."""
    options = ["--base-directory", str(folder), "--disable-api-nodes"]
    if number == 1:
        options += ["--extra-model-paths-config", str(folder / "more.yaml")]
    (folder / f"wait{number}").write_text(str(WAIT))
    (folder / "store").mkdir(exist_ok=True)
    link(folder / "store", store_of(folder, number))
    return {
        **place.environment(),
        "LONGTAKE_COMFYUI_OPTIONS": shlex.join(options),
        "LONGTAKE_STORE": str(store_of(folder, number)),
        "LONGTAKE_TOKEN": COMMON,
        "LONGTAKE_TEST_WAIT": str(folder / f"wait{number}"),
    }


def store_of(folder: Path, number: int) -> Path:
    """A server's store: a link to the one that all share, so that a test can give it one of its own."""
    return folder / f"store{number}"


def film(name: str, scenes: Sequence[int] = (2, 2, 1), **loaded: Any) -> Graph:
    """A film of scenes of so many stages each, with words of its own."""
    stages = [
        {"prompt": f"{name}: scene {scene}, part {part}", "transition": "smooth" if part else "cut", "seed": part}
        for scene, parts in enumerate(scenes)
        for part in range(parts)
    ]
    document = {"defaults": {"frames": 9, "width": graphs.WIDTH, "height": graphs.HEIGHT}, "stages": stages}
    sampling = graphs.without(graphs.sampling(steps=4), "expert_split")
    sampling["inputs"]["expert_split"] = "single model"
    return {
        "model": graphs.load("ti2v", **loaded),
        "sampling": sampling,
        "board": graphs.storyboard(document),
        **graphs.delivered("board", f"farm/{name}"),
    }


def picture_of(path: Path) -> str:
    """What a film shows, to the bit."""
    import av

    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            digest.update(frame.to_ndarray().tobytes())
    return digest.hexdigest()


def latents_of(store: Path, keys: Mapping[str, int]) -> dict[str, str]:
    """What was rendered, to the bit, by the key of its take."""
    files = {key: store / "takes" / key / "tensors.safetensors" for key in keys}
    return {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items()}
