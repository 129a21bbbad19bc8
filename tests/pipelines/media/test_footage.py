"""What a video that was there before is called: by what is seen and heard of it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")


class Tone:
    """A falling line of samples, handed over in blocks of a given size."""

    channels = 2

    def __init__(self, block: int, sample_rate: int = 8000, quiet: float = 1.0):
        self.block, self.sample_rate, self.quiet = block, sample_rate, quiet

    @property
    def identity(self) -> str:
        from longtake.pipelines.media.sound import sound_digest

        return sound_digest(self)

    def blocks(self) -> Iterator[np.ndarray]:
        samples = np.tile(np.linspace(1, -1, 1000, dtype=np.float32) * np.float32(self.quiet), (2, 1))
        for first in range(0, 1000, self.block):
            yield samples[:, first : first + self.block]


def key(sound: Tone | None, bright: float = 0.5) -> str:
    from longtake.pipelines.media.footage import Footage
    from longtake.pipelines.media.frames import Images

    return Footage(Images(torch.full((3, 8, 8, 3), bright), Fraction(24)), sound).key


def test_a_video_without_a_file_is_called_by_its_frames_and_its_sound(comfyui: Path) -> None:
    keys = {key(None), key(Tone(100)), key(Tone(100, quiet=0.5)), key(Tone(100, sample_rate=16000)), key(None, 0.6)}
    assert len(keys) == 5


def test_how_a_sound_is_cut_into_blocks_is_not_what_is_heard(comfyui: Path) -> None:
    assert key(Tone(100)) == key(Tone(333)) == key(Tone(1000))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A file of 12 frames and half a second of sound."""
    from longtake.pipelines.media.encode import encode
    from longtake.pipelines.media.frames import Images
    from longtake.pipelines.media.sound import Waveform

    images = torch.linspace(0, 1, 12)[:, None, None, None].expand(12, 64, 64, 3)
    tone = {"waveform": torch.sin(torch.arange(24000) / 20)[None, None], "sample_rate": 48000}
    encode(Images(images, Fraction(24)), str(tmp_path / "film.mp4"), audio=Waveform(tone))
    return tmp_path / "film.mp4"


def footage(path: Path, **changes: Any) -> Any:
    """The file as the beginning of a chain, for a model of 24 frames a second."""
    from types import SimpleNamespace

    from longtake.pipelines.chain.begin import begin_with
    from longtake.pipelines.families.ltx2 import LTX2
    from longtake.pipelines.media.video_file import SoundTrack, VideoFile

    asked = {"window": (0.0, 0.0), "width": 64, "height": 64, "keep_seconds": 0.0} | changes
    window = asked.pop("window")
    variant = LTX2.variants[0]
    model: Any = SimpleNamespace(family=LTX2, variant=variant, fps=variant.fps)
    return begin_with(model, VideoFile(path, *window), SoundTrack.of(path, *window), **asked).links[0].footage


def test_a_file_is_called_by_its_content_and_how_it_is_shown(comfyui: Path, film: Path, tmp_path: Path) -> None:
    copy = tmp_path / "another name.mp4"
    copy.write_bytes(film.read_bytes())
    plain = footage(film).key
    assert plain == footage(copy).key
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(film.read_bytes() + b"\0")
    others = [
        footage(changed).key,
        footage(film, window=(0.1, 0.0)).key,
        footage(film, width=96).key,
        footage(film, keep_seconds=0.25).key,
    ]
    assert len({plain, *others}) == 5


def test_a_file_is_not_decoded_to_be_called_and_read_once(
    comfyui: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    from longtake.pipelines.media.video_file import SoundTrack, VideoFile

    begun = footage(film)
    monkeypatch.setattr(VideoFile, "frames", None)
    monkeypatch.setattr(SoundTrack, "blocks", None)
    opened = []
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda *args, **kwargs: opened.append(args[0]) or real(*args, **kwargs))
    assert len({begun.key, begun.key, footage(film).key}) == 1
    assert [str(path) for path in opened].count(str(film.resolve())) == 1


def test_frames_that_no_file_holds_are_read_once(comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.pipelines.media.footage import Footage
    from longtake.pipelines.media.frames import Excerpt, Images

    images = Images(torch.rand(6, 8, 8, 3), Fraction(24))
    read = []
    frames = images.frames
    monkeypatch.setattr(images, "frames", lambda *span: read.append(span) or frames(*span))
    keys = {Footage(Excerpt(images, first, 6), None).key for first in range(3)}
    assert len(keys) == 3
    assert len(read) == 1


def test_naming_a_video_ends_when_the_render_is_cancelled(comfyui: Path, film: Path) -> None:
    from comfy import model_management
    from longtake.pipelines.media.footage import Footage
    from longtake.pipelines.media.frames import Images

    for begun in (footage(film), Footage(Images(torch.rand(6, 8, 8, 3), Fraction(24)), None)):
        model_management.interrupt_current_processing()
        with pytest.raises(model_management.InterruptProcessingException):
            _ = begun.key
    assert len(footage(film).key) == 64
