"""Apply LoRA on a real server: the stock nodes' result, and a stopped queue where a file does not fit."""

from __future__ import annotations

import json

from tests.host import graphs, stock
from tests.host.server import Server
from tests.host.stock import Graph, node
from tests.host.test_parity import assert_same, both_latents
from tests.host.test_refusals import message

HIGH = "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"
LOW = "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors"


def apply_lora(high: str, low: str = "auto", strength_high: float = 1.0, strength_low: float = 1.0) -> dict:
    return node(
        "LongtakeApplyLora",
        model=["model", 0],
        high_noise_lora=high,
        strength_high=strength_high,
        low_noise_lora=low,
        strength_low=strength_low,
    )


def with_lora(lora: dict) -> Graph:
    return {
        **graphs.photo("astronaut.png"),
        "model": graphs.load("i2v"),
        "lora": lora,
        "sampling": graphs.sampling(),
        "stage": graphs.stage("lora", start_image=["photo", 0]),
    }


def test_a_pair_equals_stock_lora_loaders(server: Server, photos: dict[str, str]) -> None:
    bundle = {"model": ["high_lora", 0], "low_noise_model": ["low_lora", 0], "clip": ["clip", 0], "vae": ["vae", 0]}
    graph = {
        **stock.loaders("i2v", graphs.VAES["i2v"]),
        **with_lora(apply_lora(HIGH, strength_high=3.0, strength_low=0.5)),
        "high_lora": node("LoraLoaderModelOnly", model=["high", 0], lora_name=HIGH, strength_model=3.0),
        "low_lora": node("LoraLoaderModelOnly", model=["low", 0], lora_name=LOW, strength_model=0.5),
        "loaded": node("LongtakeUseLoadedModels", **bundle),
        "again": graphs.stage("loaded", start_image=["photo", 0], sampling=["sampling", 0]),
        "latent": node("LongtakeChainToLatent", chain=["stage", 0], stage=1),
        "latent_again": node("LongtakeChainToLatent", chain=["again", 0], stage=1),
    }
    assert_same(server, graph, ["latent", 0], ["latent_again", 0])


def test_the_report_is_shown_and_handed_on(server: Server, photos: dict[str, str]) -> None:
    graph = {**with_lora(apply_lora(HIGH)), "shown": node("PreviewAny", source=["lora", 1])}
    del graph["stage"]
    result = server.run(graph)
    assert result.ok, result.why()
    [shown] = result.outputs["shown"]["text"]
    assert f"Low-noise half found by name: {LOW}" in shown
    assert "keys: 24 of 24 used (100 %)" in shown
    assert shown in result.texts
    assert result.outputs["lora"]["text"] == [shown]


def test_a_merged_model_renders_what_the_patched_one_renders(server: Server, photos: dict[str, str]) -> None:
    """The tiny files are fp16 and a CPU computes in fp32, so the merged weights are rounded once more."""
    merge = {
        "model": graphs.load("i2v"),
        "lora": apply_lora(HIGH, strength_high=3.0, strength_low=0.5),
        "save": node("LongtakeFuseAndSave", model=["lora", 0], filename_prefix="merged"),
    }
    result = server.run(merge)
    assert result.ok, result.why()
    high, low = "merged_00001_high_noise.safetensors", "merged_00001_low_noise.safetensors"
    assert sorted(path.name for path in (server.output / "diffusion_models").glob("merged_*")) == [high, low]
    merged = graphs.load("i2v", high_noise_model=high, low_noise_model=low)
    graph = {
        **with_lora(merge["lora"]),
        "merged": merged,
        "again": graphs.stage("merged", start_image=["photo", 0]),
        "latent": node("LongtakeChainToLatent", chain=["stage", 0], stage=1),
        "latent_again": node("LongtakeChainToLatent", chain=["again", 0], stage=1),
    }
    first, second = both_latents(server, graph, ["latent", 0], ["latent_again", 0])
    assert (first - second).abs().max() <= 2e-3 * first.abs().max()


def test_a_storyboard_stage_with_loras_equals_a_stage_with_its_own_bundle(
    server: Server, photos: dict[str, str]
) -> None:
    size = {"frames": 17, "width": graphs.WIDTH, "height": graphs.HEIGHT, "negative_prompt": graphs.NEGATIVE}
    stages = [
        {"prompt": graphs.PROMPT, "seed": 3, "start_image": photos["astronaut"]},
        {"prompt": "it stops", "seed": 4, "overlap": 5, "loras": [{"high": HIGH, "strength_low": 0.5}]},
        {"prompt": "it goes on", "seed": 5, "overlap": 5},
    ]
    graph = {
        "file": node("LoadImage", image=photos["astronaut"]),
        **with_lora(apply_lora(HIGH, LOW, 1.0, 0.5)),
        "stage": graphs.stage(start_image=["file", 0], seed=3),
        "second": graphs.stage("lora", chain="stage", prompt="it stops", seed=4),
        "third": graphs.stage(chain="second", prompt="it goes on", seed=5),
        "board": graphs.storyboard({"defaults": size, "stages": stages}),
        "latent": node("LongtakeChainToLatent", chain=["third", 0], stage=3),
        "latent_of_board": node("LongtakeChainToLatent", chain=["board", 0], stage=3),
        "plan": node("PreviewAny", source=["board", 1]),
    }
    assert_same(server, graph, ["latent", 0], ["latent_of_board", 0])


def test_a_storyboards_loras_are_judged_without_rendering(server: Server, photos: dict[str, str]) -> None:
    def board(**lora: object) -> Graph:
        stages = [{"prompt": "a", "start_image": photos["astronaut"]}, {"prompt": "b", "loras": [lora]}]
        return {
            "model": graphs.load("i2v"),
            "sampling": graphs.sampling(),
            "board": graphs.storyboard({"defaults": {"frames": 17}, "stages": stages}, validate_only=True),
        }

    result = server.run(board(high=HIGH))
    assert result.ok, result.why()
    plan = json.loads(result.outputs["board"]["text"][0])
    assert plan["stages"][1]["loras"] == [
        {"high": HIGH, "low": "auto", "strength_high": 1.0, "strength_low": 1.0, "passes": "both"}
    ]
    assert "  keys: 24 of 24 used (100 %)" in plan["loras"]
    assert message(server, board(high="nothing.safetensors", low="none")) == (
        "stage 2, high_noise_lora: there is no nothing.safetensors in ComfyUI's loras folder."
    )


def test_a_merged_ltx2_checkpoint_renders_what_the_patched_one_renders(server: Server) -> None:
    """Picture, sound and text projection from one file; fp16 weights are rounded once more, as with Wan."""
    merge = {
        "model": graphs.load_ltx2(),
        "lora": apply_lora("ltx-2-19b-distilled-lora-384.safetensors", strength_high=10.0),
        "save": node("LongtakeFuseAndSave", model=["lora", 0], filename_prefix="ltx2"),
        "shown": node("PreviewAny", source=["lora", 1]),
    }
    result = server.run(merge)
    assert result.ok, result.why()
    assert "keys: 34 of 34 used (100 %)" in result.outputs["shown"]["text"][0]
    assert [path.name for path in (server.output / "checkpoints").glob("ltx2_*")] == ["ltx2_00001.safetensors"]

    def stage(model: str, name: str) -> Graph:
        return {
            name: {**graphs.ltx2_stage(), "inputs": {**graphs.ltx2_stage()["inputs"], "model": [model, 0]}},
            f"latent_of_{name}": node("LongtakeChainToLatent", chain=[name, 0], stage=1),
        }

    graph = {
        **{name: merge[name] for name in ("model", "lora")},
        "merged": graphs.load_ltx2("ltx2_00001.safetensors"),
        **stage("lora", "patched"),
        **stage("merged", "fused"),
        **stage("model", "plain"),
    }
    first, second = both_latents(server, graph, ["latent_of_patched", 0], ["latent_of_fused", 0])
    difference = (first - second).abs().max() / first.abs().max()
    assert difference <= 2e-3, difference
    _, plain = both_latents(server, graph, ["latent_of_patched", 0], ["latent_of_plain", 0])
    assert (first - plain).abs().max() >= 5e-2 * first.abs().max()


def test_a_lora_that_fits_nothing_stops_the_queue(unloaded: Server) -> None:
    graph = with_lora(apply_lora("other.safetensors", "none")) | graphs.delivered("stage")
    assert message(unloaded, graph) == (
        "high_noise_lora: not one of the 2 keys of other.safetensors fits the high noise model (format: names without "
        "prefix, lora_A/B). First keys: a.lora_A.weight, a.lora_B.weight. The likely reason: it was trained for "
        "another kind of model, or is written in a format not known here."
    )


def test_a_pickle_stops_the_queue(unloaded: Server) -> None:
    assert message(unloaded, with_lora(apply_lora("pickle.pt", "none")) | graphs.delivered("stage")) == (
        "high_noise_lora: pickle.pt is not a safetensors file. Formats that can run code when opened are not read; "
        "convert it to .safetensors."
    )


def test_a_later_stages_lora_stops_the_queue_before_the_first_stage_renders(unloaded: Server) -> None:
    own_files = graphs.load("i2v", vae="wan_2.1_vae.safetensors")
    for below, loader in (("model", {}), ("own", {"own": own_files})):
        late = apply_lora("other.safetensors", "none")
        late["inputs"]["model"] = [below, 0]
        graph = {
            **graphs.photo("astronaut.png"),
            **loader,
            "model": graphs.load("i2v"),
            "sampling": graphs.sampling(),
            "stage": graphs.stage(start_image=["photo", 0]),
            "late": late,
            "second": graphs.stage("late", chain="stage"),
            **graphs.delivered("second"),
        }
        said = message(unloaded, graph)
        assert "not one of the 2 keys of other.safetensors fits the high noise model" in said


def test_a_later_stage_on_a_model_of_its_own_is_checked_with_it(unloaded: Server) -> None:
    graph = {
        **graphs.photo("astronaut.png"),
        "model": graphs.load("i2v"),
        "text": graphs.load("t2v"),
        "sampling": graphs.sampling(),
        "stage": graphs.stage(start_image=["photo", 0]),
        "second": graphs.stage("text", chain="stage"),
        **graphs.delivered("second"),
    }
    assert message(unloaded, graph) == (
        "stage 2, transition: t2v-14b cannot continue from the stage before. Give this stage a bundle of i2v-14b or "
        "ti2v-5b, or choose transition cut.\n"
        "This is of node second (Chain Stage), which runs later; nothing is rendered before it is put right."
    )
