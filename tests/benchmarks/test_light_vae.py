"""benchmarks/continuity takes out of the demo model's VAE what adds zero."""

from __future__ import annotations

import torch
from longtake.demo_model import folder
from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
from longtake.pipelines.load.diffusers.folder import DEFAULT, open_folder


def test_what_is_left_out_changes_no_bit(comfyui: object) -> None:
    from longtake.benchmarks.continuity.light_vae import Shortcut, lighten

    opened = open_folder(folder.FOLDER.name, [str(folder.FOLDER.parent)], DEFAULT)
    vae = bundle_from_folder(opened, "default", None).vae.get()
    pixels, latent = torch.rand(9, 64, 64, 3), torch.randn(1, 16, 3, 8, 8)
    with torch.inference_mode():
        encoded, decoded = vae.encode(pixels), vae.decode(latent)
        lighten(vae)
        assert sum(isinstance(module, Shortcut) for module in vae.first_stage_model.modules()) == 18
        assert torch.equal(vae.encode(pixels), encoded)
        assert torch.equal(vae.decode(latent), decoded)
