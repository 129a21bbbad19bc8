"""A render that is killed at any moment: finished stages stay, no half take is believed, the film is the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import auto, tqdm

from tests.pipelines.stage.test_keys import bundle, smooth, stage

pytestmark = [
    pytest.mark.usefixtures("comfyui"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a render is killed in a forked process"),
]
KILLS = 50


class Silent:
    """Progress that nobody watches."""

    def __init__(self) -> None:
        self.rendered: list[int] = []
        self.said: list[str] = []

    def doing(self, text: str) -> None:
        self.said.append(text)

    def step(self, done: int, steps: int, preview: Any) -> None: ...

    def stored(self, number: int, steps: int, key: str) -> None: ...

    def stage(self, number: int) -> None: ...

    def finished(self, number: int, key: str) -> None:
        self.rendered.append(number)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes ComfyUI's output and temp folders those below a name."""
    import folder_paths

    def use(name: str) -> Path:
        for kind in ("output", "temp"):
            (tmp_path / name / kind).mkdir(parents=True, exist_ok=True)
            monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / name / kind))
        return tmp_path / name / "output" / "longtake"

    return use


def ready_stages(model: Any, frames: int = 9) -> list[Any]:
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, Split
    from longtake.pipelines.stage.check import check_stages
    from longtake.pipelines.timeline.clips import Length

    quick = {
        "sampling": SamplingSettings(steps=2, cfg_high=1.0, cfg_low=1.0, shift=5.0, split=Split.STEP, split_step=1),
        "length": Length(frames=frames),
        # Small, so that the time in which a kill may come is not the VAE's alone.
        "width": 32,
        "height": 32,
    }
    return check_stages([stage(**quick), smooth(seed=8, **quick), smooth(seed=9, **quick)], [model] * 3)


def render(ready: list[Any]) -> tuple[Any, list[int]]:
    """The chain, and the numbers of the stages that had to be rendered."""
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    progress = Silent()
    with torch.inference_mode():
        return render_stages(store.here(), ready, progress), progress.rendered


def film(chain: Any) -> list[bytes]:
    from longtake.pipelines.chain.decode import decoded
    from longtake.pipelines.film.stitch import Film

    with torch.inference_mode():
        return [frame.tobytes() for frame in Film(chain, decoded).frames()]


def killed_after(seconds: float | None, work: Any) -> bool:
    """Do `work` in a process of its own and kill it when it has computed for a time; whether it was still at work.

    On a busy machine a process computes for as long as on a quiet one, and nobody sleeps until it is to be killed.
    """
    child = os.fork()
    if child == 0:
        try:
            # tqdm shares its lock with forked processes; one that is killed with it in hand would stop all others. The
            # class that samplers use may have a lock of its own.
            for bar in (tqdm, auto.tqdm):
                bar.set_lock(threading.RLock())
            if seconds is not None:
                # Like SIGKILL, a signal that nobody handles ends a process between any two of its instructions.
                signal.signal(signal.SIGPROF, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_PROF, seconds)
            work()
            signal.setitimer(signal.ITIMER_PROF, 0)
            os._exit(0)
        except BaseException:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGPROF, -signal.SIGKILL)
    return status != 0


def computed() -> float:
    """Seconds for which processes that have ended computed."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_fifty_kills_at_random_moments_lose_no_finished_stage_and_change_no_bit(
    tiny_models: Path, folders: Any
) -> None:
    from longtake.pipelines.chain import record
    from longtake.pipelines.takes import chains, store

    model = bundle(tiny_models)
    ready = ready_stages(model)
    undisturbed = folders("undisturbed")
    render(ready)
    shutil.rmtree(undisturbed)
    begun = computed()
    killed_after(None, lambda: render(ready))
    length = computed() - begun
    shutil.rmtree(undisturbed)
    reference, rendered = render(ready)
    assert rendered == [1, 2, 3]
    keys = [link.rendered.key for link in reference.links]
    expected = [link.rendered.checked() for link in reference.links]
    shown = film(reference)

    def stored() -> list[bytes]:
        """Every take that is believed, in the order of the chain; none may be another than the undisturbed one."""
        takes = {take.key: take.checked() for take in store.here().takes()}
        assert takes == dict(list(zip(keys, expected, strict=True))[: len(takes)])
        return list(takes.values())

    moments = random.Random(5)  # noqa: S311
    root = folders("disturbed")
    kills, resumed = 0, 0
    while kills < KILLS:
        shutil.rmtree(root, ignore_errors=True)
        # Some chains are finished after one kill, some after many.
        while kills < KILLS and killed_after(moments.uniform(0, length), lambda: render(ready)):
            kills += 1
            stored()
            if moments.random() < 0.5:
                break
        before = len(stored())
        resumed += 0 < before < 3
        chain, rendered = render(ready)
        assert rendered == [1, 2, 3][before:]
        assert film(chain) == shown
        assert len(stored()) == 3
        assert [one.id for one in chains.list_chains(store.here())] == [record.id_of(reference)]
    assert resumed > 3


@pytest.fixture(params=["Wan, dpmpp_2m", "LTX-2, one pass", "LTX-2, two passes"])
def alone(request: pytest.FixtureRequest, tiny_models: Path) -> Any:
    """A checked stage of its own, eight calls of the model long; six by its first expert or in its first pass."""
    from longtake.pipelines.families.ltx2_sampling import Guidance, Ltx2Sampling
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, Split
    from longtake.pipelines.stage.check import check_stage
    from longtake.pipelines.timeline.clips import Length

    from tests.pipelines.sampling.test_resume import two_pass_bundle

    if request.param.startswith("Wan"):
        sampling: Any = SamplingSettings(8, 1.0, 1.0, 5.0, "dpmpp_2m", split=Split.STEP, split_step=6)
        return check_stage(stage(sampling=sampling, length=Length(frames=9)), bundle(tiny_models), None)
    if request.param.endswith("one pass"):
        sigmas: Any = (1.0, 0.98, 0.95, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0), ()
    else:
        sigmas = (1.0, 0.95, 0.9, 0.8, 0.6, 0.3, 0.0), (0.9, 0.4, 0.0)
    sampling = Ltx2Sampling(sigmas[0], 0, Guidance(), second_sigmas=sigmas[1], image_crf=0)
    asked = stage(sampling=sampling, length=Length(frames=17), width=128, height=64)
    return check_stage(asked, two_pass_bundle(tiny_models, "distilled"), None)


@pytest.mark.parametrize("call", [4, 8])
def test_a_stage_killed_in_its_midst_goes_on_and_its_take_is_the_same_to_the_bit(
    alone: Any, folders: Any, call: int
) -> None:
    from longtake.pipelines.sampling.resume import AHEAD
    from longtake.pipelines.takes import store

    calls: list[int] = []
    parts = [part for part in (alone.model.high, alone.model.low) if part is not None]
    folders("undisturbed")
    hooks = [part.get().model.diffusion_model.register_forward_hook(lambda *_: calls.append(1)) for part in parts]
    [link], calls_in_all = render([alone])[0].links, len(calls)
    assert calls_in_all == 8
    expected = link.rendered.checked()
    root = folders("killed")

    def die(*_: Any) -> None:
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)

    def render_and_die() -> None:
        for part in parts:
            part.get().model.diffusion_model.register_forward_hook(die)
        render([alone])

    calls.clear()
    assert killed_after(None, render_and_die)
    assert list(store.here().takes()) == []
    assert len(list((root / "checkpoints").iterdir())) == 1
    [link] = render([alone])[0].links
    for hook in hooks:
        hook.remove()
    assert link.rendered.checked() == expected
    # What the model answered last may still have waited to be written.
    assert 0 <= len(calls) - (8 - call + 1) <= AHEAD
    assert list((root / "checkpoints").iterdir()) == []


def test_a_stage_of_a_model_without_identity_says_that_it_is_not_kept(tiny_models: Path, folders: Any) -> None:
    from dataclasses import replace

    from longtake.pipelines.model.part import Part
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    model = bundle(tiny_models)
    root = folders("unidentified")
    progress = Silent()
    with torch.inference_mode():
        render_stages(
            store.here(), ready_stages(replace(model, high=Part.of("high-noise model", model.high.get())))[:1], progress
        )
    why = "the high-noise model comes from nodes that cannot be identified"
    assert f"will start over if it is stopped midway: {why}" in progress.said
    assert not (root / "checkpoints").exists()


def test_a_custom_sampler_without_identity_says_that_its_stage_is_not_kept(tiny_models: Path, folders: Any) -> None:
    from comfy.samplers import sampler_object
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, Split
    from longtake.pipelines.stage.check import check_stage
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store
    from longtake.pipelines.timeline.clips import Length

    root = folders("custom")
    progress = Silent()
    custom = SamplingSettings(2, 1.0, 1.0, split=Split.STEP, split_step=1, custom=sampler_object("euler"))
    asked = stage(sampling=custom, length=Length(frames=5))
    with torch.inference_mode():
        render_stages(store.here(), [check_stage(asked, bundle(tiny_models), None)], progress)
    assert "will start over if it is stopped midway: KSAMPLER cannot be identified" in progress.said
    assert not (root / "checkpoints").exists()


def test_a_failed_stage_is_named_and_the_chain_before_it_opens(
    tiny_models: Path, folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.pipelines.chain import record
    from longtake.pipelines.families.wan22 import Wan22
    from longtake.pipelines.stage.render import StageFailed
    from longtake.pipelines.takes import chains, store

    model = bundle(tiny_models)
    ready = ready_stages(model)
    folders("failed")
    plain, calls = Wan22.sample, []

    def sample(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise ZeroDivisionError("division by zero")
        return plain(*arguments)

    monkeypatch.setattr(Wan22, "sample", sample)
    with pytest.raises(StageFailed, match="stage 3: division by zero\nStages 1 to 2 are stored") as failure:
        render(ready)
    [stored] = chains.list_chains(store.here())
    assert stored.id in str(failure.value)
    chain = record.opened(store.here(), stored, model, 1, 2)
    assert len(film(chain)) == 9 + 4
    whole, rendered = render(ready)
    assert rendered == [3]
    assert whole.links[:2] == chain.links


def test_a_take_can_be_chosen_by_its_number(tiny_models: Path, folders: Any) -> None:
    from dataclasses import replace

    from longtake.pipelines.errors import Refusal

    model = bundle(tiny_models)
    folders("numbered")
    [first, second, _] = ready_stages(model)

    def second_with(**changes: Any) -> Any:
        return replace(second, stage=replace(second.stage, **changes))

    one, _ = render([first, second])
    two, _ = render([first, second_with(prompt="a wolf", seed=77)])
    assert [chain.links[1].rendered.facts()["take"] for chain in (one, two)] == [1, 2]
    chosen, rendered = render([first, second_with(take=2, prompt="whatever")])
    assert rendered == []
    assert chosen.links == two.links
    with pytest.raises(Refusal, match=r"stage 2, take: 3 is given; stored takes of this stage: 1, 2\."):
        render([first, second_with(take=3)])


def test_a_chain_opens_from_any_stage_to_any_stage_as_a_film_of_its_own(tiny_models: Path, folders: Any) -> None:
    from longtake.pipelines.chain import record
    from longtake.pipelines.takes import chains, store

    model = bundle(tiny_models)
    folders("opened")
    chain, _ = render(ready_stages(model))
    stored = chains.find(store.here(), "")
    assert stored is not None
    frames = film(chain)
    assert len(frames) == 9 + 4 + 4
    assert film(record.opened(store.here(), stored, model, 1, 3)) == frames
    assert film(record.opened(store.here(), stored, model, 1, 2)) == frames[:13]
    assert film(record.opened(store.here(), stored, model, 2, 3))[5:] == frames[9:]


@pytest.mark.parametrize("kind", ["i2v-14b", "ti2v-5b"])
def test_a_bridged_stage_renders_alone_and_is_pinned_to_both_neighbours(
    tiny_models: Path, folders: Any, kind: str
) -> None:
    from dataclasses import replace

    from longtake.pipelines.chain import record
    from longtake.pipelines.stage.bridge import bridge, seam_error
    from longtake.pipelines.takes import chains, store

    from tests.pipelines.families.test_wan22 import bundle as variant

    model = bundle(tiny_models) if kind == "i2v-14b" else variant(tiny_models, "ti2v-5b")
    folders("bridged")
    ready = [replace(one, model=model) for one in ready_stages(bundle(tiny_models), frames=17)]
    whole, _ = render(ready)
    progress = Silent()
    asked = replace(ready[1].stage, prompt="a wolf", seed=99)
    with torch.inference_mode():
        bridged, error = bridge(store.here(), whole, 2, asked, model, progress)
    assert progress.rendered == [2]
    assert [a.take == b.take for a, b in zip(whole.links, bridged.links, strict=True)] == [True, False, True]
    assert bridged.clips == whole.clips
    assert error is not None
    assert error == seam_error(bridged.links[1], bridged.links[2], 5)
    assert error.psnr > 0
    assert record.id_of(bridged) in {one.id for one in chains.list_chains(store.here())}
    again = Silent()
    with torch.inference_mode():
        assert bridge(store.here(), whole, 2, asked, model, again)[0].links == bridged.links
    assert again.rendered == []


def test_only_a_stage_with_a_neighbour_after_it_can_be_bridged(tiny_models: Path, folders: Any) -> None:
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.stage.bridge import bridge
    from longtake.pipelines.takes import store

    model = bundle(tiny_models)
    folders("unbridged")
    whole, _ = render(ready_stages(model))
    with pytest.raises(Refusal, match="nothing comes after the last stage"):
        bridge(store.here(), whole, 3, stage(), model, Silent())
    with pytest.raises(Refusal, match="nothing left between 5 pinned at its beginning and 5 at its end"):
        bridge(store.here(), whole, 2, stage(), model, Silent())
    with pytest.raises(Refusal, match="the chain has the stages 1 to 3"):
        bridge(store.here(), whole, 4, stage(), model, Silent())
