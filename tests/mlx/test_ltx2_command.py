"""LTX-2 by the command ltx-2-mlx: what it is told, held against its recorded help, and what becomes of its video.

The command runs on a Mac alone and was not run. Where a process is needed `ltx2_stand_in.py` stands for it: what is
proved here is this side of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.media.footage import Footage
from longtake.pipelines.media.frames import Images
from longtake.pipelines.media.sound import Waveform
from longtake.pipelines.mlx.leashed import LEASH
from longtake.pipelines.mlx.ltx2_clip import Clip, check, files_of, key_of, options_of, rendered_clip, shown
from longtake.pipelines.mlx.ltx2_command import VARIABLE, Command, installed, options_in, subcommands_in
from longtake.pipelines.mlx.ltx2_tasks import Passes, Task
from longtake.pipelines.mlx.process import MlxFailed

HELP = Path(__file__).with_name("ltx2_mlx_help.txt")
STAND_IN = Path(__file__).with_name("ltx2_stand_in.py")
RATE = Fraction(24)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ltx-2-mlx is for macOS; a script is no program here")


class Bench:
    """A stand-in that is installed, and folders to render in."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.program = folder / "env" / "bin" / "ltx-2-mlx"
        self.program.parent.mkdir(parents=True)
        self.program.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
        self.program.chmod(0o755)
        self.log = folder / "told.jsonl"
        self.kept, self.temp = folder / "kept", folder / "temp"
        self.temp.mkdir()
        for name in ("weights", "gemma"):
            (folder / name).mkdir()
            (folder / name / "model.safetensors").write_bytes(name.encode())
        monkeypatch.setenv("STAND_IN_HELP", str(HELP))
        monkeypatch.setenv("STAND_IN_LOG", str(self.log))
        monkeypatch.setenv(VARIABLE, str(self.program))

    def version(self, version: str) -> None:
        site = self.folder / "env" / "lib" / "python3.11" / "site-packages"
        (site / f"ltx_pipelines_mlx-{version}.dist-info").mkdir(parents=True)

    def fault(self, fault: str) -> None:
        self.monkeypatch.setenv("STAND_IN_FAULT", fault)

    def clip(self, task: Task = Task.GENERATE, **others: Any) -> Clip:
        folders = {"weights": str(self.folder / "weights"), "text_encoder": str(self.folder / "gemma")}
        asked = {"prompt": '-a fox, "running"; $HOME', "seed": 7, "width": 128, "height": 64, "frame_rate": RATE}
        return Clip(**{"task": task, **folders, **asked, "frames": 12, **others})

    def render(self, clip: Clip, told: Any = lambda line: None) -> Path:
        command = installed()
        check(clip, command)
        return rendered_clip(clip, command, self.kept, self.temp, told)

    @property
    def told(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def bench(tmp_path: Path, comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def video(frames: int, sound: bool = True) -> Footage:
    """Frames that rise from black, at 24 a second, with a tone."""
    images = torch.linspace(0, 1, frames)[:, None, None, None].expand(frames, 64, 128, 3)
    waveform = torch.full((1, 2, frames * 2000), 0.5)
    return Footage(Images(images, RATE), Waveform({"waveform": waveform, "sample_rate": 48000}) if sound else None)


def heard(footage: Footage) -> np.ndarray:
    assert footage.sound is not None
    return np.concatenate(list(footage.sound.blocks()), axis=1)


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether they have ended within a time; nobody need have asked how."""
    _, there = psutil.wait_procs(processes, timeout=0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in there):
            return True
        time.sleep(0.02)
    return False


def still(value: float) -> Images:
    return Images(torch.full((1, 64, 128, 3), value), RATE)


def tone(seconds: float) -> Waveform:
    return Waveform({"waveform": torch.full((1, 1, round(seconds * 16000)), 0.5), "sample_rate": 16000})


def test_a_help_is_read_for_subcommands_and_long_options() -> None:
    sections = re.split(r"^== ?(.*)\n", HELP.read_text(), flags=re.MULTILINE)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert {"generate", "a2v", "retake", "extend", "keyframe", "slice"} <= subcommands_in(texts[""])
    assert len(subcommands_in(texts[""])) == 13
    assert options_in(texts["extend"]) == {
        "--help", "--prompt", "--output", "--model", "--gemma", "--seed", "--quiet", "--video", "--extend-frames",
        "--direction", "--steps", "--cfg-scale", "--stg-scale",
    }  # fmt: skip
    # As Python 3.13 writes it, and a description that speaks of an option.
    assert options_in("options:\n  --audio, -a AUDIO     as --video does\n                        --more\n") == {
        "--audio"
    }


@pytest.mark.parametrize(
    ("task", "others", "told"),
    [
        (
            Task.GENERATE,
            {"image": still(0.5), "passes": Passes.DISTILLED, "low_memory": True},
            {"sub": "generate", "--width": "128", "--height": "64", "--frames": "17", "--frame-rate": "24.0",
             "--distilled": "", "--low-ram": "", "--image": "image.png"},
        ),
        (
            Task.GENERATE,
            {"passes": Passes.ONE, "width": 96, "steps": 20, "cfg": 3.5},
            {"sub": "generate", "--width": "96", "--height": "64", "--frames": "17", "--frame-rate": "24.0",
             "--one-stage": "", "--stage1-steps": "20", "--cfg-scale": "3.5"},
        ),
        (
            Task.SOUND,
            {"sound": tone(0.25), "image": still(0.5)},
            {"sub": "a2v", "--width": "128", "--height": "64", "--frames": "17", "--frame-rate": "24.0",
             "--audio": "sound.wav", "--image": "image.png"},
        ),
        (
            Task.LAST_FRAME,
            {"video": video(10), "frames": 17},
            {"sub": "generate", "--width": "128", "--height": "64", "--frames": "25", "--frame-rate": "24.0",
             "--two-stage": "", "--image": "image.png"},
        ),
        (
            Task.END,
            {"video": video(20), "context": 17, "steps": 30},
            {"sub": "extend", "--extend-frames": "2", "--direction": "after", "--steps": "30", "--video": "video.mp4"},
        ),
        (
            Task.RETAKE,
            {"video": video(20), "start": 9, "stop": 12, "new_sound": False},
            {"sub": "retake", "--start": "2", "--end": "3", "--no-regen-audio": "", "--video": "video.mp4"},
        ),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Task) else "",
)  # fmt: skip
def test_each_task_is_told_in_options_of_the_recorded_help(
    bench: Bench, task: Task, others: dict[str, Any], told: dict[str, str]
) -> None:
    bench.render(bench.clip(task, **others))
    [line] = bench.told
    always = {"--prompt": '-a fox, "running"; $HOME', "--seed": "7", "--output": "clip.mp4"}
    folders = {"--model": str(bench.folder / "weights"), "--gemma": str(bench.folder / "gemma")}
    temp = Path(line.pop("temp"))
    assert temp.parent == bench.temp
    short = {name: value.removeprefix(f"{temp}/") for name, value in line.items()}
    assert short == {**always, **folders, **told}
    assert not list(bench.temp.iterdir())


def test_a_clip_is_shown_as_long_as_was_asked_and_rendered_once(bench: Bench) -> None:
    said: list[str] = []
    clip = bench.clip(image=still(0.5))
    path = bench.render(clip, said.append)
    film = shown(clip, path)
    assert (film.source.frame_count, film.source.width, film.source.height) == (12, 128, 64)
    assert heard(film).shape == (2, 24000)
    assert "Denoising:  50%|#####     | 4/8" in said
    assert bench.render(clip) == path
    assert bench.render(replace(clip, image=still(0.25))) != path
    assert len(bench.told) == 2


def test_a_kept_clip_that_is_damaged_is_rendered_again(bench: Bench) -> None:
    clip = bench.clip()
    path = bench.render(clip)
    path.write_bytes(path.read_bytes()[:500])
    assert shown(clip, bench.render(clip)).source.frame_count == 12
    assert len(bench.told) == 2


def test_the_command_does_not_take_the_modules_that_comfyui_was_started_with(bench: Bench) -> None:
    """Its Python is another, in which they may break it."""
    (bench.folder / "json.py").write_text("raise SystemExit('not the one')")
    bench.monkeypatch.setenv("PYTHONPATH", str(bench.folder))
    assert installed().offers["generate"]
    bench.render(bench.clip())


def test_a_clip_is_another_by_what_is_asked_and_by_what_renders_it(bench: Bench) -> None:
    clip, command = bench.clip(), installed()
    keys = {key_of(each, command) for each in (clip, replace(clip, seed=8), replace(clip, prompt="a hen"))}
    keys.add(key_of(clip, replace(command, version="0.15.0")))
    (bench.folder / "weights" / "model.safetensors").write_bytes(b"other")
    keys.add(key_of(clip, command))
    assert len(keys) == 5
    assert key_of(clip, replace(command, path="/elsewhere")) in keys


def test_a_clip_to_a_sound_is_heard_with_that_sound(bench: Bench) -> None:
    clip = bench.clip(Task.SOUND, sound=tone(0.25))
    film = shown(clip, bench.render(clip))
    np.testing.assert_array_equal(heard(film), np.full((1, 4000), 0.5, np.float32))


@pytest.mark.parametrize("task", [Task.LAST_FRAME, Task.END])
def test_going_on_keeps_the_video_and_adds_what_was_asked(bench: Bench, task: Task) -> None:
    before = video(20)
    clip = bench.clip(task, video=before, context=17)
    film = shown(clip, bench.render(clip))
    assert film.source.frame_count == 20 + 12
    frames = list(film.source.frames())
    for old, new in zip(before.source.frames(), frames, strict=False):
        np.testing.assert_array_equal(old, new)
    assert [round(int(frame[0, 0, 0]) / 257, -1) for frame in frames[20:]] == [200] * 12
    assert [frame[0, 0, 0] for frame in film.source.frames(18, 21)] == [frame[0, 0, 0] for frame in frames[18:21]]
    sound = heard(film)
    assert sound.shape == (2, 32 * 2000)
    assert np.abs(sound[:, :40000] - 0.5).max() == 0
    assert np.abs(sound[:, 42000:] - 0.25).max() < 0.05


def test_a_retake_leaves_what_is_around_it(bench: Bench) -> None:
    before = video(20)
    clip = bench.clip(Task.RETAKE, video=before, start=10, stop=12)
    film = shown(clip, bench.render(clip))
    changed = [
        number
        for number, (old, new) in enumerate(zip(before.source.frames(), film.source.frames(), strict=True))
        if not np.array_equal(old, new)
    ]
    assert changed == list(range(9, 17))
    assert heard(film)[0, [17999, 34000]].tolist() == [0.5, 0.5]
    assert abs(heard(film)[0, 25000] - 0.25) < 0.05
    kept = replace(clip, new_sound=False)
    assert np.abs(heard(shown(kept, bench.render(kept))) - 0.5).max() == 0


def test_a_video_without_sound_is_gone_on_from_with_silence_before(bench: Bench) -> None:
    clip = bench.clip(Task.LAST_FRAME, video=video(20, sound=False))
    sound = heard(shown(clip, bench.render(clip)))
    assert sound.shape == (2, 64000)
    assert not sound[:, :40000].any()
    assert sound[:, 44000:].any()


@pytest.mark.parametrize(
    ("others", "field", "said"),
    [
        ({"width": 96}, "width", "96 given; in two passes the command renders multiples of 64, as 64 or 128"),
        ({"height": 80, "passes": Passes.ONE}, "height", "multiples of 32, as 64 or 96"),
        ({"cfg": 3.0, "passes": Passes.DISTILLED}, "cfg", "distilled takes no guidance"),
        ({"video": video(9)}, "video", "a clip from text or an image takes none"),
        ({"task": Task.SOUND}, "sound", "needs one"),
        ({"task": Task.LAST_FRAME}, "video", "needs a video"),
        ({"task": Task.LAST_FRAME, "video": video(9), "image": still(0.5)}, "image", "takes none"),
        ({"task": Task.END, "video": video(16), "context": 17}, "context_frames", "the video has 16"),
        ({"task": Task.RETAKE, "video": video(20), "start": 16, "stop": 19}, "end_seconds", "first 0.71 s"),
        ({"task": Task.END, "video": video(20), "context": 17, "low_memory": True}, "task", "--low-ram is needed"),
        ({"frames": 0}, "seconds", "less than a frame"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_started(
    bench: Bench, others: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(Refusal, match=re.escape(said)) as refused:
        bench.render(bench.clip(**{"task": Task.GENERATE, **others}))
    assert refused.value.field == field
    assert not bench.told


def test_what_a_version_lacks_is_refused_by_name() -> None:
    older = Command("ltx-2-mlx", "0.9.8", {"generate": frozenset({"--prompt", "--output"})})
    with pytest.raises(Refusal, match=r"ltx-2-mlx 0\.9\.8 has no a2v; it has generate\."):
        older.check("a2v", [])
    with pytest.raises(Refusal, match=r"--frame-rate is needed for this, which generate of ltx-2-mlx 0\.9\.8 has not"):
        older.check("generate", ["--prompt", "--frame-rate"])


@pytest.mark.parametrize("task", Task)
def test_each_task_is_one_of_the_later_version_that_was_read(bench: Bench, task: Task) -> None:
    later = json.loads(HELP.with_name("ltx2_mlx_later.json").read_text())
    footage = video(20) if task in (Task.LAST_FRAME, Task.END, Task.RETAKE) else None
    sound = tone(0.5) if task is Task.SOUND else None
    all_of_it = {"steps": 20, "cfg": 3.0, "low_memory": True, "new_sound": False, "start": 9, "stop": 12, "context": 17}
    clip = bench.clip(task, video=footage, sound=sound, **all_of_it)
    check(clip, Command("ltx-2-mlx", "0.15.4", {name: frozenset(has) for name, has in later["options"].items()}))
    told = {*(name for name, _ in options_of(clip)), *files_of(clip)}
    assert set(later["needed"][task.subcommand]) <= told


def test_versions_that_cannot_save_an_extension_are_refused(bench: Bench) -> None:
    bench.version("0.14.19")
    assert installed().version == "0.14.19"
    with pytest.raises(Refusal, match=r"extend of ltx-2-mlx 0\.14\.19 renders and then cannot save"):
        bench.render(bench.clip(Task.END, video=video(20), context=17))
    replace(installed(), version="0.14.20").check("extend", ["--video"])


def test_a_missing_command_is_refused_with_what_to_install(bench: Bench) -> None:
    bench.monkeypatch.setenv(VARIABLE, "/nowhere/ltx-2-mlx")
    with pytest.raises(Refusal, match=rf"{VARIABLE} is /nowhere/ltx-2-mlx, which is no program: install ltx-2-mlx"):
        installed()
    bench.monkeypatch.delenv(VARIABLE)
    bench.monkeypatch.setenv("PATH", str(bench.folder))
    with pytest.raises(Refusal, match="there is no ltx-2-mlx on PATH"):
        installed()


def test_a_command_that_does_not_answer_is_refused_with_its_words(bench: Bench) -> None:
    bench.program.write_text("#!/bin/sh\necho no module named mlx >&2\nexit 3\n")
    with pytest.raises(
        Refusal, match=r"does not tell what it can \(ltx-2-mlx ended with code 3: no module named mlx\)"
    ):
        installed()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("crash", r"ltx-2-mlx ended with code 1: .*8/8 / RuntimeError: no Metal device$"),
        ("nothing", "ended well and wrote no file"),
        ("broken", "wrote a file that is no video"),
        ("size", "17 frames of 128x32 at 24 a second; it was asked for 17 frames of 128x64 at 24 a second"),
        ("rate", "17 frames of 128x64 at 25 a second; it was asked for"),
    ],
)
def test_what_goes_wrong_is_told_and_nothing_is_kept(bench: Bench, fault: str, said: str) -> None:
    bench.fault(fault)
    with pytest.raises(MlxFailed, match=said):
        bench.render(bench.clip())
    assert not list(bench.kept.iterdir())
    assert not list(bench.temp.iterdir())


def test_a_cancel_ends_the_command_and_what_it_started_within_a_second(bench: Bench) -> None:
    from comfy.model_management import InterruptProcessingException, interrupt_current_processing

    bench.fault("hang")
    children: list[psutil.Process] = []
    cancelled: list[float] = []

    def told(line: str) -> None:
        if line.startswith("[child]"):
            children.append(psutil.Process(int(line.split()[1])))
            cancelled.append(time.monotonic())
            interrupt_current_processing()

    with pytest.raises(InterruptProcessingException):
        bench.render(bench.clip(), told)
    assert time.monotonic() - cancelled[0] < 1
    assert gone(children, 1)
    assert not list(bench.temp.iterdir())


def test_the_command_ends_with_the_process_that_started_it(bench: Bench) -> None:
    bench.fault("hang")
    arguments = ["generate", "--prompt=x", "--output=x.mp4", "--frame-rate=24"]
    starter = subprocess.Popen(
        [sys.executable, str(LEASH), str(bench.program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(bench.temp)},
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    line = next(line for line in starter.stdout if line.startswith(b"[child]"))
    processes = [psutil.Process(int(line.split()[1])), *psutil.Process(starter.pid).children()]
    threading.Timer(0.1, starter.stdin.close).start()
    starter.wait(5)
    assert gone(processes, 5)
    starter.stdout.close()


def test_a_film_of_two_clips_goes_from_node_to_node(bench: Bench) -> None:
    import folder_paths
    from longtake.nodes.ltx2_mlx import RenderLtx2Mlx

    models = bench.folder / "models"
    for path in (
        "ltx/vae_decoder.safetensors",
        "ltx/connector.safetensors",
        "gemma/config.json",
        "gemma/tokenizer.json",
    ):
        (models / path).parent.mkdir(parents=True, exist_ok=True)
        (models / path).write_text(path)
    for kind in ("diffusers", "text_encoders"):
        bench.monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(models)], set()))
    bench.monkeypatch.setenv("LONGTAKE_STORE", str(bench.folder / "store"))
    node = RenderLtx2Mlx.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    usual = {"weights": "ltx", "text_encoder": "gemma", "width": 128, "height": 64, "frame_rate": 24, "seed": 1}
    usual |= {"steps": 0, "cfg": 0.0, "low_memory": False}

    def film() -> Any:
        first = {"task": Task.GENERATE.value, "seconds": 0.5, "passes": Passes.DISTILLED.value}
        (video,) = node.execute(prompt="a fox", task=first, **usual).args
        second = {**first, "task": Task.LAST_FRAME.value}
        (video,) = node.execute(prompt="it runs", task=second, video=video, **usual).args
        return video

    made = film()
    assert made.get_frame_count() == 24
    assert made.get_components().audio["waveform"].shape == (1, 2, 48000)
    again = film()
    # What a chain that begins with it is keyed by is the same when it is made again, and so nothing is rendered.
    assert Footage(made.source, made.sound).key == Footage(again.source, again.sound).key
    assert [line["sub"] for line in bench.told] == ["generate", "generate"]
    with pytest.raises(Refusal, match=r"there is no '\.\./ltx' of MLX below models/diffusers"):
        node.execute(prompt="", task={"task": Task.GENERATE.value}, **{**usual, "weights": "../ltx"})
