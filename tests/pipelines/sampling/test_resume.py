"""Checkpoints inside a stage: resumed equals never stopped, to the bit, whatever the sampler; no silent absence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from longtake.pipelines.model.variant import Training

from tests.pipelines.stage.test_keys import bundle

pytestmark = pytest.mark.usefixtures("comfyui")
STEPS = 6
GOING_ON = "going on where it was stopped"
SAMPLERS = """
euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 exp_heun_2_x0 exp_heun_2_x0_sde dpm_2
dpm_2_ancestral lms dpm_fast dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp dpmpp_sde dpmpp_sde_gpu dpmpp_2m
dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu dpmpp_3m_sde dpmpp_3m_sde_gpu
ddpm lcm ipndm ipndm_v deis res_multistep res_multistep_cfg_pp res_multistep_ancestral res_multistep_ancestral_cfg_pp
gradient_estimation gradient_estimation_cfg_pp er_sde seeds_2 seeds_3 sa_solver sa_solver_pece ddim uni_pc uni_pc_bh2
"""


def unwatched(done: int, preview: Any) -> None:
    """Progress."""


class PowerCut(Exception):
    """Ends a render."""


class Render:
    """A clip that is denoised to its end, or until its `stop_after`th call of a model.

    Args:
        work: denoises it with a checkpoint.
        path: of the checkpoint; None for none.
    """

    def __init__(self, model: Any, work: Callable[[Any], Any], path: Path | None, stop_after: int = 0) -> None:
        from longtake.pipelines.sampling.resume import Checkpoint

        self.calls = 0
        self.said: list[str] = []
        self.made: Any = None
        self._stop_after = stop_after
        parts = [part for part in (model.high, model.low) if part is not None]
        hooks = [part.get().model.diffusion_model.register_forward_hook(self._called) for part in parts]
        checkpoint = None if path is None else Checkpoint(path, self.said.append)
        try:
            with torch.inference_mode():
                self.made = work(checkpoint)
        except PowerCut:
            pass
        finally:
            for hook in hooks:
                hook.remove()
            if checkpoint is not None:
                checkpoint.close()

    def equals(self, other: Render) -> bool:
        return self.made.keys() == other.made.keys() and all(
            torch.equal(tensor, other.made[name]) for name, tensor in self.made.items()
        )

    def _called(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == self._stop_after:
            raise PowerCut


@pytest.fixture(scope="module")
def wan(comfyui: Path, tiny_models: Path) -> Any:
    """Renders a clip of six steps of Wan from an image, three of them by each expert."""
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, Split
    from longtake.pipelines.model.shot import Pictures, Shot

    model = bundle(tiny_models)
    start = torch.linspace(0, 1, 64 * 96 * 3).reshape(1, 64, 96, 3)
    with torch.inference_mode():
        words = model.encode_prompt("a fox"), model.encode_prompt("a wolf")

    def render(path: Path | None, stop_after: int = 0, model: Any = model, **changes: Any) -> Render:
        settings = SamplingSettings(
            **{
                "steps": STEPS,
                "cfg_high": 2.0,
                "cfg_low": 1.0,
                "shift": 5.0,
                "split": Split.STEP,
                "split_step": 3,
                **changes,
            }
        )

        def work(checkpoint: Any) -> Any:
            pictures = Pictures(start=start)
            shot = Shot(5, 96, 64, *words, settings, 7, unwatched, pictures=pictures, checkpoint=checkpoint)
            return model.family.sample(model, shot)

        return Render(model, work, path, stop_after)

    render.model = model  # type: ignore[attr-defined]
    return render


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 6])
def test_a_stage_that_was_stopped_goes_on_and_ends_the_same_to_the_bit(wan: Any, tmp_path: Path, stop: int) -> None:
    whole = wan(None)
    assert whole.calls == STEPS
    wan(tmp_path / "kept", stop_after=stop)
    resumed = wan(tmp_path / "kept")
    # The call that was cut off is made again.
    assert resumed.calls == STEPS - stop + 1
    assert resumed.equals(whole)
    assert resumed.said == ([GOING_ON] if stop > 1 else [])


def test_a_stage_that_was_stopped_again_and_again_ends_the_same(wan: Any, tmp_path: Path) -> None:
    stopped = [wan(tmp_path / "kept", stop_after=2) for _ in range(STEPS - 1)]
    resumed = wan(tmp_path / "kept")
    assert [one.calls for one in (*stopped, resumed)] == [2] * (STEPS - 1) + [1]
    assert resumed.equals(wan(None))


def test_a_stage_that_was_finished_but_not_stored_asks_no_model(wan: Any, tmp_path: Path) -> None:
    whole = wan(tmp_path / "kept")
    again = wan(tmp_path / "kept")
    assert again.calls == 0
    assert again.equals(whole)
    assert whole.equals(wan(None))


def test_the_model_is_asked_again_while_its_last_answer_is_being_written(
    wan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.pipelines.files.tape import Tape

    asked, beside = [threading.Event() for _ in range(3)], []
    counter = iter(asked)
    hook = wan.model.high.get().model.diffusion_model.register_forward_hook(lambda *_: next(counter).set())
    plain = Tape.add

    def slow(tape: Any, kind: str, *record: Any) -> None:
        if not beside:
            beside.append(asked[1].wait(30))
        plain(tape, kind, *record)

    monkeypatch.setattr(Tape, "add", slow)
    try:
        wan(tmp_path / "kept", stop_after=3)
    finally:
        hook.remove()
    assert beside == [True]
    assert wan(tmp_path / "kept").calls == STEPS - 3 + 1


def test_the_samplers_below_are_those_of_comfyui() -> None:
    from comfy.samplers import SAMPLER_NAMES

    assert sorted(SAMPLERS.split()) == sorted(SAMPLER_NAMES)


@pytest.mark.parametrize("sampler", SAMPLERS.split())
def test_every_sampler_goes_on_and_ends_the_same_to_the_bit(wan: Any, tmp_path: Path, sampler: str) -> None:
    from longtake.pipelines.families.wan22_sampling import Split

    chosen = {"sampler": sampler, "split": Split.SINGLE, "steps": 5, "cfg_high": 1.0}
    whole = wan(None, **chosen)
    stop = whole.calls // 2 + 1
    wan(tmp_path / "kept", stop_after=stop, **chosen)
    resumed = wan(tmp_path / "kept", **chosen)
    assert resumed.calls == whole.calls - stop + 1
    assert resumed.equals(whole)


@pytest.mark.parametrize("stop", [2, 5])
def test_a_diffusers_scheduler_goes_on_with_all_it_remembers(wan: Any, tmp_path: Path, stop: int) -> None:
    from longtake.pipelines.sampling.schedulers import DiffusersSampler, Solver, as_sampler

    sampler = {"custom": as_sampler(DiffusersSampler(Solver.UNIPC))}
    whole = wan(None, **sampler)
    wan(tmp_path / "kept", stop_after=stop, **sampler)
    resumed = wan(tmp_path / "kept", **sampler)
    assert resumed.calls == whole.calls - stop + 1
    assert resumed.equals(whole)


def test_a_sampler_that_does_not_repeat_itself_is_sampled_anew_from_where_it_differs(wan: Any, tmp_path: Path) -> None:
    from comfy.samplers import KSAMPLER

    draws = torch.Generator().manual_seed(1)

    def sample(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, **_: Any) -> torch.Tensor:
        for sigma, after in pairwise(sigmas):
            denoised = model(x, sigma * x.new_ones(1), **extra_args)
            x = denoised + after * torch.randn(x.shape, generator=draws)
        return x

    wan(tmp_path / "kept", stop_after=5, custom=KSAMPLER(sample))
    # Only the first call is asked at what does not depend on what was drawn.
    assert wan(tmp_path / "kept", custom=KSAMPLER(sample)).calls == STEPS - 1


@pytest.mark.parametrize("harm", ["flipped", "short", "garbage"])
def test_what_is_damaged_of_a_checkpoint_is_not_used(wan: Any, tmp_path: Path, harm: str) -> None:
    path = tmp_path / "kept"
    wan(path, stop_after=3)
    data = bytearray(path.read_bytes())
    if harm == "flipped":
        data[len(data) * 3 // 4] ^= 1
    path.write_bytes({"flipped": data, "short": data[:-5], "garbage": b"\xff" * 1000}[harm])
    resumed = wan(path)
    assert resumed.calls == (STEPS if harm == "garbage" else STEPS - 1)
    assert resumed.equals(wan(None))


def patched(model: Any, patch: Callable[[Any], Any]) -> Any:
    from longtake.pipelines.model.part import Part

    return replace(model, high=Part.of("patched", patch(model.high.get().clone())), low=None)


def test_a_model_with_a_cache_of_steps_is_not_kept_and_that_is_said(wan: Any, tmp_path: Path) -> None:
    from comfy_extras.nodes_easycache import EasyCacheNode
    from longtake.pipelines.families.wan22_sampling import Split

    cached = patched(wan.model, lambda model: EasyCacheNode.execute(model, 0.2, 0.15, 0.95, False)[0])
    stopped = wan(tmp_path / "kept", 5, cached, split=Split.SINGLE)
    assert stopped.said == [
        "will start over if it is stopped midway: the model carries a patch that may remember earlier steps "
        "(calc_cond_batch, diffusion_model, easycache)"
    ]
    assert not (tmp_path / "kept").exists()


def test_what_an_expert_before_a_patched_one_has_made_stays(wan: Any, tmp_path: Path) -> None:
    from comfy_extras.nodes_easycache import EasyCacheNode
    from longtake.pipelines.model.part import Part

    cached = EasyCacheNode.execute(wan.model.low.get(), 0.2, 0.15, 0.95, False)[0]
    model = replace(wan.model, low=Part.of("patched", cached))
    whole = wan(None, model=model)
    assert len(wan(tmp_path / "kept", 5, model).said) == 1
    resumed = wan(tmp_path / "kept", model=model)
    assert resumed.calls == whole.calls - 3
    assert resumed.equals(whole)


def test_guidance_that_remembers_is_gone_through_again(wan: Any, tmp_path: Path) -> None:
    from longtake.pipelines.families.wan22_sampling import Split

    def with_momentum(model: Any) -> Any:
        guided: list[torch.Tensor] = []

        def mean_of_all(args: dict[str, Any]) -> torch.Tensor:
            guided.append(args["denoised"])
            return torch.stack(guided).mean(0)

        model.set_model_sampler_post_cfg_function(mean_of_all)
        return model

    whole = wan(None, model=patched(wan.model, with_momentum), split=Split.SINGLE)
    assert not whole.equals(wan(None, split=Split.SINGLE))
    wan(tmp_path / "kept", 5, patched(wan.model, with_momentum), split=Split.SINGLE)
    resumed = wan(tmp_path / "kept", model=patched(wan.model, with_momentum), split=Split.SINGLE)
    assert resumed.calls < whole.calls
    assert resumed.equals(whole)


def test_a_full_disk_costs_the_checkpoint_and_not_the_stage(wan: Any, small_disk: Path) -> None:
    (small_disk / "other").write_bytes(bytes(200 * 1024))
    whole = wan(small_disk / "kept")
    assert len(whole.said) == 1
    assert whole.said[0].startswith("will start over if it is stopped midway: the checkpoint cannot be written")
    assert [path.name for path in small_disk.iterdir()] == ["other"], "what there is of room is the take's"
    assert whole.equals(wan(None))


def test_a_folder_that_cannot_be_written_is_said(wan: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    whole = wan(tmp_path / "file" / "kept")
    assert len(whole.said) == 1
    assert "will start over if it is stopped midway" in whole.said[0]
    assert "cannot be written" in whole.said[0]
    assert whole.equals(wan(None))


def two_pass_bundle(models: Path, kind: str) -> Any:
    """LTX-2 2.0 with an upscaler.

    Args:
        kind: "distilled" or "dev".
    """
    from longtake.pipelines.load.files import ModelFile
    from longtake.pipelines.load.ltx2 import Ltx2Files, ltx2_bundle

    def file(name: str) -> ModelFile:
        return ModelFile(Path(name).name, str(models / name))

    return ltx2_bundle(
        Ltx2Files.of_checkpoint(file(f"checkpoints/ltx-2-19b-{'dev-fp8' if kind == 'dev' else kind}.safetensors")),
        file("text_encoders/gemma_3_12B_it_fp4_mixed.safetensors"),
        Training(kind),
        file("latent_upscale_models/ltx-2-spatial-upscaler-x2-1.0.safetensors"),
        Fraction(24),
    )


@pytest.fixture(scope="module")
def ltx(comfyui: Path, tiny_models: Path) -> Any:
    """Renders a clip of LTX-2 that goes on from a tail with sound, past an anchor and a keyframe, to an end image.

    The distilled model takes four steps and, in two passes, two more at twice the size; the dev model is guided in
    picture and sound apart.
    """
    from longtake.pipelines.families.ltx2_sampling import Guidance, Ltx2Sampling
    from longtake.pipelines.model.shot import Keyframe, Pictures, Shot, Tail

    def image(seed: int, frames: int = 1) -> torch.Tensor:
        return torch.rand(frames, 64, 128, 3, generator=torch.Generator().manual_seed(seed))

    def render(kind: str, path: Path | None, stop_after: int = 0, two_passes: bool = False) -> Render:
        model = two_pass_bundle(tiny_models, kind)
        settings = {
            "distilled": Ltx2Sampling((1.0, 0.9, 0.7, 0.4, 0.0), 0, Guidance()),
            "dev": Ltx2Sampling((), 4, Guidance(3.0, 7.0, 1.0, 1, 3.0, 0.7)),
        }[kind]
        settings = replace(settings, image_crf=0, second_sigmas=(0.9, 0.4, 0.0) if two_passes else ())
        sound = torch.randn(1, 8, 12, 16, generator=torch.Generator().manual_seed(4))
        tail = Tail(image(1, 9), torch.ones(1, 128, 1, 2, 4), sound, Fraction(1, 100))
        pictures = Pictures(end=image(2), anchor=image(3), keyframes=(Keyframe(image(5), 12, 0.8),))
        with torch.inference_mode():
            words = model.encode_prompt("a fox"), model.encode_prompt("a wolf")

        def work(checkpoint: Any) -> Any:
            shot = Shot(25, 128, 64, *words, settings, 7, unwatched, tail, pictures, checkpoint=checkpoint)
            return model.family.sample(model, shot)

        return Render(model, work, path, stop_after)

    return render


@pytest.mark.parametrize("stop", [2, 4])
def test_one_pass_of_ltx2_goes_on_with_tail_guides_and_sound(ltx: Any, tmp_path: Path, stop: int) -> None:
    whole = ltx("distilled", None)
    assert set(whole.made) == {"latent", "audio"}
    assert whole.calls == 4
    ltx("distilled", tmp_path / "kept", stop)
    resumed = ltx("distilled", tmp_path / "kept")
    assert resumed.calls == 4 - stop + 1
    assert resumed.said == [GOING_ON]
    assert resumed.equals(whole)


@pytest.mark.parametrize("stop", [3, 5, 6])
def test_two_passes_of_ltx2_go_on_in_the_pass_they_were_in(ltx: Any, tmp_path: Path, stop: int) -> None:
    whole = ltx("distilled", None, two_passes=True)
    assert whole.calls == 6
    ltx("distilled", tmp_path / "kept", stop, two_passes=True)
    resumed = ltx("distilled", tmp_path / "kept", two_passes=True)
    assert resumed.calls == 6 - stop + 1
    assert resumed.said == [GOING_ON]
    assert resumed.equals(whole)


def test_the_dev_model_goes_on_in_the_middle_of_a_step(ltx: Any, tmp_path: Path) -> None:
    whole = ltx("dev", None)
    # Positive, negative, without self-attention, and picture and sound apart.
    assert whole.calls == 4 * 4
    ltx("dev", tmp_path / "kept", 7)
    resumed = ltx("dev", tmp_path / "kept")
    assert resumed.calls == 16 - 7 + 1
    assert resumed.equals(whole)


@pytest.mark.parametrize("stop", [1, 3])
def test_a_retake_goes_on_and_keeps_what_it_was_not_asked_for(tiny_models: Path, tmp_path: Path, stop: int) -> None:
    from longtake.pipelines.families.ltx2_sampling import Guidance, Ltx2Sampling
    from longtake.pipelines.model.shot import Shot

    model = two_pass_bundle(tiny_models, "distilled")
    settings = Ltx2Sampling((1.0, 0.9, 0.4, 0.0), 0, Guidance(), second_sigmas=(), image_crf=0)
    known = {"latent": torch.ones(1, 128, 4, 2, 4), "audio": torch.ones(1, 8, 27, 16)}
    anew = {"latent": torch.tensor([0.0, 1, 1, 0]), "audio": torch.ones(27)}
    with torch.inference_mode():
        words = model.encode_prompt("a fox")

    def work(checkpoint: Any) -> Any:
        shot = Shot(25, 128, 64, words, words, settings, 7, unwatched, checkpoint=checkpoint)
        assert model.family.retakes is not None
        return model.family.retakes.render(model, shot, known, anew)

    whole = Render(model, work, None)
    Render(model, work, tmp_path / "kept", stop)
    resumed = Render(model, work, tmp_path / "kept")
    assert (whole.calls, resumed.calls) == (3, 3 - stop + 1)
    assert resumed.equals(whole)
    assert torch.equal(resumed.made["latent"][:, :, ::3], known["latent"][:, :, ::3])
    assert Render(model, work, tmp_path / "kept").calls == 0
