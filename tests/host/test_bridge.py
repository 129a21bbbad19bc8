"""Bridge Stage on a real server: one stage again, joined on both sides, and nothing else touched."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from tests.host import graphs, stock_ltx2
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_chain_film import frames_of
from tests.host.test_chain_ltx2 import film
from tests.host.test_film_with_sound import sound_of
from tests.host.test_parity import both_latents


def bridged(graph: Graph, last: str, stage: int = 2, **changes: Any) -> Graph:
    """The chain that ends in node `last` with one of its stages rendered again, as node `bridge`."""
    usual = {"prompt": "a wolf howls", "negative_prompt": "", "seed": 99}
    bridge = node("LongtakeBridgeStage", model=["model", 0], chain=[last, 0], stage=stage, **(usual | changes))
    return {**graph, "bridge": bridge}


def latents(server: Server, graph: Graph, chain: str, stage: int) -> tuple[torch.Tensor, torch.Tensor]:
    graph = {**graph, "latents": node("LongtakeChainToLatent", chain=[chain, 0], stage=stage)}
    return both_latents(server, graph, ["latents", 0], ["latents", 1])


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize("rate", ["24", "25", "30"])
@pytest.mark.parametrize("carry", ["pixels", "latents"])
def test_picture_and_sound_of_a_bridge_are_those_of_its_neighbours_where_they_meet(
    server: Server, rate: str, carry: str
) -> None:
    """Latents carried over are the same on both sides of a seam; pixels are encoded anew on the near one."""
    overlap = 17 if carry == "latents" else 9
    pinned = (overlap - 1) // 8
    graph = film(3, rate, **{"transition.overlap": overlap, "transition.carry_over": carry, "length.frames": 41})
    graph = bridged(graph, "stage3")
    before, before_sound = latents(server, graph, "bridge", 1)
    old, old_sound = latents(server, graph, "stage3", 2)
    after, after_sound = latents(server, graph, "bridge", 3)
    new, new_sound = latents(server, graph, "bridge", 2)
    for number, kept in ((1, before), (3, after)):
        assert torch.equal(latents(server, graph, "stage3", number)[0], kept)

    assert new.shape == old.shape and new_sound.shape == old_sound.shape
    if carry == "latents":
        assert difference(new[:, :, 1 : pinned + 1], before[:, :, -pinned:]) <= 1e-6
    assert difference(new[:, :, -pinned:], after[:, :, 1 : pinned + 1]) <= 1e-6
    between = slice(pinned + 1, new.shape[2] - pinned)
    assert difference(new[:, :, between], old[:, :, between]) > 1e-3

    # Stage 3 took its sound over from the old clip, so it lies where it lay there.
    fps = Fraction(rate)
    near, far = places(fps, overlap)
    known = new_sound.shape[2] - far
    released = min(4, known // 4)
    assert difference(new_sound[:, :, far + released :], after_sound[:, :, released:known]) <= 1e-6
    kept = before_sound.shape[2] - near
    kept -= min(4, kept // 4)
    assert difference(new_sound[:, :, :kept], before_sound[:, :, near : near + kept]) <= 1e-6
    assert difference(new_sound[:, :, kept + 4 : far], old_sound[:, :, kept + 4 : far]) > 1e-3


def places(fps: Fraction, overlap: int) -> tuple[int, int]:
    """Latents of sound of stage 1 and of stage 2 at which the next stage's begins."""
    found, offset = [], Fraction(0)
    for frames in (25, 41):
        place = (Fraction(frames - overlap) / fps - offset) * 25
        found.append(round(place))
        offset = (found[-1] - place) / 25
    return found[0], found[1]


def test_a_bridged_film_has_its_frames_and_samples_and_its_neighbours_are_shown_as_they_were(server: Server) -> None:
    graph = film(3, "25", **{"length.frames": 41})
    again = bridged(graph, "stage3")
    old, new = frames_of(server, graph, "stage3"), frames_of(server, again, "bridge")
    assert len(old) == len(new) == 25 + 32 + 32
    shown = [bool(np.array_equal(one, other)) for one, other in zip(old, new, strict=True)]
    assert shown[:25] == [True] * 25 and shown[57:] == [True] * 32
    assert not any(shown[30:45])

    delivered = []
    for prompt, chain in ((graph, "stage3"), (again, "bridge")):
        result = server.run({**prompt, **graphs.delivered(chain, f"bridge/{chain}")})
        assert result.ok, result.why()
        delivered.append(server.files(result)[0])
    (rate, length, plain), (_, same, heard) = map(sound_of, delivered)
    assert look_into(delivered[1]).frames == 89
    assert length == same == round(Fraction(89, 25) * rate)
    # The level of the sound over the 0.36 s of the far seam, and right behind it.
    seam = slice(round(48 / 25 * rate), round(57 / 25 * rate))
    behind = slice(round(57 / 25 * rate), round(66 / 25 * rate))
    for part in (seam, behind):
        assert level(heard[:, part]) == pytest.approx(level(plain[:, part]), rel=0.15)


def level(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def test_the_far_seam_of_a_bridge_is_as_close_as_the_seam_it_takes_the_place_of(server: Server) -> None:
    graph = bridged(film(3, "25", **{"length.frames": 41, "transition.overlap": 17}), "stage3")
    old, after = (decoded(server, graph, "stage3", number) for number in (2, 3))
    new = decoded(server, graph, "bridge", 2)
    assert psnr(new[-17:], after[:17]) >= psnr(old[-17:], after[:17]) - 0.2


def decoded(server: Server, graph: Graph, chain: str, stage: int) -> np.ndarray:
    """Frames `[T, H, W, 3]` of one stage, its overlaps included, in 0..255."""
    from PIL import Image

    parts = {
        "split": node("LongtakeSplitBundle", model=["model", 0]),
        "latents": node("LongtakeChainToLatent", chain=[chain, 0], stage=stage),
        "frames": node("VAEDecode", samples=["latents", 0], vae=["split", 3]),
        "png": node("SaveImage", images=["frames", 0], filename_prefix=f"seam/{chain}{stage}"),
    }
    result = server.run({**graph, **parts})
    assert result.ok, result.why()
    return np.stack([np.asarray(Image.open(file)) for file in server.files(result)])


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_two_passes_are_pinned_at_both_ends(server: Server) -> None:
    graph = film(3, **{"length.frames": 41})
    graph["model"] = graphs.load_ltx2(latent_upscaler=stock_ltx2.UPSCALER)
    graph = bridged(graph, "stage3")
    after, _ = latents(server, graph, "bridge", 3)
    new, _ = latents(server, graph, "bridge", 2)
    assert difference(new[:, :, -1:], after[:, :, 1:2]) <= 1e-6


def test_the_first_stage_is_bridged_from_text_and_one_before_a_cut_ends_freely(server: Server) -> None:
    graph = film(2)
    graph["stage3"] = graphs.ltx2_stage("stage2", transition="cut")
    first = bridged(graph, "stage3", 1)
    after, _ = latents(server, first, "bridge", 2)
    new, _ = latents(server, first, "bridge", 1)
    assert difference(new[:, :, -1:], after[:, :, 1:2]) <= 1e-6

    second = bridged(graph, "stage3")
    result = server.run({**second, **graphs.delivered("bridge")})
    assert result.ok, result.why()
    assert "does not continue it" in "".join(result.texts)
    assert look_into(server.files(result)[0]).frames == 25 + 16 + 25


def test_an_overlap_of_one_frame_and_what_a_bridge_is_given(server: Server, photos: dict[str, str]) -> None:
    graph = {
        **graphs.photo(photos["coffee"]),
        **film(3, **{"transition.overlap": 1}),
        "sound": node("EmptyAudio", duration=4.0, sample_rate=44100, channels=2),
        "track": node("LongtakeSoundtrack", audio=["sound", 0]),
        "anchor": node("LongtakeAnchor", image=["photo", 0], counts="own", **{"counts.strength": 0.9}),
        "key": node("LongtakeKeyframe", image=["photo", 0], frame=12, strength=1.0),
    }
    plain, made = latents(server, bridged(graph, "stage3"), "bridge", 2)
    given = {"guides.guide0": ["key", 0], "guides.guide1": ["track", 0], "guides.guide2": ["anchor", 0]}
    new, sound = latents(server, bridged(graph, "stage3", **given), "bridge", 2)
    assert new.shape == plain.shape and sound.shape == made.shape
    assert difference(new, plain) > 1e-3
    # Silence is the same everywhere but where the encoder begins.
    assert difference(sound[:, :, 12:20], sound[:, :, 13:21]) < 1e-3
    graph["key"]["inputs"]["frame"] = 24
    refused = server.run({**bridged(graph, "stage3", **given), **graphs.delivered("bridge")})
    assert refused.error is not None
    assert "stage 2, keyframes: a keyframe stands on frame 24; frame 24 is given already" in refused.why()


def test_a_bridge_is_rendered_once(server: Server) -> None:
    graph = bridged(film(3), "stage3", seed=1234)
    first = server.run({**graph, **graphs.delivered("bridge", "once/one")})
    assert first.ok, first.why()
    assert [data["stage"] for data in first.of("longtake.stage_done")][-1:] == [2]
    server.free()
    again = server.run({**graph, **graphs.delivered("bridge", "once/two")})
    assert again.ok, again.why()
    assert not again.of("longtake.stage_done")


@pytest.mark.parametrize("kind", ["i2v", "ti2v"])
def test_wan_bridges_its_picture(server: Server, photos: dict[str, str], kind: str) -> None:
    split = {"expert_split": "single model"} if kind == "ti2v" else {}
    graph = {
        **graphs.photo(photos["astronaut"]),
        "model": graphs.load(kind),
        "sampling": graphs.sampling(**split),
        "one": graphs.stage(start_image=["photo", 0]),
        "two": graphs.stage(chain="one"),
        "three": graphs.stage(chain="two", prompt="it sleeps"),
    }
    again = bridged(graph, "three", sampling=["sampling", 0])
    old, new = frames_of(server, graph, "three"), frames_of(server, again, "bridge")
    shown = [bool(np.array_equal(one, other)) for one, other in zip(old, new, strict=True)]
    assert shown[:17] == [True] * 17 and shown[29:] == [True] * 12
    assert not all(shown)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (4, "stage: 4 given; the chain has the stages 1 to 3."),
        (3, "stage 3: nothing comes after the last stage; change it where it is rendered."),
    ],
)
def test_a_stage_that_has_no_place_between_is_refused(server: Server, stage: int, expected: str) -> None:
    result = server.run({**bridged(film(3), "stage3", stage), **graphs.delivered("bridge")})
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == expected
