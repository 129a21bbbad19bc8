"""An LTX-2 stage is, bit for bit, what ComfyUI's own nodes render from the same inputs, in picture and sound."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.host import graphs, stock_ltx2
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_parity import both_latents

FRAMES = 25
DISTILLED_LORA = "ltx-2-19b-distilled-lora-384.safetensors"


def assert_same(server: Server, graph: Graph, theirs: str, picture: list | None = None) -> None:
    """Compare the stage named `stage` with `parts_THEIRS`; `picture` is theirs where guides were cropped."""
    graph = {**graph, "ours": node("LongtakeChainToLatent", chain=["stage", 0], stage=0)}
    for which, output in (("picture", 0), ("sound", 1)):
        other = picture if picture is not None and output == 0 else [f"parts_{theirs}", output]
        first, second = both_latents(server, graph, ["ours", output], other)
        assert first.shape == second.shape, which
        assert (first - second).abs().max().item() == 0.0, which
        assert first.std().item() > 0.01


def photo(name: str, crf: int = 33) -> Graph:
    """Node `photo` at the stage's size, and `compressed` as LTXVPreprocess makes it."""
    return {
        "file": node("LoadImage", image=name),
        "photo": node(
            "ImageScale",
            image=["file", 0],
            upscale_method="lanczos",
            width=stock_ltx2.WIDTH,
            height=stock_ltx2.HEIGHT,
            crop="center",
        ),
        "compressed": node("LTXVPreprocess", image=["photo", 0], img_compression=crf),
    }


@pytest.mark.parametrize("checkpoint", [stock_ltx2.DISTILLED, stock_ltx2.DISTILLED_2_3], ids=["2.0", "2.3"])
def test_text_to_picture_and_sound_equals_one_advanced_sampler(server: Server, checkpoint: str) -> None:
    graph = {
        **stock_ltx2.t2v(FRAMES, checkpoint),
        "model": graphs.load_ltx2(checkpoint),
        "stage": graphs.ltx2_stage(frames=FRAMES),
    }
    assert_same(server, without_film(graph), "pass")


@pytest.mark.parametrize("rate", ["25", "30"])
def test_other_frame_rates_equal_the_stock_graph_at_that_rate(server: Server, rate: str) -> None:
    graph = {
        **stock_ltx2.loaders(fps=float(rate)),
        **stock_ltx2.empty(FRAMES, fps=float(rate)),
        **stock_ltx2.sampled("pass", ["video", 0], ["audio", 0]),
        "model": graphs.load_ltx2(frame_rate=rate),
        "stage": graphs.ltx2_stage(frames=FRAMES),
    }
    assert_same(server, graph, "pass")


def test_image_to_video_equals_img_to_video_inplace(server: Server, photos: dict[str, str]) -> None:
    graph = {
        **photo(photos["astronaut"]),
        **stock_ltx2.loaders(),
        **stock_ltx2.empty(FRAMES),
        "inplace": inplace(["compressed", 0]),
        **stock_ltx2.sampled("pass", ["inplace", 0], ["audio", 0]),
        "model": graphs.load_ltx2(),
        "stage": graphs.ltx2_stage(frames=FRAMES, start_image=["photo", 0]),
    }
    assert_same(server, graph, "pass")


def test_first_and_last_frame_equals_inplace_and_a_guide(server: Server, photos: dict[str, str]) -> None:
    graph = {
        **photo(photos["astronaut"]),
        **stock_ltx2.loaders(),
        **stock_ltx2.empty(FRAMES),
        "inplace": inplace(["compressed", 0]),
        "guide": guide(["inplace", 0], ["compressed", 0], -1, 1.0),
        **stock_ltx2.sampled("pass", ["guide", 2], ["audio", 0], prompts="guide"),
        "cropped": cropped("guide"),
        "model": graphs.load_ltx2(),
        "stage": graphs.ltx2_stage(frames=FRAMES, start_image=["photo", 0], end_image=["photo", 0]),
    }
    assert_same(server, graph, "pass", ["cropped", 2])


def test_a_last_frame_alone_equals_a_guide(server: Server, photos: dict[str, str]) -> None:
    graph = {
        **photo(photos["rocket"]),
        **stock_ltx2.loaders(),
        **stock_ltx2.empty(FRAMES),
        "guide": guide(["video", 0], ["compressed", 0], -1, 1.0),
        **stock_ltx2.sampled("pass", ["guide", 2], ["audio", 0], prompts="guide"),
        "cropped": cropped("guide"),
        "model": graphs.load_ltx2(),
        "stage": graphs.ltx2_stage(frames=FRAMES, end_image=["photo", 0]),
    }
    assert_same(server, graph, "pass", ["cropped", 2])


def inplace(image: list, latent: str = "video") -> dict[str, Any]:
    return node(
        "LTXVImgToVideoInplace", vae=["checkpoint", 2], image=image, latent=[latent, 0], strength=1.0, bypass=False
    )


def guide(latent: list, image: list, frame: int, strength: float, prompts: str = "prompts") -> dict[str, Any]:
    return node(
        "LTXVAddGuide",
        positive=[prompts, 0],
        negative=[prompts, 1],
        vae=["checkpoint", 2],
        latent=latent,
        image=image,
        frame_idx=frame,
        strength=strength,
    )


def cropped(prompts: str, done: str = "pass") -> dict[str, Any]:
    return node("LTXVCropGuides", positive=[prompts, 0], negative=[prompts, 1], latent=[f"parts_{done}", 0])


def without_film(graph: Graph) -> Graph:
    return {name: one for name, one in graph.items() if name not in ("decode", "heard", "film", "save")}


def test_two_passes_equal_the_stock_flow_over_the_latent_upscaler(server: Server) -> None:
    graph = {
        **without_film(stock_ltx2.two_passes(FRAMES)),
        "model": graphs.load_ltx2(latent_upscaler=stock_ltx2.UPSCALER),
        "stage": graphs.ltx2_stage(frames=FRAMES),
    }
    assert_same(server, graph, "refined")


def dev_in_two_passes(**lora: Any) -> Graph:
    """A guided first pass of the dev model in 4 steps, and a second one; `lora` says what of Apply LoRA it has."""
    own = {"cfg": 3.0, "cfg_audio": 3.0, "stg": 0.0, "stg_block": 1, "modality": 1.0, "rescale": 0.0}
    inputs = {
        "high_noise_lora": DISTILLED_LORA,
        "strength_high": 0.6,
        "low_noise_lora": "auto",
        "strength_low": 1.0,
    }
    return {
        "bundle": graphs.load_ltx2(stock_ltx2.DEV, sampled_as="dev", latent_upscaler=stock_ltx2.UPSCALER),
        "model": node("LongtakeApplyLora", model=["bundle", 0], **(inputs | lora)),
        "sampling": node(
            "LongtakeLtx2Sampling",
            schedule="steps",
            guidance="own",
            sampler="euler",
            image_compression="as published",
            image_strength=1.0,
            **{
                "second_pass": "as published",
                "schedule.steps": 4,
                **{f"guidance.{name}": value for name, value in own.items()},
            },
        ),
        "stage": graphs.ltx2_stage(frames=FRAMES, sampling=["sampling", 0]),
    }


def test_a_lora_on_the_second_pass_alone_equals_the_stock_flow_with_it_there(server: Server) -> None:
    """As the dev models were published: guided at half the size, then refined with the distilled LoRA."""
    schedule = node(
        "LTXVScheduler", steps=4, max_shift=2.05, base_shift=0.95, stretch=True, terminal=0.1, latent=["both_half", 0]
    )
    graph = {
        **stock_ltx2.loaders(stock_ltx2.DEV),
        **stock_ltx2.empty(FRAMES, stock_ltx2.WIDTH // 2, stock_ltx2.HEIGHT // 2),
        **stock_ltx2.sampled("half", ["video", 0], ["audio", 0], cfg=3.0, schedule=schedule),
        "upscaler": node("LatentUpscaleModelLoader", model_name=stock_ltx2.UPSCALER),
        "doubled": node(
            "LTXVLatentUpsampler", samples=["parts_half", 0], upscale_model=["upscaler", 0], vae=["checkpoint", 2]
        ),
        "distilled": node("LoraLoaderModelOnly", model=["checkpoint", 0], lora_name=DISTILLED_LORA, strength_model=0.6),
        **stock_ltx2.sampled(
            "refined", ["doubled", 0], ["parts_half", 1], sigmas=stock_ltx2.SIGMAS_2, model="distilled"
        ),
        **dev_in_two_passes(passes="second"),
    }
    assert_same(server, graph, "refined")


def test_a_lora_on_one_pass_is_another_take_than_on_both_or_none(server: Server) -> None:
    pictures = []
    for lora in ({"passes": "second"}, {"passes": "first"}, {"passes": "both"}, {"strength_high": 0.0}):
        graph = dev_in_two_passes(**lora)
        graph["ours"] = node("LongtakeChainToLatent", chain=["stage", 0], stage=0)
        pictures.append(latents_of(server, graph, ["ours", 0]))
    for index, one in enumerate(pictures):
        for other in pictures[index + 1 :]:
            assert (one - other).abs().max() > 1e-4


def test_a_pass_that_is_not_there_is_refused(server: Server) -> None:
    graph = {**dev_in_two_passes(passes="second"), **graphs.delivered("stage")}
    graph["sampling"]["inputs"] |= {"second_pass": "off"}
    refused = server.run(graph)
    assert (
        "stage 1, second_sigmas: a LoRA is on one of the two passes alone, and the second pass is off" in refused.why()
    )
    graph["bundle"]["inputs"]["latent_upscaler"] = "none"
    refused = server.run(graph)
    assert "passes: second given; this bundle renders in one pass. Choose both" in refused.why()
    graph = {**dev_in_two_passes(passes="second")}
    graph["fuse"] = node("LongtakeFuseAndSave", model=["model", 0], filename_prefix="merged")
    refused = server.run(graph)
    assert "is on the second of two passes alone, and a merged file is for both. Put it on both" in refused.why()


def test_models_of_other_loaders_render_the_same(server: Server) -> None:
    graph = {
        **without_film(stock_ltx2.t2v(FRAMES)),
        "model": node(
            "LongtakeUseLoadedModels",
            model=["checkpoint", 0],
            clip=["clip", 0],
            vae=["checkpoint", 2],
            audio_vae=["audio_vae", 0],
        ),
        "stage": graphs.ltx2_stage(frames=FRAMES),
    }
    assert_same(server, graph, "pass")


def test_continuing_equals_inplace_given_the_last_frames_and_the_same_sound_kept(server: Server) -> None:
    """At 25 frames a second the overlap begins on a latent of the sound, so the stock nodes can say the same."""
    graph = {
        **stock_ltx2.loaders(fps=25.0),
        "model": graphs.load_ltx2(frame_rate="25"),
        "first": graphs.ltx2_stage(frames=FRAMES),
        "tail": node("LongtakeChainToImages", chain=["first", 0], first_frame=16, frame_count=9),
        "stage": graphs.ltx2_stage("first", frames=FRAMES, prompt=stock_ltx2.PROMPT),
        **stock_ltx2.empty(FRAMES, fps=25.0),
        "inplace": inplace(["tail", 0]),
        **stock_ltx2.sampled("pass", ["inplace", 0], ["audio", 0]),
    }
    picture, sound = chained_latents(server, graph)
    theirs = latents_of(server, graph, ["inplace", 0])
    assert (picture[:, :, :2] - theirs[:, :, :2]).abs().max() <= 1e-6
    before = latents_of(
        server, {**graph, "ours": node("LongtakeChainToLatent", chain=["first", 0], stage=0)}, ["ours", 1]
    )
    # 9 frames at 25 a second: 9 latents of sound, the last 2 of them let go.
    assert (sound[:, :, :7] - before[:, :, 16:23]).abs().max() <= 1e-6
    assert (sound[:, :, 9:] - before[:, :, 9:]).abs().max() > 0.01


def chained_latents(server: Server, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
    graph = {**graph, "ours": node("LongtakeChainToLatent", chain=["stage", 0], stage=0)}
    return both_latents(server, graph, ["ours", 0], ["ours", 1])


def latents_of(server: Server, graph: Graph, output: list) -> torch.Tensor:
    return both_latents(server, graph, output, output)[0]


def test_the_parts_in_files_of_their_own_render_the_same(server: Server) -> None:
    graph = {
        **without_film(stock_ltx2.t2v(FRAMES)),
        "model": graphs.load_ltx2(
            files="parts",
            **{
                "files.diffusion_model": "ltx-2-19b-distilled_transformer.safetensors",
                "files.text_projection": "ltx-2-19b-text-projection.safetensors",
                "files.video_vae": "ltx-2-19b-video-vae.safetensors",
                "files.audio_vae": "ltx-2-19b-audio-vae.safetensors",
            },
        ),
        "stage": graphs.ltx2_stage(frames=FRAMES),
        "film": node("LongtakeStitchChain", chain=["stage", 0]),
        "parts": node("GetVideoComponents", video=["film", 0]),
        "flac": node("SaveAudio", audio=["parts", 1], filename_prefix="audio/parts"),
    }
    assert_same(server, graph, "pass")
