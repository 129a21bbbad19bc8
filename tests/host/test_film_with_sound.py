"""LTX-2 chains with sound on a real server: to the frame, to the sample, and without a gap at a seam."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.host import graphs, stock_ltx2
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import Graph


def sound_of(path: Path) -> tuple[int, int, np.ndarray]:
    """Samples a second, length in samples as the container states it, and what is heard `[C, N]`."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        length = round(stream.duration * stream.time_base * stream.rate)
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)
        return stream.rate, length, heard[:, :length]


def chain_of(stages: int, model: dict, **later: object) -> Graph:
    graph: Graph = {"model": model, "stage1": graphs.ltx2_stage()}
    for number in range(2, stages + 1):
        graph[f"stage{number}"] = graphs.ltx2_stage(chain=f"stage{number - 1}", **later)
    return {**graph, **graphs.delivered(f"stage{stages}")}


@pytest.mark.parametrize("fps", [24, 25, 30, 50])
def test_five_stages_with_sound_have_exactly_their_frames_and_samples(server: Server, fps: int) -> None:
    result = server.run(chain_of(5, graphs.load_ltx2(frame_rate=str(fps)), **{"transition.overlap": 9}))
    assert result.ok, result.why()
    file = server.files(result)[0]
    film = look_into(file)
    assert (film.frames, film.fps) == (25 + 4 * 16, fps)
    rate, length, heard = sound_of(file)
    assert length == round(Fraction(film.frames, fps) * rate)
    # Nowhere a hundredth of a second of silence, for the tiny vocoder hums throughout. Only the film's last 30 ms may
    # be silent: the audio VAE is causal, its first latent decodes to 10 ms where the later ones make 40.
    hundredth = rate // 100
    blocks = heard[0][: (heard.shape[1] // hundredth - 4) * hundredth].reshape(-1, hundredth)
    assert np.sqrt((blocks**2).mean(axis=1)).min() > 1e-4


def test_a_newer_checkpoint_is_heard_at_its_own_rate(server: Server) -> None:
    result = server.run(chain_of(2, graphs.load_ltx2(stock_ltx2.DISTILLED_2_3), **{"transition.overlap": 9}))
    assert result.ok, result.why()
    rate, length, _ = sound_of(server.files(result)[0])
    assert (rate, length) == (48_000, round(Fraction(25 + 16, 24) * 48_000))


@pytest.mark.parametrize("transition", ["cut", "fade"])
def test_other_transitions_have_their_samples_too(server: Server, transition: str) -> None:
    later = {"transition": transition} | ({"transition.fade_frames": 6} if transition == "fade" else {})
    result = server.run(chain_of(3, graphs.load_ltx2(), **later))
    assert result.ok, result.why()
    file = server.files(result)[0]
    rate, length, _ = sound_of(file)
    assert length == round(Fraction(look_into(file).frames, 24) * rate)
