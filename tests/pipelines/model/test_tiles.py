"""Decoding in tiles: what comes of it is what whole frames are, and it is what happens when memory runs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from longtake.pipelines.model import tiles

WIDTH, HEIGHT = 640, 32  # of what is decoded: wider than one tile


@pytest.fixture(scope="module")
def vae(comfyui: Path) -> Any:
    """ComfyUI's VAE object of the demo model, which was trained."""
    from longtake.demo_model import folder
    from longtake.pipelines.load.diffusers.bundle import bundle_from_folder
    from longtake.pipelines.load.diffusers.folder import DEFAULT, open_folder

    path = folder.FOLDER
    return bundle_from_folder(open_folder(path.name, [str(path.parent)], DEFAULT), "default", None).vae.get()


@pytest.fixture(scope="module")
def latent(vae: Any) -> torch.Tensor:
    """Of a frame of soft colours with edges."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    frame = torch.stack([x % 97 / 97, (x // 23 + y // 11) % 2 * 0.6, y / HEIGHT], -1)
    with torch.inference_mode():
        return vae.encode(frame[None])


@pytest.fixture(scope="module")
def whole(vae: Any, latent: torch.Tensor) -> torch.Tensor:
    return decoded(vae, latent)


@pytest.fixture
def room(vae: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the VAE decode so many latents side by side, and remembers how many it was asked for."""
    from comfy.model_management import OOM_EXCEPTION

    asked: list[int] = []
    decode = vae.first_stage_model.decode

    def limit(most: int) -> list[int]:
        def limited(piece: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
            asked.append(piece.shape[-1])
            if piece.shape[-1] > most:
                raise OOM_EXCEPTION("no room")
            return decode(piece, *more, **options)

        monkeypatch.setattr(vae.first_stage_model, "decode", limited)
        return asked

    return limit


def decoded(vae: Any, latent: torch.Tensor, tiled: bool = False) -> torch.Tensor:
    with torch.inference_mode():
        return tiles.decode(vae, latent, tiled).float()


@given(length=st.integers(1, 200), side=st.integers(17, 64), pixels=st.sampled_from([8, 16, 32]))
def test_tiles_cover_every_pixel_in_parts_that_add_up_to_one(length: int, side: int, pixels: int) -> None:
    total = torch.zeros(length * pixels)
    for begin, end, weight in tiles.tiles_of(length, side, pixels):
        assert end - begin == min(side, length)
        assert weight.min() >= 0
        # What is nearest to an edge that is none of the frame's is thrown away.
        assert not begin or not weight[: tiles.THROWN].any()
        assert end == length or not weight[-tiles.THROWN :].any()
        total[begin * pixels : end * pixels] += weight
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)


def test_tiles_show_what_whole_frames_show(vae: Any, latent: torch.Tensor, whole: torch.Tensor) -> None:
    tiled = decoded(vae, latent, tiled=True)
    assert tiled.shape == whole.shape == (1, 1, HEIGHT, WIDTH, 3)
    assert not torch.equal(tiled, whole)
    assert (tiled - whole).abs().max() * 255 < 0.1
    with torch.inference_mode():
        own = vae.decode_tiled(latent, tile_x=32, tile_y=32, overlap=8).float()
    assert (own - whole).abs().max() * 255 > 1, "ComfyUI's own tiles became seamless, and need not be made here"


@pytest.mark.parametrize(("room_for", "tried"), [(64, [80, 64, 64]), (32, [80, 64, 32, 32, 32, 32])])
def test_memory_that_runs_out_is_made_do_with(
    vae: Any, latent: torch.Tensor, whole: torch.Tensor, room: Any, room_for: int, tried: list[int]
) -> None:
    asked = room(room_for)
    assert (decoded(vae, latent) - whole).abs().max() * 255 < 0.1
    assert asked == tried


def test_where_no_tile_finds_room_the_error_is_that_of_memory(vae: Any, latent: torch.Tensor, room: Any) -> None:
    from comfy.model_management import is_oom

    room(7)
    with pytest.raises(Exception, match="no room") as raised:
        decoded(vae, latent)
    assert is_oom(raised.value)
