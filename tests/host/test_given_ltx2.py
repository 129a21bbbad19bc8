"""What an LTX-2 stage is given to keep to, and what it refuses, on a real server."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.host import graphs, stock_ltx2
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_chain_ltx2 import film, latents
from tests.host.test_parity import both_latents
from tests.host.test_parity_ltx2 import FRAMES, assert_same, cropped, guide, photo, without_film


def keyframe(frame: int, strength: float = 1.0) -> dict[str, Any]:
    return node("LongtakeKeyframe", image=["photo", 0], frame=frame, strength=strength)


def sampling(**changes: Any) -> dict[str, Any]:
    usual = {
        "schedule": "as published",
        "guidance": "as published",
        "sampler": "euler",
        "second_pass": "as published",
        "image_compression": "as published",
        "image_strength": 1.0,
    }
    return node("LongtakeLtx2Sampling", **(usual | changes))


def tone(seconds: float) -> dict[str, Any]:
    return node("EmptyAudio", duration=seconds, sample_rate=44100, channels=2)


def followed(sound: str, output: int = 0) -> dict[str, Any]:
    return node("LongtakeSoundtrack", audio=[sound, output])


def test_keyframes_equal_guides_one_after_another(server: Server, photos: dict[str, str]) -> None:
    graph = {
        **photo(photos["coffee"]),
        **stock_ltx2.loaders(),
        **stock_ltx2.empty(FRAMES),
        "early": guide(["video", 0], ["compressed", 0], 8, 1.0),
        "late": guide(["early", 2], ["compressed", 0], 24, 0.5, prompts="early"),
        **stock_ltx2.sampled("pass", ["late", 2], ["audio", 0], prompts="late"),
        "cropped": cropped("late"),
        "model": graphs.load_ltx2(),
        "key1": keyframe(8),
        "key2": keyframe(-1, 0.5),
        "stage": graphs.ltx2_stage(frames=FRAMES, guides=["key1", "key2"]),
    }
    assert_same(server, graph, "pass", ["cropped", 2])


def test_plain_guidance_of_a_dev_model_equals_a_cfg_guider(server: Server) -> None:
    own = {"cfg": 3.0, "cfg_audio": 3.0, "stg": 0.0, "stg_block": 1, "modality": 1.0, "rescale": 0.0}
    schedule = node(
        "LTXVScheduler", steps=4, max_shift=2.05, base_shift=0.95, stretch=True, terminal=0.1, latent=["both_pass", 0]
    )
    graph = {
        **stock_ltx2.loaders(stock_ltx2.DEV),
        **stock_ltx2.empty(FRAMES),
        **stock_ltx2.sampled("pass", ["video", 0], ["audio", 0], cfg=3.0, schedule=schedule),
        "model": graphs.load_ltx2(stock_ltx2.DEV, sampled_as="dev"),
        "sampling": sampling(
            schedule="steps",
            guidance="own",
            **{"schedule.steps": 4, **{f"guidance.{name}": value for name, value in own.items()}},
        ),
        "stage": graphs.ltx2_stage(frames=FRAMES, sampling=["sampling", 0]),
    }
    assert_same(server, graph, "pass")


def test_guidance_of_picture_and_sound_apart_moves_each_by_its_own(server: Server) -> None:
    def rendered(**terms: float) -> tuple[torch.Tensor, torch.Tensor]:
        own = {"cfg": 1.0, "cfg_audio": 1.0, "stg": 0.0, "stg_block": 1, "modality": 1.0, "rescale": 0.0} | terms
        graph = {
            "model": graphs.load_ltx2(stock_ltx2.DEV, sampled_as="dev"),
            "sampling": sampling(
                schedule="sigmas",
                guidance="own",
                **{"schedule.sigmas": "1, 0.5, 0", **{f"guidance.{name}": value for name, value in own.items()}},
            ),
            "stage": graphs.ltx2_stage(sampling=["sampling", 0]),
            "ours": node("LongtakeChainToLatent", chain=["stage", 0], stage=0),
        }
        return both_latents(server, graph, ["ours", 0], ["ours", 1])

    off, loud = rendered(), rendered(cfg_audio=7.0)
    assert (off[1] - loud[1]).abs().max() > 1e-3
    for term in ({"stg": 1.0}, {"modality": 3.0}, {"cfg": 3.0, "rescale": 0.7}):
        moved = rendered(**term)
        assert (off[0] - moved[0]).abs().max() > 1e-4, term
        assert torch.isfinite(moved[0]).all() and torch.isfinite(moved[1]).all()


def test_a_soundtrack_is_kept_as_it_is_encoded(server: Server) -> None:
    graph = {**film(2), "sound": tone(3.0), "guide": followed("sound")}
    for stage in ("stage1", "stage2"):
        graph[stage]["inputs"]["guides.guide0"] = ["guide", 0]
    picture, sound = latents(server, graph, 1, 2)
    plain, made = latents(server, film(2), 1, 2)
    assert sound.shape == made.shape
    assert (sound - made).abs().max() > 0.01
    # Silence is the same everywhere but where the encoder begins.
    assert (sound[:, :, 12:20] - sound[:, :, 13:21]).abs().max() < 1e-3
    assert (picture - plain).abs().max() > 1e-4


def put_silent_film(path: Path) -> None:
    """Half a second of grey without a sound stream."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(12):
            grey = np.full((64, 64, 3), 128, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))


def put_empty_sound(path: Path) -> None:
    """A sound file of no samples."""
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 24000, 0, "NONE", ""))


def test_a_file_without_sound_is_refused_before_anything_is_rendered(server: Server) -> None:
    """Load Audio refuses such a file itself; a silent video comes out of Get Video Components as nothing."""
    put_silent_film(server.input / "silent.mp4")
    put_empty_sound(server.input / "empty.wav")
    graph = {**film(1), **graphs.delivered("stage1"), "guide": followed("sound")}
    graph["stage1"]["inputs"]["guides.guide0"] = ["guide", 0]
    cases = [
        ({"sound": node("LoadAudio", audio="silent.mp4")}, "LoadAudio", "No audio stream found in the file."),
        ({"sound": node("LoadAudio", audio="empty.wav")}, "LoadAudio", "No audio frames decoded."),
    ]
    for nodes, kind, expected in cases:
        result = server.run({**graph, **nodes})
        assert result.error is not None, result.why()
        assert (result.error["node_type"], result.error["exception_message"].strip()) == (kind, expected)
        assert not result.of("longtake.stage_started")

    graph |= {
        "guide": followed("parts", 1),
        "video": node("LoadVideo", file="silent.mp4"),
        "parts": node("GetVideoComponents", video=["video", 0]),
    }
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == ("audio: it holds no sound; disconnect it, or give another.")
    assert result.error["node_id"] == "guide"
    assert not result.of("longtake.stage_started")


STAGES: dict[str, tuple[dict[str, Any], str]] = {
    "8k frames": ({"frames": 24}, "stage 2, frames: 24 frames are given, and the model takes 8n+1; use 17 or 25"),
    "overlap off the grid": (
        {"transition.overlap": 5},
        "stage 2, overlap: 5 frames are given, and the model takes 8n+1; use 1 or 9",
    ),
    "keyframe outside the clip": (
        {"guides": ["outside"]},
        "stage 2, keyframes: frame 25 given; the stage has frames 0 to 24 (or -1, the last, to -25).",
    ),
    "two keyframes on one frame": (
        {"guides": ["last", "twice"]},
        "stage 2, keyframes: 2 keyframes stand on frame 24; one a frame.",
    ),
    "a keyframe in the overlap": (
        {"guides": ["inside"]},
        "stage 2, keyframes: a keyframe stands on frame 4; frames 0 to 8 are given already, by a stage beside it, the "
        "start image or the end image.",
    ),
    "audio shorter than the film": (
        {"guides": ["too_short"]},
        "stage 2, soundtrack: the soundtrack lasts 1.50 s and this stage ends at 1.71 s of the film; give a longer "
        "one, or a shorter stage.",
    ),
    "a soundtrack without sound": (
        {"guides": ["empty"]},
        "stage 2, soundtrack: the soundtrack holds no sound.",
    ),
    "two soundtracks": (
        {"guides": ["too_short", "empty"]},
        "stage 2, guides: 2 of the guides are soundtracks; connect one.",
    ),
    "two anchors": ({"guides": ["anchor", "anchor"]}, "stage 2, guides: 2 of the guides are anchors; connect one."),
    "carry-over svi": (
        {"transition.carry_over": "svi", "anchor_image": ["photo", 0]},
        "stage 2, carry_over: distilled-2.0 has no carry-over svi; it has latents, pixels.",
    ),
    "settings of Wan": (
        {"sampling": ["wan_sampling", 0]},
        "stage 2, sampling: Wan Sampling is for models with a high- and a low-noise expert; this bundle has a "
        "settings node of its own.",
    ),
    "a Wan bundle": (
        {"model": "wan", "width": 0, "height": 0},
        "stage 2, model: a bundle of Wan 2.2 cannot continue a chain of ltx2.",
    ),
}


@pytest.mark.parametrize(("second", "expected"), STAGES.values(), ids=STAGES.keys())
def test_a_stage_is_refused(server: Server, photos: dict[str, str], second: dict[str, Any], expected: str) -> None:
    graph: Graph = {
        **graphs.photo(photos["astronaut"]),
        **film(2, **second),
        "outside": keyframe(25),
        "last": keyframe(-1),
        "twice": keyframe(24),
        "inside": keyframe(4),
        "short": tone(1.5),
        "too_short": followed("short"),
        "nothing": tone(0.0),
        "empty": followed("nothing"),
        "anchor": node("LongtakeAnchor", image=["photo", 0], counts="automatic"),
        "wan_sampling": graphs.sampling(),
        "wan": graphs.load("ti2v"),
        **graphs.delivered("stage2"),
    }
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].splitlines()[0].strip() == expected


def test_a_later_stage_with_a_guide_is_checked_before_the_first_renders(server: Server, photos: dict[str, str]) -> None:
    anchor = node("LongtakeAnchor", image=["photo", 0], counts="automatic")
    second = {"guides": ["anchor"], "transition.overlap": 12, "seed": 4242}
    graph = {**graphs.photo(photos["astronaut"]), "anchor": anchor, **film(2, **second), **graphs.delivered("stage2")}
    graph["stage1"]["inputs"]["seed"] = 4243  # one that no test before has left in ComfyUI's cache
    result = server.run(graph)
    assert "stage 2, overlap: 12 frames are given, and the model takes 8n+1; use 9 or 17" in result.why()
    assert [data["node"] for data in result.of("longtake.refused")] == ["stage2"]
    assert not result.of("longtake.stage_started") and not result.of("longtake.stored_hit")


def test_an_ltx2_tail_is_not_given_to_wan_nor_a_wan_tail_to_ltx2(server: Server) -> None:
    graph = {
        "wan": graphs.load("ti2v"),
        "sampling": graphs.sampling(**{"expert_split": "single model"}),
        "first": graphs.stage("wan"),
        "model": graphs.load_ltx2(),
        "second": graphs.ltx2_stage("first"),
        **graphs.delivered("second"),
    }
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].splitlines()[0].strip() == (
        "stage 2, model: a bundle of LTX-2 cannot continue a chain of wan22."
    )


def test_wan_refuses_a_soundtrack_and_keyframes_by_name(server: Server, photos: dict[str, str]) -> None:
    base = {**graphs.photo(photos["astronaut"]), "model": graphs.load("ti2v"), "key": keyframe(8), "sound": tone(9.0)}
    base["guide"] = followed("sound")
    base["sampling"] = graphs.sampling(**{"expert_split": "single model"})
    for given, message in (
        ({"guides": ["guide"]}, "soundtrack: ti2v-5b cannot follow a soundtrack; LTX-2 can."),
        ({"guides": ["key"]}, "keyframes: ti2v-5b cannot pass through keyframes; LTX-2 can."),
    ):
        result = server.run({**base, "stage": graphs.stage(**given), **graphs.delivered("stage")})
        assert result.error is not None, result.why()
        assert message in result.error["exception_message"]


LOADERS = {
    "a Wan model": (
        {"files": "parts", "files.diffusion_model": "wan2.2_ti2v_5B_fp16.safetensors"},
        "diffusion_model: wan2.2_ti2v_5B_fp16.safetensors is wan2.1; LTX-2.0 or 2.3 is needed.",
    ),
    "an older LTX model": (
        {"files": "parts", "files.diffusion_model": "ltx-video-2b-v0.9.5.safetensors"},
        "diffusion_model: ltx-video-2b-v0.9.5.safetensors is ltxv, an LTX-Video model from before LTX-2; LTX-2.0 or "
        "2.3 is needed.",
    ),
    "metadata lost": (
        {"files.checkpoint": "ltx-2-without-metadata.safetensors"},
        "checkpoint: ltx-2-without-metadata.safetensors: this LTX-2 file has lost the metadata that says how its "
        "weights are meant: ComfyUI would load it without a word and render noise. Use the file as it was published, "
        "or a conversion that keeps its metadata.",
    ),
    "LTX-2.5": (
        {"files.checkpoint": "ltx-2.5.safetensors"},
        "checkpoint: ltx-2.5.safetensors: this is LTX-2.5, which Longtake does not know yet; LTX-2.0 and 2.3 can be "
        "used.",
    ),
    "another text encoder": (
        {"text_encoder": "umt5_xxl_fp8_e4m3fn_scaled.safetensors"},
        "text_encoder: umt5_xxl_fp8_e4m3fn_scaled.safetensors is not Gemma 3 12B "
        "(gemma_3_12B_it_fp4_mixed.safetensors), which LTX-2 reads prompts with.",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), LOADERS.values(), ids=LOADERS.keys())
def test_files_are_refused_by_their_headers(server: Server, changes: dict[str, Any], expected: str) -> None:
    parts = {
        "files.text_projection": stock_ltx2.TEXT_ENCODER,
        "files.video_vae": "wan_2.1_vae.safetensors",
        "files.audio_vae": "none",
    }
    graph = {
        "model": graphs.load_ltx2(**changes, **(parts if "files" in changes else {})),
        "stage": graphs.ltx2_stage(),
        **graphs.delivered("stage"),
    }
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == expected


def test_a_silent_bundle_renders_silent_film_and_refuses_a_soundtrack(server: Server) -> None:
    checkpoint = "ltx-2-19b-silent.safetensors"
    graph = {
        "model": graphs.load_ltx2(checkpoint),
        "stage1": graphs.ltx2_stage(),
        "stage2": graphs.ltx2_stage("stage1"),
    }
    result = server.run({**graph, **graphs.delivered("stage2")})
    assert result.ok, result.why()
    assert any("the film will be silent" in text for text in result.texts)
    from tests.host.film import look_into

    delivered = look_into(server.files(result)[0])
    assert (delivered.frames, delivered.samples) == (25 + 16, 0)

    graph["sound"] = tone(3.0)
    graph["guide"] = followed("sound")
    graph["stage1"]["inputs"]["guides.guide0"] = ["guide", 0]
    refused = server.run({**graph, **graphs.delivered("stage1")})
    assert refused.error is not None
    assert (
        "stage 1, soundtrack: this bundle has no audio VAE to read a soundtrack with"
        in (refused.error["exception_message"])
    )


def test_width_and_height_of_two_passes_are_multiples_of_64(server: Server) -> None:
    graph = {
        "model": graphs.load_ltx2(latent_upscaler=stock_ltx2.UPSCALER),
        "stage": graphs.ltx2_stage(width=160),
        **graphs.delivered("stage"),
    }
    result = server.run(graph)
    assert result.error is not None, result.why()
    assert result.error["exception_message"].strip() == (
        "stage 1, width: 160 is not a multiple of 64, as distilled-2.0 needs; the nearest are 128 or 192."
    )


def test_the_stock_graph_runs_beside_ours(server: Server) -> None:
    """Guiding through hooks must leave nothing behind on the model that other nodes share."""
    plain = without_film(stock_ltx2.t2v(FRAMES))
    graph = {**plain, "model": graphs.load_ltx2(), "stage": graphs.ltx2_stage(frames=FRAMES)}
    assert_same(server, graph, "pass")
