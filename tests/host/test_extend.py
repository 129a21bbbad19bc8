"""Films that go on from a video file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.host import graphs
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import Graph, node


def write_video(path: Path, times: list[Fraction], size: tuple[int, int] = (96, 64)) -> None:
    """A video whose frames brighten one by one, shown at the given times in seconds."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 12_000)
        for number, time in enumerate(times):
            picture = np.full((size[1], size[0], 3), 20 + 4 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time * 12_000), Fraction(1, 12_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def extended(kind: str = "i2v", video: dict | None = None, **stage: object) -> Graph:
    inputs = {"model": ["model", 0], "video": ["video", 0], "size": "automatic", "keep": "all"}
    return {
        "model": graphs.load(kind),
        "sampling": graphs.sampling(),
        "video": node("LoadVideo", file="old.mp4"),
        "old": node("LongtakeExtendVideo", **(inputs | (video or {}))),
        "new": graphs.stage(chain="old", width=0, height=0, **stage),
        **graphs.delivered("new"),
    }


def brightness(path: Path) -> list[int]:
    import av

    with av.open(str(path)) as container:
        return [round(float(frame.to_ndarray(format="rgb24").mean())) for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", ["i2v", "ti2v"])
def test_a_film_goes_on_from_a_video(server: Server, kind: str) -> None:
    fps = 24 if kind == "ti2v" else 16
    write_video(server.input / "old.mp4", [Fraction(n, fps) for n in range(20)])
    result = server.run(extended(kind))
    assert result.ok, result.why()
    file = server.files(result)[0]
    film = look_into(file)
    assert (film.frames, film.width, film.height, film.fps) == (20 + 12, 96, 64, fps)
    # The video itself is shown as it was, within what two encodings at crf 10 and 18 leave of a flat grey.
    assert np.abs(np.subtract(brightness(file)[:20], [20 + 4 * n for n in range(20)])).max() <= 2
    assert "Stage 2 of 2, step 4 of 4" in result.texts


def test_a_video_of_a_variable_rate_keeps_its_pace(server: Server) -> None:
    times = [Fraction(n, 8) for n in range(8)] + [1 + Fraction(n, 32) for n in range(32)]
    write_video(server.input / "old.mp4", times)
    result = server.run(extended())
    assert result.ok, result.why()
    shown = brightness(server.files(result)[0])
    assert len(shown) == 32 + 12
    # A second of eight frames held for two film frames each.
    assert [shown[2 * n] - shown[2 * n + 1] for n in range(8)] == pytest.approx([0] * 8, abs=2)
    assert shown[16] - shown[0] == pytest.approx(8 * 4, abs=3)


def test_only_the_end_of_a_video_is_kept(server: Server) -> None:
    write_video(server.input / "old.mp4", [Fraction(n, 16) for n in range(40)])
    result = server.run(extended(video={"keep": "its end", "keep.seconds": 0.5}))
    assert result.ok, result.why()
    shown = brightness(server.files(result)[0])
    assert len(shown) == 8 + 12
    assert shown[0] == pytest.approx(20 + 4 * 32, abs=2)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (
            extended(video={"keep": "its end", "keep.seconds": 9.0}),
            "keep: 9.0 s given; the video lasts 0.50 s.",
        ),
        (
            extended(**{"transition.carry_over": "latents"}),
            "stage 2, carry_over: latents cannot be carried over from a video, which has none; use pixels.",
        ),
        (
            extended(**{"transition.overlap": 13, "frames": 33}),
            "stage 2, overlap: an overlap of 13 frames is longer than the stage before it, which renders 8; "
            "use at most 5",
        ),
    ],
    ids=["keeps more than there is", "latents", "a short video"],
)
def test_what_a_video_cannot_give_is_refused(server: Server, graph: Graph, expected: str) -> None:
    write_video(server.input / "old.mp4", [Fraction(n, 16) for n in range(8)])
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == expected
