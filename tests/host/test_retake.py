"""Retake on a real server: a part rendered anew, the rest as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.host import graphs, stock_ltx2
from tests.host.film import look_into
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_chain_film import LOADING
from tests.host.test_film_with_sound import sound_of
from tests.host.test_given_ltx2 import sampling
from tests.host.test_parity import both_latents


def retake(model: str = "model", **changes: Any) -> Graph:
    usual = {
        "prompt": "a red fox",
        "negative_prompt": "",
        "start_seconds": 0.5,
        "end_seconds": 1.0,
        "sound": "rendered anew",
        "size": "own",
        "size.width": stock_ltx2.WIDTH,
        "size.height": stock_ltx2.HEIGHT,
        "seed": 3,
    }
    return {
        "model": graphs.load_ltx2(frame_rate="25"),
        "file": node("LoadVideo", file="example.mp4"),
        "retake": node("LongtakeRetake", model=[model, 0], video=["file", 0], **(usual | changes)),
    }


def latents(server: Server, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
    graph = {**graph, "ours": node("LongtakeChainToLatent", chain=["retake", 0], stage=0)}
    return both_latents(server, graph, ["ours", 0], ["ours", 1])


def test_what_is_not_asked_for_stays_to_the_bit(server: Server) -> None:
    """0.5 to 1.0 s at 25 frames a second are frames 12 to 24: slots 2 and 3 of 8 frames each, latents 12 to 24."""
    one, sound = latents(server, retake())
    other, other_sound = latents(server, retake(seed=4))
    assert one.shape[2] == 8  # 50 frames, rendered as 57
    changed = [(one[:, :, slot] - other[:, :, slot]).abs().max().item() > 0 for slot in range(8)]
    assert changed == [False, False, True, True, False, False, False, False]
    heard = (sound - other_sound).abs().amax(dim=(0, 1, 3)) > 0
    assert heard.nonzero().flatten().tolist() == list(range(12, 25))


def test_the_sound_can_be_kept(server: Server) -> None:
    sounds = [latents(server, retake(seed=seed, sound="kept"))[1] for seed in (3, 4)]
    assert torch.equal(*sounds)


def test_a_retake_is_as_long_as_the_video(server: Server) -> None:
    result = server.run({**retake(), **graphs.delivered("retake")})
    assert result.ok, result.why()
    film = look_into(server.files(result)[0])
    assert (film.frames, film.fps, film.width) == (50, 25, stock_ltx2.WIDTH)
    assert 2 * film.audio_rate <= film.samples < 2 * film.audio_rate + 3 * 1024


def test_the_same_retake_is_rendered_once(own_server: Server) -> None:
    first = own_server.run({**retake(), **graphs.delivered("retake", "once/one")})
    assert first.ok, first.why()
    [done] = first.of("longtake.stage_done")
    assert f"{LOADING} LTXAV" in own_server.log.read_text()
    own_server.restart()
    again = own_server.run({**retake(), **graphs.delivered("retake", "once/two")})
    assert again.ok, again.why()
    assert [data["take"] for data in again.of("longtake.stored_hit")] == [done["take"]]
    assert not again.of("longtake.stage_done") and not again.of("longtake.step")
    assert f"{LOADING} LTXAV" not in own_server.log.read_text()
    (rate, length, heard), (rate_again, length_again, heard_again) = (
        sound_of(own_server.files(result)[0]) for result in (first, again)
    )
    assert (rate, length) == (rate_again, length_again) and np.array_equal(heard, heard_again)
    # The sound is decoded from the take again; the picture is copied from its segment.
    assert f"{LOADING} AudioVAE" in own_server.log.read_text()
    assert f"{LOADING} VideoVAE" not in own_server.log.read_text()
    kept = own_server.get(f"/longtake/takes/{done['take']}")
    assert (kept["take"], kept["retake"], kept["frames"]) == (1, [0.5, 1.0], 57)
    chains = [chain["stages"] for chain in own_server.get("/longtake/chains")["chains"]]
    assert [done["take"] in {stage["take"] for stage in stages} for stages in chains].count(True) == 1

    taken = node("LongtakeLoadTake", model=["model", 0], take=done["take"])
    opened = own_server.run({"model": retake()["model"], "taken": taken, **graphs.delivered("taken", "once/take")})
    assert opened.ok, opened.why()
    assert look_into(own_server.files(opened)[0]).frames == 50, "the video's frames, without the still behind them"


def test_another_video_span_word_seed_or_setting_is_another_take(server: Server) -> None:
    def take(graph: Graph) -> str:
        result = server.run({**graph, **graphs.delivered("retake")})
        assert result.ok, result.why()
        return [*result.of("longtake.stage_done"), *result.of("longtake.stored_hit")][0]["take"]

    server.free()
    quick = sampling(schedule="sigmas", **{"schedule.sigmas": "1, 0"})
    base = {"seed": 31, "sampling": ["quick", 0]}
    changes = (
        {},
        {"seed": 32},
        {"prompt": "a wolf"},
        {"negative_prompt": "grey"},
        {"end_seconds": 1.2},
        {"sound": "kept"},
    )
    keys = [take({**retake(**(base | one)), "quick": quick}) for one in changes]
    other = {**retake(**base), "quick": quick}
    other["silent"] = node("GetVideoComponents", video=["file", 0])
    other["video"] = node("CreateVideo", images=["silent", 0], fps=25.0)
    other["retake"]["inputs"]["video"] = ["video", 0]
    keys.append(take(other))
    assert len(set(keys)) == len(keys) == 7


def test_a_lora_on_one_of_two_passes_is_refused_for_a_retake_has_one(server: Server) -> None:
    graph = {
        **retake("lora"),
        "model": graphs.load_ltx2(latent_upscaler=stock_ltx2.UPSCALER, frame_rate="25"),
        "lora": node(
            "LongtakeApplyLora",
            model=["model", 0],
            high_noise_lora="ltx-2-19b-distilled-lora-384.safetensors",
            strength_high=1.0,
            low_noise_lora="none",
            strength_low=1.0,
            passes="second",
        ),
        **graphs.delivered("retake"),
    }
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == (
        "second_sigmas: a LoRA is on one of the two passes alone, and the second pass is off; put it on both, or leave "
        "the second pass as published."
    )
    assert not result.of("longtake.stage_started")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"end_seconds": 3.0}, "end_seconds: 0.5 to 3.0 s given; the video lasts 2.00 s"),
        ({"start_seconds": 1.0}, "end_seconds: 1.0 to 1.0 s given; the video lasts 2.00 s"),
        ({"model": "wan"}, "model: ti2v-5b cannot render a part of a video anew; LTX-2 can."),
    ],
    ids=["outside the video", "nothing", "Wan"],
)
def test_what_cannot_be_retaken_is_refused(server: Server, changes: dict[str, Any], expected: str) -> None:
    graph = {**retake(**changes), "wan": graphs.load("ti2v"), **graphs.delivered("retake")}
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert expected in result.error["exception_message"]
