"""A wildcard link can bring anything to a socket: one sentence, before a node runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from longtake.pipelines.errors import Refusal


def our_nodes() -> list[Any]:
    from longtake.nodes import Longtake

    return asyncio.run(Longtake().get_node_list())


def test_no_socket_of_any_node_takes_what_it_is_not_for(comfyui: Path) -> None:
    from longtake.nodes.border import SOCKETS

    checked = 0
    for node in our_nodes():
        for socket in node.define_schema().inputs:
            if socket.io_type not in SOCKETS:
                continue
            wrong: list[Any] = [object(), 3, "text", [], torch.zeros(3), {"samples": torch.zeros(1, 4, 8, 8)}]
            for value in [*wrong, *([] if socket.optional else [None])]:
                with pytest.raises(Refusal) as caught:
                    node.execute(**{socket.id: value})
                said = str(caught.value)
                assert said.startswith(f"{socket.id}: "), (node, said)
                assert " came over the link; " in said
                assert len(said) < 200
                checked += 1
    assert checked > 200


def test_each_socket_takes_what_it_is_for(comfyui: Path, tiny_models: Path) -> None:
    from comfy_api.latest import InputImpl
    from longtake.nodes.border import check
    from longtake.nodes.types import ModelBundle, Sampling

    from tests.pipelines.stage.test_keys import bundle, ltx2

    model, sounding = bundle(tiny_models), ltx2(tiny_models)
    image = torch.zeros(1, 8, 8, 3)
    good: list[tuple[str, Any]] = [
        (ModelBundle.io_type, model),
        (Sampling.io_type, model.variant.sampling),
        (Sampling.io_type, sounding.variant.sampling),
        ("IMAGE", image),
        ("AUDIO", {"waveform": torch.zeros(1, 1, 8), "sample_rate": 8000}),
        ("VIDEO", InputImpl.VideoFromFile("a.mp4")),
        ("MODEL", model.high.get()),
        ("CLIP", model.text_encoder.get()),
        ("VAE", model.vae.get()),
        ("VAE", sounding.audio_vae.get()),
    ]
    for kind, value in good:
        check("socket", kind, value)
