"""Rendering the stages of a chain: what is stored is not lost to what comes after, and nothing is done twice."""

from __future__ import annotations

import os
import threading
import time
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipelines.stage.test_keys import IMAGE, bundle, smooth, stage
from tests.pipelines.stage.test_kill import Silent, killed_after, ready_stages, render

pytestmark = pytest.mark.usefixtures("comfyui")
CLAIMED = 120  # seconds in which another process has begun to render, on a machine that is busy


@pytest.fixture
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the store of this test is."""
    import folder_paths

    for kind in ("output", "temp"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    return tmp_path / "output" / "longtake"


def quick(**changes: Any) -> dict[str, Any]:
    from longtake.pipelines.families.wan22_sampling import SamplingSettings, Split
    from longtake.pipelines.timeline.clips import Length

    sampling = SamplingSettings(steps=2, cfg_high=1.0, cfg_low=1.0, shift=5.0, split=Split.STEP, split_step=1)
    return {"sampling": sampling, "length": Length(frames=9), **changes}


def behind_video(model: Any) -> tuple[Any, Any]:
    """A chain that is a video of 9 frames, and a stage that goes on from it."""
    from longtake.pipelines.chain.begin import begin_with
    from longtake.pipelines.media.frames import Images
    from longtake.pipelines.stage.check import check_stage

    video = begin_with(model, Images(IMAGE.expand(9, -1, -1, -1), Fraction(16)), None, 96, 64, 0.0)
    return video, check_stage(smooth(**quick()), model, video)


class Raises(Silent):
    """Progress that raises at the first step."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def step(self, done: int, steps: int, preview: Any) -> None:
        raise self.error


def raised(error: BaseException, model: Any) -> tuple[BaseException, Raises]:
    """What comes out where the first stage behind a video raises `error`."""
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    video, ready = behind_video(model)
    progress = Raises(error)
    with pytest.raises(BaseException) as failure, torch.inference_mode():
        render_stages(store.here(), [ready], progress, video)
    return failure.value, progress


def test_a_cancel_behind_a_video_stays_a_cancel(tiny_models: Path, store_folder: Path) -> None:
    from comfy.model_management import InterruptProcessingException

    error, progress = raised(InterruptProcessingException(), bundle(tiny_models))
    assert isinstance(error, InterruptProcessingException)
    assert progress.said[-1] == "cancelled."


def test_too_little_memory_behind_a_video_stays_what_comfyui_knows(tiny_models: Path, store_folder: Path) -> None:
    error, _ = raised(torch.OutOfMemoryError("no memory"), bundle(tiny_models))
    assert isinstance(error, torch.OutOfMemoryError)
    assert str(error) == "stage 2: no memory"


def test_the_video_a_chain_begins_with_is_not_counted_as_stored(tiny_models: Path, store_folder: Path) -> None:
    from longtake.pipelines.stage.check import check_stage
    from longtake.pipelines.stage.render import StageFailed, render_stages
    from longtake.pipelines.takes import store

    model = bundle(tiny_models)
    video, ready = behind_video(model)
    with torch.inference_mode():
        chain = render_stages(store.here(), [ready], Silent(), video)
        third = check_stage(smooth(**quick(seed=9)), model, chain)
        with pytest.raises(StageFailed, match="stage 3: no luck\nStage 2 is stored"):
            render_stages(store.here(), [third], Raises(RuntimeError("no luck")), chain)


def test_a_chain_that_is_only_a_video_cannot_be_kept_and_that_is_said(tiny_models: Path, store_folder: Path) -> None:
    from longtake.nodes.chains import KeepChain
    from longtake.pipelines.errors import Refusal

    with pytest.raises(Refusal, match="nothing of it is rendered"):
        KeepChain.execute(behind_video(bundle(tiny_models))[0], "film")


@pytest.mark.parametrize(
    "what", ["stage.render.thumbnail", "stage.render.housekeeping.keep_to_limit", "takes.chains._write"]
)
def test_a_stage_is_stored_whatever_fails_beside_it(
    tiny_models: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from longtake.pipelines.takes import store

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(f"longtake.pipelines.{what}", fail)
    chain, rendered = render(ready_stages(bundle(tiny_models))[:1])
    assert rendered == [1]
    monkeypatch.undo()
    take = store.Store(store_folder).find(chain.links[0].rendered.key)
    assert take is not None
    assert ("thumbnail" in take.tensors()) == (what != "stage.render.thumbnail")


def test_a_chain_is_kept_once_for_stages_that_are_stored_and_after_each_that_is_rendered(
    tiny_models: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.pipelines.chain import record
    from longtake.pipelines.takes import chains, store

    kept: list[int] = []
    plain = record.keep
    monkeypatch.setattr(record, "keep", lambda store, now: (kept.append(len(now.entries)), plain(store, now))[1])
    ready = ready_stages(bundle(tiny_models))
    render(ready)
    assert kept == [1, 2, 3]
    kept.clear()
    chain, rendered = render(ready)
    assert (rendered, kept) == ([], [3])
    for missing, after in ((2, [2, 3]), (1, [1, 3])):
        store.Store(store_folder).delete(chain.links[missing].rendered)
        kept.clear()
        chain, rendered = render(ready)
        assert (rendered, kept) == ([missing + 1], after)
    assert [len(one.entries) for one in chains.list_chains(store.Store(store_folder))] == [3]


def test_three_chain_stages_of_two_texts_ask_the_text_encoder_twice(
    tiny_models: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.pipelines.model.bundle import VideoModel
    from longtake.pipelines.stage.check import check_stage
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    read: list[str] = []
    plain = VideoModel.encode_prompt
    monkeypatch.setattr(VideoModel, "encode_prompt", lambda model, text: (read.append(text), plain(model, text))[1])
    model, chain = bundle(tiny_models), None
    for seed in (1, 2, 3):
        asked = stage(**quick(seed=seed)) if chain is None else smooth(**quick(seed=seed))
        with torch.inference_mode():
            chain = render_stages(store.here(), [check_stage(asked, model, chain)], Silent(), chain)
    assert read == ["a fox", "blurry"]


def test_a_long_storyboard_holds_the_conditionings_and_images_of_a_few_stages(
    tiny_models: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtake.pipelines.model.bundle import VideoModel
    from longtake.pipelines.stage.check import check_stages
    from longtake.pipelines.stage.prompts import KEPT, RUN
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    stages = 14
    words: weakref.WeakSet[Any] = weakref.WeakSet()
    images: weakref.WeakSet[Any] = weakref.WeakSet()
    most = [0, 0]
    plain = VideoModel.encode_prompt

    def encode(model: Any, text: str) -> Any:
        conditioning = plain(model, text)
        words.add(conditioning[0][0])
        return conditioning

    def read(number: int) -> torch.Tensor:
        image = IMAGE / (number + 1)
        images.add(image)
        return image

    class Counts(Silent):
        def step(self, done: int, steps: int, preview: Any) -> None:
            most[:] = max(most[0], len(words)), max(most[1], len(images))

    monkeypatch.setattr(VideoModel, "encode_prompt", encode)
    model = bundle(tiny_models)
    asked = [stage(prompt=f"fox {i}", start_image=lambda i=i: read(i), **quick()) for i in range(stages)]
    progress = Counts()
    with torch.inference_mode():
        render_stages(store.here(), check_stages(asked, [model] * stages), progress)
    assert progress.rendered == [*range(1, stages + 1)]
    assert RUN <= most[0] <= RUN + 1 + KEPT
    assert most[1] <= 2


def slowly(ready: list[Any]) -> None:
    """Render, half a second a step."""
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    class Slow(Silent):
        def step(self, done: int, steps: int, preview: Any) -> None:
            time.sleep(0.5)

    with torch.inference_mode():
        render_stages(store.here(), ready, Slow())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="another server is a forked process here")
def test_a_second_process_waits_for_the_first_and_takes_its_take(tiny_models: Path, store_folder: Path) -> None:
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    ready = ready_stages(bundle(tiny_models))[:1]
    first = threading.Thread(target=killed_after, args=(None, lambda: slowly(ready)))
    first.start()
    claims = store_folder / "claims"
    late = time.monotonic() + CLAIMED
    while not (claims.is_dir() and any(claims.iterdir())):
        assert time.monotonic() < late, "the first process claims nothing"
        assert first.is_alive(), "the first process has ended"
        time.sleep(0.01)
    progress = Silent()
    with torch.inference_mode():
        chain = render_stages(store.here(), ready, progress)
    first.join()
    assert progress.rendered == []
    assert progress.said[0] == "another server renders it; waiting for its take (0 s)"
    assert chain.links[0].rendered.checked()
    assert list(claims.iterdir()) == []


def test_waiting_for_another_server_is_cancelled_within_a_second(tiny_models: Path, store_folder: Path) -> None:
    import comfy.model_management as management
    from longtake.pipelines.stage.keys import look_up
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store
    from longtake.pipelines.takes.claim import claimed

    ready = ready_stages(bundle(tiny_models))[:1]
    cancelled: list[float] = []

    def cancel() -> None:
        cancelled.append(time.monotonic())
        management.interrupt_current_processing()

    with claimed(store_folder, look_up(store.here(), ready)[0].identity.key):
        threading.Timer(0.7, cancel).start()
        with pytest.raises(management.InterruptProcessingException):
            render_stages(store.here(), ready, Silent())
    assert time.monotonic() - cancelled[0] < 1


def film_of_two_scenes(model: Any) -> list[Any]:
    """Two stages, and two more behind a cut."""
    from longtake.pipelines.stage.check import check_stages

    asked = [stage(**quick(prompt="one")), smooth(**quick(prompt="two"))]
    asked += [stage(**quick(prompt="three")), smooth(**quick(prompt="four"))]
    return check_stages(asked, [model] * 4)


def test_scenes_rendered_one_by_one_are_those_of_the_whole_film(tiny_models: Path, store_folder: Path) -> None:
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import chains, store

    ready = film_of_two_scenes(bundle(tiny_models))
    shelf, progress = store.here(), Silent()
    with torch.inference_mode():
        late = render_stages(shelf, ready, progress, chosen={3, 4})
        assert ([link.take is None for link in late.links], late.rendered) == ([True, True, False, False], False)
        assert not chains.list_chains(shelf), "a film with a hole is no chain"
        early = render_stages(shelf, ready, progress, chosen={1, 2})
        assert early.rendered
        film = render_stages(shelf, ready, progress)
    assert progress.rendered == [3, 4, 1, 2]
    takes = [link.rendered for link in film.links]
    assert [take.facts()["take"] for take in takes] == [1, 1, 1, 1], "each is the first take of its place in the film"
    assert [len(chain.entries) for chain in chains.list_chains(shelf)] == [4]


def test_a_stage_chosen_without_the_one_it_goes_on_from_is_refused_before_anything_renders(
    tiny_models: Path, store_folder: Path
) -> None:
    from longtake.pipelines.errors import Refusal
    from longtake.pipelines.stage.render import render_stages
    from longtake.pipelines.takes import store

    ready = film_of_two_scenes(bundle(tiny_models))
    with pytest.raises(Refusal, match="stage 4 goes on from stage 3, which is not stored; choose 3-4"):
        render_stages(store.here(), ready, Silent(), chosen={1, 4})
    assert not (store_folder / "takes").exists()
