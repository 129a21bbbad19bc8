"""LTX-2 chains on a real server: picture and sound go on over the seams, and the delivered film has exactly both."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from tests.host import graphs, stock_ltx2
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_parity import both_latents


def film(stages: int, rate: str = "24", checkpoint: str = stock_ltx2.DISTILLED, **changes: object) -> Graph:
    """A chain of stages that differ by their words; `changes` are for every stage but the first."""
    graph: Graph = {"model": graphs.load_ltx2(checkpoint, frame_rate=rate), "stage1": graphs.ltx2_stage()}
    for number in range(2, stages + 1):
        graph[f"stage{number}"] = graphs.ltx2_stage(f"stage{number - 1}", prompt=f"part {number}", **changes)
    return graph


def latents(server: Server, graph: Graph, stage: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
    graph = {**graph, "latents": node("LongtakeChainToLatent", chain=[f"stage{last}", 0], stage=stage)}
    return both_latents(server, graph, ["latents", 0], ["latents", 1])


@pytest.mark.parametrize(
    ("rate", "checkpoint"),
    [("24", stock_ltx2.DISTILLED), ("25", stock_ltx2.DISTILLED_2_3), ("30", stock_ltx2.DISTILLED)],
    ids=["24", "25 and 2.3", "30"],
)
def test_five_stages_deliver_exactly_their_frames_and_samples(server: Server, rate: str, checkpoint: str) -> None:
    graph = film(5, rate, checkpoint)
    graph["stitch"] = node("LongtakeStitchChain", chain=["stage5", 0])
    graph["parts"] = node("GetVideoComponents", video=["stitch", 0])
    graph["flac"] = node("SaveAudio", audio=["parts", 1], filename_prefix="audio/exact")
    result = server.run({**graph, **graphs.delivered("stage5")})
    assert result.ok, result.why()
    sound, video = sorted(server.files(result), key=lambda file: file.suffix)
    delivered = look_into(video)
    frames = 25 + 4 * 16
    assert delivered.frames == frames
    sample_rate = 48000 if checkpoint == stock_ltx2.DISTILLED_2_3 else 24000
    exact = round(Fraction(frames) / int(rate) * sample_rate)
    assert samples_of(sound) == (exact, sample_rate)
    # AAC holds whole packets of 1024 samples, and a decoder gives its priming back.
    assert exact <= delivered.samples < exact + 3 * 1024
    assert delivered.audio_rate == sample_rate


@pytest.mark.parametrize("carry", ["pixels", "latents"])
@pytest.mark.parametrize("rate", ["24", "25", "30"])
def test_what_a_stage_is_pinned_to_is_in_it_unchanged(server: Server, rate: str, carry: str) -> None:
    graph = film(3, rate, **{"transition.carry_over": carry, "transition.overlap": 17})
    before, sound_before = latents(server, graph, 2, 3)
    after, sound_after = latents(server, graph, 3, 3)
    if carry == "latents":
        assert (after[:, :, 1:3] - before[:, :, -2:]).abs().max() <= 1e-4
    # The sound goes on from the latent nearest to the overlap's first frame.
    begin = sound_begin(rate)
    known = sound_before.shape[2] - begin
    released = min(4, known // 4)
    kept = known - released
    assert kept >= 8
    assert (sound_after[:, :, :kept] - sound_before[:, :, begin : begin + kept]).abs().max() <= 1e-4
    assert (sound_after[:, :, known:]).std() > 0.01


def sound_begin(rate: str) -> int:
    """Latent of stage 2's sound at which stage 3 begins: each stage's sound keeps the grid of the one before."""
    fps = Fraction(rate)
    offset = Fraction(0)
    for _ in range(2):
        place = (Fraction(25 - 17) / fps - offset) * 25
        begin = round(place)
        offset = (begin - place) / 25
    return begin


def test_a_cut_and_a_fade_join_the_sound_too(server: Server) -> None:
    graph = film(1)
    graph["stage2"] = graphs.ltx2_stage("stage1", transition="cut")
    graph["stage3"] = graphs.ltx2_stage("stage2", transition="fade", **{"transition.fade_frames": 6})
    result = server.run({**graph, **graphs.delivered("stage3")})
    assert result.ok, result.why()
    delivered = look_into(server.files(result)[0])
    assert delivered.frames == 25 + 25 + 19
    assert delivered.samples >= round(Fraction(69, 24) * 24000)


def test_two_passes_pin_the_tail_in_each(server: Server) -> None:
    graph = film(2, **{"transition.carry_over": "latents"})
    graph["model"] = graphs.load_ltx2(latent_upscaler=stock_ltx2.UPSCALER)
    before, sound_before = latents(server, graph, 1, 2)
    after, sound_after = latents(server, graph, 2, 2)
    assert (after[:, :, 1:2] - before[:, :, -1:]).abs().max() <= 1e-4
    assert (sound_after[:, :, :7] - sound_before[:, :, 17:24]).abs().max() <= 1e-4


def test_an_anchor_is_looked_at_and_leaves_no_frames_behind(server: Server, photos: dict[str, str]) -> None:
    anchor = node("LongtakeAnchor", image=["photo", 0], counts="automatic")
    graph = {**graphs.photo(photos["chelsea"]), "anchor": anchor, **film(2, guides=["anchor"])}
    anchored, _ = latents(server, graph, 2, 2)
    plain, _ = latents(server, film(2), 2, 2)
    assert anchored.shape == plain.shape
    assert (anchored[:, :, :2] - plain[:, :, :2]).abs().max() <= 1e-4
    assert (anchored[:, :, 2:] - plain[:, :, 2:]).abs().max() > 1e-3


def samples_of(path: object) -> tuple[int, int]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return sum(frame.samples for frame in container.decode(stream)), stream.sample_rate
