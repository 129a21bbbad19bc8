"""Training goes on where it was ended, and what it learns from is what a chain will hand to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from longtake.demo_model import clips, decoder, folder, measure, train, transformer, vae, world
from longtake.demo_model.workshop import Workshop
from safetensors.torch import load_file

PLAN = train.Plan("short", 4, 0.5, 0.0, 1.0, 3.0, None, 1)


@pytest.fixture(scope="module")
def matrices(comfyui: object) -> vae.Matrices:
    return load_file(folder.ENCODER)


@pytest.fixture(scope="module")
def pool(matrices: vae.Matrices) -> clips.Pool:
    return clips.make_pool(matrices, 20)


@pytest.fixture(scope="module")
def gray(matrices: vae.Matrices) -> torch.Tensor:
    return vae.encode(matrices, torch.zeros(1, 3, clips.FRAMES, world.SIZE, world.SIZE))


class PowerCut(Exception):
    pass


def test_a_run_that_was_cut_off_gives_what_it_would_have_given(
    pool: clips.Pool, gray: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.train(PLAN, pool, gray, tmp_path / "whole.pt", None)

    def cut(*_: Any) -> Any:
        def say(step: int, note: str = "") -> None:
            if step == 2:
                raise PowerCut

        return say

    monkeypatch.setattr(train, "SAVE_EVERY", 0.0)
    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(train, "progress", cut)
        train.train(PLAN, pool, gray, tmp_path / "cut.pt", None)
    train.train(PLAN, pool, gray, tmp_path / "cut.pt", None)
    whole, resumed = (train.weights_of(tmp_path / name) for name in ("whole.pt", "cut.pt"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_window_is_the_encode_of_its_own_frames(pool: clips.Pool, matrices: vae.Matrices) -> None:
    """Slot 0 holds a single frame, so a window from the middle of a clip is no piece of its latents."""
    pick, begin = torch.tensor([0, 1]), torch.tensor([0, 3])
    latents, ends = clips._windows(pool, pick, begin, 5)
    pixels = pool.clips[pick].pixels(clips.FRAMES)
    cut = torch.cat([pixels[:1, :, 0:17], pixels[1:, :, 12:29]])
    assert (latents - vae.encode(matrices, cut)).abs().max() < 0.01
    cut[:, :, -4:-1] = 0
    assert (ends - vae.encode(matrices, cut)[:, :, -1]).abs().max() < 0.01


def test_what_starts_from_text_starts_near_the_middle(pool: clips.Pool, gray: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(4)
    for _ in range(4):
        batch = clips.draw_batch(pool, gray, generator)
        first = batch.latents[batch.known == 0][:, :, 0]
        # The shape differs from the ground in the middle and not in the corners.
        if len(first):
            ground = first[:, :, :1, :1]
            away = (first - ground).norm(dim=1)
            assert away[:, 3:5, 3:5].mean() > 10 * away[:, ::7, ::7].mean()


def test_nothing_known_is_nothing_beside_the_noise(gray: torch.Tensor) -> None:
    beside = transformer.conditioning(torch.ones(1, 16, 5, 8, 8), torch.tensor([0]), gray[:, :, :5])
    assert not beside.any()


def test_an_untrained_decoder_gives_the_mean_colour_of_its_blocks(matrices: vae.Matrices) -> None:
    torch.manual_seed(0)
    fresh = vae.wan_vae()
    decoder.start(fresh, matrices)
    decoder.settle(fresh)
    pixels = world.draw(3, torch.Generator().manual_seed(2)).pixels(9)
    with torch.no_grad():
        assert measure.psnr(decoder.decode(fresh, vae.encode(matrices, pixels)), pixels).min() > 15


def test_a_decoder_trained_alone_is_trained_for_the_encoder_that_is_there(comfyui: object, tmp_path: Path) -> None:
    before = folder.ENCODER.read_bytes()
    Workshop(tmp_path).decoder(steps=1)
    assert folder.ENCODER.read_bytes() == before
    trained = torch.load(tmp_path / "decoder.pt", weights_only=True)["vae"]
    encoder = {name: weight for name, weight in folder.read().vae.state_dict().items() if name.startswith("encoder.")}
    assert encoder and all(torch.equal(trained[name], weight) for name, weight in encoder.items())


def test_a_new_encoder_is_not_put_beside_a_decoder_of_another(comfyui: object, tmp_path: Path) -> None:
    for name in ("encoder", "high", "low"):
        (tmp_path / f"{name}.pt").touch()
    with pytest.raises(SystemExit, match="its decoder must be trained"):
        Workshop(tmp_path).folder()
