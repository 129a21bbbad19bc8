"""The bench for LTX-2: the stock graphs run on the tiny models and deliver picture and sound."""

from __future__ import annotations

import pytest

from tests.host import stock_ltx2
from tests.host.film import look_into
from tests.host.server import Server


@pytest.mark.parametrize(
    ("flow", "checkpoint"),
    [("t2v", stock_ltx2.DISTILLED), ("t2v", stock_ltx2.DISTILLED_2_3), ("two_passes", stock_ltx2.DEV)],
)
def test_a_stock_graph_delivers_a_film_with_sound(server: Server, flow: str, checkpoint: str) -> None:
    result = server.run(getattr(stock_ltx2, flow)(25, checkpoint))

    assert result.ok, result.why()
    film = look_into(server.files(result)[0])
    assert (film.frames, film.width, film.height) == (25, stock_ltx2.WIDTH, stock_ltx2.HEIGHT)
    assert film.audio_rate == (48000 if checkpoint == stock_ltx2.DISTILLED_2_3 else 24000)
    assert film.samples > 24000
